"""Bad input: one clear error each, the right status, the same exception type in the SDK, and nothing left behind."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from omega_mesh.home import Credentials
from omegamesh.client import Omega, setup
from omegaproto.errors import (
    BadFilter,
    BadFrame,
    BadInput,
    BadName,
    BlobCorrupted,
    Forbidden,
    NotFitted,
    ObjectNotFound,
    OmegaError,
    RevisionNotFound,
    Unauthenticated,
    UnknownAction,
    UnknownColumn,
    UnknownKind,
    UnknownLabel,
)
from omegaproto.ids import new_id

Corrupt = Callable[[str], None]
FRAME = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "y": [0, 0, 1, 1]})


@pytest.fixture
def stored(om: Omega) -> Omega:
    """A bucket with a small frame and a fitted model."""
    om.datasets.put(FRAME, "d")
    om.models.put(LogisticRegression().fit(FRAME[["x"]].to_numpy(), FRAME["y"]), "m")
    return om


def error_of(answer: httpx2.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    assert found["message"]
    assert found["status"] == answer.status_code
    assert "Traceback" not in answer.text
    return found


def test_unknown_objects(stored: Omega, http: httpx2.Client) -> None:
    assert stored.datasets.get("nope") is None
    assert stored.models.get("nope") is None
    assert stored.datasets.metadata("nope") is None
    assert not stored.datasets.exists("nope")
    with pytest.raises(ObjectNotFound):
        stored.datasets.drop("nope")
    assert stored.datasets.drop("nope", force=True) is False
    with pytest.raises(ObjectNotFound):
        stored.runtime.model("nope").fit("d[x]", "d[y]").get(timeout=60)
    with pytest.raises(ObjectNotFound):
        stored.runtime.model("m").fit("nope[x]", "d[y]").get(timeout=60)
    assert (
        error_of(http.post("/api/v1/model/nope/predict", json={"columns": ["x"], "data": [[1]]}))["code"]
        == "object_not_found"
    )
    assert error_of(http.get("/api/v1/objects/datasets/nope"))["status"] == 404
    assert error_of(http.get("/api/v1/task/nope/status"))["code"] == "task_not_found"


def test_unknown_versions(stored: Omega) -> None:
    for reference in ("m@nope", "m^^^"):
        with pytest.raises(RevisionNotFound):
            stored.models.get(reference)


@pytest.mark.parametrize("name", ["", "a//b", "a/../b", "a[", "a\nb", "x" * 2000])
def test_bad_names(om: Omega, name: str) -> None:
    with pytest.raises(BadName):
        om.datasets.put({"a": 1}, name)
    assert om.datasets.list(include_temp=True, hidden=True) == []


def test_an_unknown_store(http: httpx2.Client) -> None:
    assert error_of(http.get("/api/v1/objects/nonsense"))["status"] == 400


def test_an_unknown_kind(om: Omega, http: httpx2.Client) -> None:
    with pytest.raises(UnknownKind):
        om.models.put(object(), "m")
    with pytest.raises(TypeError):
        om.datasets.put(object(), "d")
    with pytest.raises(UnknownKind):
        om.datasets.put({"a": 1}, "d", kind="no.such.kind")
    assert om.datasets.list() == om.models.list() == []


def test_an_unknown_label_names_those_that_exist(stored: Omega) -> None:
    with pytest.raises(UnknownLabel, match="cpu"):
        stored.runtime.require("gpu9").model("m").predict("d[x]")


def test_an_unknown_operator_or_column(stored: Omega) -> None:
    with pytest.raises(BadFilter, match="gte"):
        stored.datasets.get("d", x__greater=1)
    with pytest.raises(UnknownColumn, match="x, y"):
        stored.datasets.get("d", z__gte=1)
    with pytest.raises(UnknownColumn):
        stored.datasets.get("d[z]")
    with pytest.raises(BadFilter):
        stored.datasets.get("d", x__gte="text")


def test_an_unknown_action(stored: Omega, http: httpx2.Client) -> None:
    with pytest.raises(UnknownAction):
        stored.runtime.model("m").transform("d[x]").get(timeout=60)
    assert error_of(http.post("/api/v1/model/m/explode", json={}))["status"] in {400, 404}
    assert (
        error_of(http.post("/api/v1/model/m/transform", json={"columns": ["x"], "data": [[1]]}))["code"]
        == "unknown_action"
    )


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[1, 2", b"null", b'{"data": 5}', b'{"columns": ["x"]}'])
def test_a_body_that_is_not_what_it_should_be(stored: Omega, http: httpx2.Client, body: bytes) -> None:
    answer = http.post("/api/v1/model/m/predict", content=body, headers={"Content-Type": "application/json"})
    assert error_of(answer)["status"] in {400, 422}, answer.text


def test_data_that_the_model_refuses(stored: Omega, http: httpx2.Client) -> None:
    for data in ([[1, 2, 3]], [["text"]], [[None]]):
        found = error_of(http.post("/api/v1/model/m/predict", json={"columns": ["x"], "data": data}))
        assert found["status"] in {400, 422}
    with pytest.raises(BadInput):
        stored.runtime.model("m").predict(np.zeros((2, 5))).get(timeout=60)


def test_a_model_that_was_never_fitted(om: Omega, http: httpx2.Client) -> None:
    om.datasets.put(FRAME, "d")
    om.models.put(LogisticRegression(), "raw")
    with pytest.raises(NotFitted, match="fit"):
        om.runtime.model("raw").predict("d[x]").get(timeout=60)
    found = error_of(http.post("/api/v1/model/raw/predict", json={"columns": ["x"], "data": [[1]]}))
    assert (found["code"], found["status"]) == ("not_fitted", 422)


def test_a_frame_with_duplicate_columns(om: Omega) -> None:
    with pytest.raises(BadFrame, match="x"):
        om.datasets.put(pd.DataFrame([[1, 2]], columns=["x", "x"]), "d")
    assert om.datasets.list() == []


def test_a_failed_put_leaves_what_was_there(stored: Omega) -> None:
    before = stored.datasets.metadata("d")
    with pytest.raises(BadFrame):
        stored.datasets.put(pd.DataFrame([[1, 2]], columns=["x", "x"]), "d", append=False)
    with pytest.raises(BadFrame):
        stored.datasets.put(pd.DataFrame({"other": ["a"]}), "d", append=True)
    assert stored.datasets.metadata("d") == before
    pd.testing.assert_frame_equal(stored.datasets.get("d"), FRAME)


@pytest.mark.parametrize(
    "header",
    ["", "nonsense", "ApiKey admin", "ApiKey admin:wrong", "Bearer x.y.z", "admin:omk_0000000000000000_" + "x" * 43],
)
def test_a_wrong_key(mesh: Credentials, header: str) -> None:
    answer = httpx2.get(f"{mesh.url}/api/v1/ping", headers={"Authorization": header} if header else {})
    assert error_of(answer)["code"] == "unauthenticated"
    assert answer.status_code == 401


def test_every_form_of_login(mesh: Credentials) -> None:
    forms = (f"{mesh.userid}:{mesh.apikey}", f"ApiKey {mesh.userid}:{mesh.apikey}", f"Bearer {mesh.apikey}")
    for header in forms:
        answer = httpx2.get(f"{mesh.url}/api/v1/ping", headers={"Authorization": header})
        assert answer.status_code == 200, header


def test_a_revoked_key_and_a_missing_role(mesh: Credentials, om: Omega, http: httpx2.Client) -> None:
    userid = f"u{new_id()[-8:]}"
    bucket = om.client.config.bucket
    made = http.post("/api/v1/users", json={"userid": userid, "grants": {bucket: "reader"}})
    assert made.is_success, made.text
    reader = setup(api_url=mesh.url, userid=userid, apikey=made.json()["apikey"], bucket=bucket)
    om.datasets.put(FRAME, "d")
    assert len(reader.datasets.get("d")) == 4
    with pytest.raises(Forbidden, match="needs"):
        reader.datasets.put({"a": 1}, "mine")
    with pytest.raises(Forbidden):
        reader[f"{bucket}2"].datasets.list()
    assert om.datasets.list() == ["d"]
    assert http.delete(f"/api/v1/keys/{made.json()['key_id']}").is_success
    with pytest.raises(Unauthenticated):
        reader.datasets.get("d")
    reader.close()


def test_an_upload_that_is_cut_off_leaves_nothing(mesh: Credentials, om: Omega, http: httpx2.Client) -> None:
    parts = urlsplit(mesh.url)
    head = (
        f"POST /api/v1/blobs HTTP/1.1\r\nHost: x\r\nAuthorization: ApiKey {mesh.userid}:{mesh.apikey}\r\n"
        f"Bucket: {om.client.config.bucket}\r\nContent-Length: 10000000\r\n\r\n"
    )
    with socket.create_connection((str(parts.hostname), int(parts.port or 0))) as raw:
        raw.sendall(head.encode() + b"x" * 1_000_000)
    wrong = http.post("/api/v1/blobs", content=b"abc", headers={"X-Content-SHA256": hashlib.sha256(b"abd").hexdigest()})
    assert error_of(wrong)["code"] == "checksum_mismatch"
    assert om.datasets.list() == []
    om.datasets.put(FRAME, "d")
    assert om.datasets.list() == ["d"]


@pytest.mark.parametrize("rows", [4, 400_000], ids=["small", "in the middle of a transfer"])
def test_a_corrupted_blob(om: Omega, corrupt: Corrupt, rows: int) -> None:
    om.datasets.put(np.arange(rows, dtype="float64"), "a")
    om.datasets.put({"still": "there"}, "b")
    metadata = om.datasets.metadata("a")
    assert metadata is not None
    corrupt(metadata.revision.blobs[0].id)
    with pytest.raises(BlobCorrupted, match="sha256"):
        om.datasets.get("a")
    assert om.datasets.get("b") == [{"still": "there"}]


def test_a_blob_that_does_not_exist_is_not_committed(http: httpx2.Client) -> None:
    body = {
        "kind": "ndarray.bin",
        "blobs": [{"id": new_id(), "sha256": "0" * 64, "length": 3}],
        "idempotency_key": new_id(),
    }
    assert error_of(http.put("/api/v1/objects/datasets/a", json=body))["code"] == "blob_not_found"
    assert http.get("/api/v1/objects/datasets/a").status_code == 404


def test_user_code_that_fails_is_told_with_its_reason(om: Omega) -> None:
    om.datasets.put(pd.DataFrame({"x": ["a", "b"], "y": [0, 1]}), "text")
    om.models.put(LogisticRegression(), "m")
    with pytest.raises(OmegaError) as caught:
        om.runtime.model("m").fit("text[x]", "text[y]").get(timeout=60)
    assert caught.value.message
    assert len(om.models.revisions("m")) == 1
