"""The way to the gateway: what is sent, what is repeated, and which errors come out."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from omegamesh.config import Config
from omegamesh.http import TRIES, MeshClient, quoted
from omegaproto.errors import (
    BlobCorrupted,
    CallTimeout,
    NotFitted,
    OmegaError,
    Overloaded,
    Unauthenticated,
    Unavailable,
    error_types,
)
from omegaproto.frames import FrameQuery

DATA = b"omega" * 100_000


def refusal(code: str, status: int) -> dict[str, Any]:
    return {"error": {"code": code, "status": status, "message": "No.", "action": "Do so.", "details": {"n": 1}}}


NOT_NOW = refusal("unavailable", 503)


@pytest.fixture
def nothing_listens(monkeypatch: pytest.MonkeyPatch) -> Iterator[MeshClient]:
    """A client of a port at which nothing listens."""
    monkeypatch.setattr("omegamesh.http._FIRST_PAUSE_SECONDS", 0.0)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with closing(MeshClient(Config(f"http://127.0.0.1:{held.getsockname()[1]}", "ann", "k"))) as client:
            yield client


def test_a_call_carries_login_and_bucket(server: Any, client: MeshClient, answer: Any) -> None:
    server.answer(answer(body={"ping": 1}))
    assert client.call("GET", "/api/v1/ping", params={"a": 1, "b": None}, headers={"X-More": "yes"}) == {"ping": 1}
    sent = server.requests[0]
    assert (sent.method, sent.path) == ("GET", "/api/v1/ping?a=1")
    assert sent.headers["Authorization"] == "ApiKey ann:omk_1_x"
    assert sent.headers["Bucket"] == "red"
    assert sent.headers["X-More"] == "yes"


def test_a_token_logs_in_too(server: Any, answer: Any) -> None:
    server.answer(answer(body={}))
    with closing(MeshClient(Config(server.url, token="t.t.t"))) as client:
        client.call("GET", "/")
    assert server.requests[0].headers["Authorization"] == "Bearer t.t.t"


def test_a_token_is_renewed_over_the_same_connections(server: Any, client: MeshClient, answer: Any) -> None:
    server.answer(answer(body={}))
    blue = client.in_bucket("blue")
    client.use_token("n.e.w")
    blue.call("GET", "/")
    assert server.requests[0].headers["Authorization"] == "Bearer n.e.w"


def test_another_bucket_shares_the_connections(server: Any, client: MeshClient, answer: Any) -> None:
    server.answer(answer(body={}))
    client.in_bucket("blue").call("GET", "/")
    client.in_bucket(None).call("GET", "/")
    client.call("GET", "/")
    assert [sent.headers["Bucket"] for sent in server.requests] == ["blue", "omegaml", "red"]


def test_a_body_is_json_whether_data_or_model(server: Any, client: MeshClient, answer: Any) -> None:
    server.answer(answer(body=None, status=204))
    assert client.call("PUT", "/", body={"data": b"\x00"}) is None
    client.call("POST", "/", body=FrameQuery())
    assert json.loads(server.requests[0].body) == {"data": "AA=="}
    assert FrameQuery.model_validate_json(server.requests[1].body) == FrameQuery()
    assert {sent.headers["Content-Type"] for sent in server.requests} == {"application/json"}


def test_a_client_without_a_url_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="needs a URL"):
        MeshClient(Config())


@pytest.mark.parametrize(("name", "path"), [("a/b", "a/b"), ("a b?#[^y]", "a%20b%3F%23%5B%5Ey%5D"), ("é", "%C3%A9")])
def test_names_in_paths(name: str, path: str) -> None:
    assert quoted(name) == path


@pytest.mark.parametrize("code", sorted(set(error_types()) - {"unavailable", "overloaded"}))
def test_an_error_comes_out_as_its_own_type_and_is_not_repeated(
    server: Any, client: MeshClient, answer: Any, code: str
) -> None:
    kind = error_types()[code]
    server.answer(answer(kind.status, refusal(code, kind.status)))
    with pytest.raises(kind) as caught:
        client.call("GET", "/")
    assert type(caught.value) is kind
    assert str(caught.value) == "No. Do so."
    assert caught.value.details == {"n": 1}
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Unauthenticated), (429, Overloaded), (500, OmegaError), (502, Unavailable), (503, Unavailable)],
)
@pytest.mark.parametrize("body", [b"<html>", {"detail": "no"}, {"error": "no"}, ["error"], None])
def test_an_answer_of_a_proxy_is_told_by_its_status(
    server: Any, client: MeshClient, answer: Any, status: int, kind: type[OmegaError], body: Any
) -> None:
    server.answer(answer(status, body))
    with pytest.raises(kind, match=f"GET /x was answered with status {status}"):
        client.call("GET", "/x", repeatable=False)


@pytest.mark.parametrize("code", ["unavailable", "overloaded"])
def test_a_repeatable_call_is_repeated_with_the_same_body(
    server: Any, client: MeshClient, answer: Any, code: str
) -> None:
    refused = answer(503, refusal(code, 503))
    server.answer(refused, refused, answer(body={"done": True}))
    assert client.call("PUT", "/", body={"key": "k1"}) == {"done": True}
    assert [sent.body for sent in server.requests] == [b'{"key":"k1"}'] * 3


def test_it_gives_up_in_the_end(server: Any, client: MeshClient, answer: Any) -> None:
    server.answer(answer(503, NOT_NOW))
    with pytest.raises(Unavailable, match=r"No\. Do so\."):
        client.call("GET", "/")
    assert len(server.requests) == TRIES


def test_what_must_not_be_repeated_is_sent_once(server: Any, client: MeshClient, answer: Any) -> None:
    server.answer(answer(503, NOT_NOW))
    with pytest.raises(Unavailable):
        client.call("POST", "/", repeatable=False)
    assert len(server.requests) == 1


def test_a_connection_cut_in_the_middle_of_an_answer_is_repeated(server: Any, client: MeshClient, answer: Any) -> None:
    server.answer(answer(body={"value": "x" * 1000}, cut=100), answer(body={"value": 2}))
    assert client.call("GET", "/") == {"value": 2}


def test_a_mesh_that_is_not_there_says_what_to_check(nothing_listens: MeshClient) -> None:
    with pytest.raises(Unavailable, match=r"cannot be reached: .* Check OMEGA_URL"):
        nothing_listens.call("GET", "/")


@pytest.fixture
def moved(server: Any, answer: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[MeshClient, list[str]]]:
    """A client of a mesh that listens elsewhere by now, and the addresses that it found by looking."""
    monkeypatch.setattr("omegamesh.http._FIRST_PAUSE_SECONDS", 0.0)
    server.answer(answer(body={"id": "b1"}))
    looked: list[str] = []

    def find_again() -> str:
        looked.append(server.url)
        return looked[-1]

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        config = Config(f"http://127.0.0.1:{held.getsockname()[1]}", "ann", "k", bucket="red")
        with closing(MeshClient(config, find_again=find_again)) as client:
            yield client, looked


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.call("GET", "/x"),
        lambda client: client.call("POST", "/x", body={"a": 1}, repeatable=False),
        lambda client: client.upload("/x", DATA),
        lambda client: client.upload("/x", iter([DATA[:1000], DATA[1000:]])),
        lambda client: list(client.blob("x", hashlib.sha256(b'{"id": "b1"}').hexdigest())),
    ],
    ids=["read", "not repeatable", "bytes", "stream", "blob"],
)
def test_a_mesh_that_moved_is_looked_for_once_and_the_call_is_made_there(
    server: Any, moved: tuple[MeshClient, list[str]], use: Callable[[MeshClient], Any]
) -> None:
    client, looked = moved
    use(client)
    client.in_bucket("blue").call("GET", "/y")
    assert looked == [server.url]
    assert [(sent.headers["Bucket"], sent.headers["Authorization"]) for sent in server.requests] == [
        ("red", "ApiKey ann:k"),
        ("blue", "ApiKey ann:k"),
    ]
    assert server.requests[0].body in {b"", b'{"a":1}', DATA}


def test_a_mesh_that_is_nowhere_is_looked_for_once_a_call(
    nothing_listens: MeshClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def find_again() -> str:
        looked.append("")
        return str(nothing_listens.config.url)

    with closing(MeshClient(nothing_listens.config, find_again=find_again)) as client:
        for count in (1, 2):
            with pytest.raises(Unavailable, match="cannot be reached"):
                client.call("GET", "/")
            assert len(looked) == count


def test_a_mesh_that_refuses_is_not_looked_for(server: Any, answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omegamesh.http._FIRST_PAUSE_SECONDS", 0.0)
    server.answer(answer(503, NOT_NOW), answer(body={}))
    with closing(MeshClient(Config(server.url, "ann", "k"), find_again=lambda: pytest.fail("it looked"))) as client:
        assert client.call("GET", "/") == {}


def test_a_mesh_that_does_not_answer_is_not_asked_again(
    server: Any, client: MeshClient, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omegamesh.http._ANSWER_SECONDS", 0.1)
    released = threading.Event()
    server.answer(answer(body={}, after=released))
    with pytest.raises(CallTimeout, match="did not answer in time"):
        client.call("GET", "/")
    released.set()
    assert len(server.requests) == 1


def test_bytes_are_sent_again_when_the_mesh_was_away(server: Any, client: MeshClient, answer: Any) -> None:
    server.answer(answer(503, NOT_NOW), answer(body={"id": "b1"}))
    assert client.upload("/blobs", DATA, {"X-Content-SHA256": "s"}) == {"id": "b1"}
    assert [sent.body for sent in server.requests] == [DATA, DATA]
    assert server.requests[1].headers["X-Content-SHA256"] == "s"


def test_a_stream_is_sent_once_since_it_cannot_be_read_again(server: Any, client: MeshClient, answer: Any) -> None:
    server.answer(answer(503, NOT_NOW))
    with pytest.raises(Unavailable):
        client.upload("/blobs", (DATA[start : start + 1000] for start in range(0, 3000, 1000)))
    assert [sent.body for sent in server.requests] == [DATA[:3000]]


def test_a_blob_is_checked_against_its_sha256(server: Any, client: MeshClient, answer: Any) -> None:
    server.answer(answer(body=DATA))
    assert b"".join(client.blob("b1", hashlib.sha256(DATA).hexdigest())) == DATA
    assert server.requests[0].path == "/api/v1/blobs/b1"


def test_a_corrupted_blob_is_told(server: Any, client: MeshClient, answer: Any) -> None:
    server.answer(answer(body=DATA[:-1] + b"X"))
    with pytest.raises(BlobCorrupted, match="another sha256"):
        list(client.blob("b1", hashlib.sha256(DATA).hexdigest()))


def test_a_transfer_that_breaks_off_never_ends_in_silence(server: Any, client: MeshClient, answer: Any) -> None:
    server.answer(answer(body=DATA, cut=1000))
    with pytest.raises(Unavailable):
        list(client.blob("b1", hashlib.sha256(DATA).hexdigest()))


def test_opening_a_stream_is_repeated_while_the_mesh_is_away(server: Any, client: MeshClient, answer: Any) -> None:
    server.answer(answer(503, NOT_NOW), answer(body=DATA))
    with client.stream("GET", "/rows") as response:
        assert response.read() == DATA
    assert len(server.requests) == 2


def test_a_refused_stream_raises_the_error_in_its_body(server: Any, client: MeshClient, answer: Any) -> None:
    server.answer(answer(422, refusal("not_fitted", 422)))
    with pytest.raises(NotFitted), client.stream("POST", "/rows", body={}):
        pass
