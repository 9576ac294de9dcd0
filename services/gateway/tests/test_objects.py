"""Objects over HTTP: puts that hold or leave nothing, frames that grow under many writers, lists, tags, drops."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest

from omegaproto.ids import new_id

from .conftest import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")
KIND = "pandas.dfrows"


def parquet(*values: int) -> bytes:
    sink = io.BytesIO()
    pa.parquet.write_table(pa.table({"x": list(values)}), sink)
    return sink.getvalue()


async def upload(client: Any, content: bytes) -> dict[str, Any]:
    answer = await client.post("/api/v1/blobs", content=content)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def put_frame(client: Any, name: str, *values: int, **fields: Any) -> Any:
    part = await upload(client, parquet(*values))
    return await client.put(f"/api/v1/objects/datasets/{name}", json={"kind": KIND, "parts": [part["id"]]} | fields)


async def rows(client: Any, name: str, **query: Any) -> list[int]:
    meta = (await client.get(f"/api/v1/objects/datasets/{name}")).json()
    answer = await client.post(f"/api/v1/frames/{meta['revision']['kind_meta']['frame']['frame_id']}/rows", json=query)
    assert answer.status_code == 200, answer.text
    return pa.ipc.open_stream(answer.content).read_all()["x"].to_pylist()


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"n{new_id()}"


async def test_an_object_from_put_to_drop(shared: Mesh, name: str) -> None:
    path = f"/api/v1/objects/datasets/a/{name}"
    async with shared.client() as client:
        blob = await upload(client, b"abc")
        made = await client.put(path, json={"kind": "python.file", "blobs": [blob], "attributes": {"a": 1}})
        assert made.status_code == 200, made.text
        found = (await client.get(path)).json()
        assert found == made.json()
        assert (found["name"], found["revision"]["blobs"]) == (f"a/{name}", [blob])
        patched = await client.patch(path, json={"attributes": {"b": [1, None]}, "etag": found["etag"]})
        assert patched.json()["attributes"] == {"a": 1, "b": [1, None]}
        assert (await client.patch(path, json={"attributes": {}, "etag": found["etag"]})).status_code == 409
        await client.put(path, json={"kind": "python.file", "blobs": [blob]})
        pages = (await client.get(f"/api/v1/revisions/datasets/a/{name}?limit=1")).json()
        assert ([one["number"] for one in pages["items"]], pages["next"]) == ([1], 1)
        old = (await client.get(path, params={"back": 1})).json()["revision"]
        assert old["id"] == found["revision"]["id"]
        tagged = await client.put(f"/api/v1/tags/datasets/a/{name}", params={"tag": "live", "revision_id": old["id"]})
        assert tagged.status_code == 200
        assert (await client.get(path, params={"version": "live"})).json()["revision"]["id"] == old["id"]
        assert (await client.get(path, params={"version": "dead"})).json()["error"]["code"] == "revision_not_found"
        listed = (await client.get("/api/v1/objects/datasets", params={"pattern": f"a/{name[:10]}*"})).json()
        assert f"a/{name}" in [one["name"] for one in listed["items"]]
        assert (await client.delete(path)).status_code == 204
        for answer in (await client.get(path), await client.delete(path)):
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "object_not_found")


async def test_a_put_refuses_blobs_that_are_not_what_it_says(shared: Mesh, name: str) -> None:
    path = f"/api/v1/objects/models/{name}"
    async with shared.client() as client, shared.client(bucket="sales") as elsewhere:
        blob, foreign = await upload(client, b"abc"), await upload(elsewhere, b"abc")
        bad = {
            "blob_not_found": [blob | {"id": new_id()}, foreign],
            "checksum_mismatch": [blob | {"sha256": "0" * 64}, blob | {"length": 4}],
        }
        for code, blobs in bad.items():
            for one in blobs:
                answer = await client.put(path, json={"kind": "k", "blobs": [blob, one]})
                assert answer.json()["error"]["code"] == code, answer.text
        assert (await client.get(path)).status_code == 404


async def test_a_repeated_put_makes_one_revision(shared: Mesh, name: str) -> None:
    async with shared.client() as client:
        body = {"kind": "k", "idempotency_key": new_id()}
        blobs = [await upload(client, b"abc") for _ in range(3)]
        answers = [await client.put(f"/api/v1/objects/models/{name}", json=body | {"blobs": [blob]}) for blob in blobs]
        assert {answer.json()["revision"]["number"] for answer in answers} == {1}
        other = await client.put(f"/api/v1/objects/models/{name}", json=body | {"blobs": [await upload(client, b"d")]})
        assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_mismatch")


@pytest.mark.parametrize("field", ["blobs", "parts"])
async def test_a_fingerprint_stands_for_what_is_put(shared: Mesh, name: str, field: str) -> None:
    path = f"/api/v1/objects/datasets/{name}"
    async with shared.client() as client:
        sent = [await upload(client, parquet(number)) for number in range(2)]
        body = {"kind": KIND, "idempotency_key": new_id(), "fingerprint": "f" * 128}
        given = [body | {field: [one if field == "blobs" else one["id"]]} for one in sent]
        answers = [await client.put(path, json=one) for one in given]
        assert [answer.status_code for answer in answers] == [200, 200], answers[1].text
        assert answers[0].json()["revision"] == answers[1].json()["revision"]
        other = await client.put(path, json=given[0] | {"fingerprint": "g"})
        assert other.json()["error"]["code"] == "idempotency_mismatch"
        long = await client.put(path, json=given[0] | {"fingerprint": "f" * 129})
        assert long.json()["error"]["code"] == "bad_body"


@pytest.mark.parametrize("append", [False, True])
async def test_a_repeated_frame_put_makes_one_revision(shared: Mesh, name: str, append: bool) -> None:
    async with shared.client() as client:
        key = {"append": append, "idempotency_key": new_id()}
        answers = [await put_frame(client, name, 1, 2, **key) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200] * 3, answers[1].text
        assert {answer.json()["revision"]["id"] for answer in answers} == {answers[0].json()["revision"]["id"]}
        assert await rows(client, name) == [1, 2]
        others = [await put_frame(client, name, 1, 2, **key, tags=["x"]), await put_frame(client, name, 3, **key)]
        assert {other.json()["error"]["code"] for other in others} == {"idempotency_mismatch"}


async def test_a_frame_grows_and_is_read_by_what_is_asked(shared: Mesh, name: str) -> None:
    async with shared.client() as client:
        made = (await put_frame(client, name, 1, 2, append=True)).json()
        described = made["revision"]["kind_meta"]["frame"]
        assert (described["rows"], described["columns"], described["dtypes"]) == (2, ["x"], ["int64"])
        assert (await put_frame(client, name, 3, append=True)).status_code == 200
        assert await rows(client, name) == [1, 2, 3]
        assert await rows(client, name, where=[["x__gte", 2]]) == [2, 3]
        meta = (await client.get(f"/api/v1/objects/datasets/{name}")).json()["revision"]["kind_meta"]["frame"]
        manifest = (await client.get(f"/api/v1/frames/{meta['frame_id']}")).json()
        assert [part["rows"] for part in manifest["parts"]] == [2, 1]
        bad = await client.post(f"/api/v1/frames/{meta['frame_id']}/rows", json={"where": [["y", 1]]})
        assert (bad.status_code, bad.json()["error"]["code"]) == (400, "unknown_column")
        assert (await client.get("/api/v1/frames/nothing")).status_code == 404
        assert (await put_frame(client, name, 9)).status_code == 200
        assert await rows(client, name) == [9]


async def test_many_writers_append_and_nothing_is_lost(shared: Mesh, name: str) -> None:
    async with shared.client() as client:
        answers = await asyncio.gather(*(put_frame(client, name, number, append=True) for number in range(12)))
        assert {answer.status_code for answer in answers} == {200}
        assert sorted(await rows(client, name)) == list(range(12))


async def test_bad_frames(shared: Mesh, name: str) -> None:
    path = f"/api/v1/objects/datasets/{name}"
    async with shared.client() as client:
        blob = await upload(client, b"no parquet")
        cases: list[tuple[dict[str, Any], int, str]] = [
            ({"kind": KIND, "parts": [blob["id"]]}, 400, "bad_frame"),
            ({"kind": KIND, "parts": [new_id()]}, 404, "blob_not_found"),
            ({"kind": KIND, "parts": [blob["id"]], "blobs": [blob]}, 400, "bad_request"),
            ({"kind": "k", "blobs": [blob], "append": True}, 400, "bad_request"),
        ]
        for body, status, code in cases:
            answer = await client.put(path, json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        assert (await client.get(path)).status_code == 404
        await client.put(path, json={"kind": "python.data", "blobs": [blob]})
        mixed = await put_frame(client, name, 1, append=True)
        assert (mixed.status_code, mixed.json()["error"]["code"]) == (400, "bad_frame")


async def test_an_append_to_an_expected_revision_is_not_tried_again(shared: Mesh, name: str) -> None:
    async with shared.client() as client:
        first = (await put_frame(client, name, 1)).json()["revision"]["id"]
        good = await put_frame(client, name, 2, append=True, expected_revision=first)
        assert good.status_code == 200
        late = await put_frame(client, name, 3, append=True, expected_revision=first)
        assert (late.status_code, late.json()["error"]["code"]) == (409, "revision_conflict")
        new = await put_frame(client, f"{name}b", 3, append=True, expected_revision="")
        assert new.status_code == 200
        assert await rows(client, name) == [1, 2]


async def test_unknown_stores_and_bad_names(shared: Mesh) -> None:
    async with shared.client() as client:
        for path in ("objects/things", "objects/things/x", "revisions/things/x"):
            answer = await client.get(f"/api/v1/{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unknown_store")
        for bad in ("a//b", "a%2F..%2Fb", "x%00y", "a%5Bb", "x" * 1025, "a%40b"):
            answer = await client.get(f"/api/v1/objects/models/{bad}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_name"), bad
        assert (await client.get("/api/v1/objects/models?limit=0")).json()["error"]["code"] == "bad_body"
        assert (await client.get("/api/v1/objects/models", headers={"Bucket": "*"})).status_code == 400
