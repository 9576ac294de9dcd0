"""Uploads and downloads over HTTP, on files and on GridFS."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from omegakit.http import TransportError, open_client
from omegakit.server import HttpServer
from omegakit.settings import AuthSettings, HttpSettings
from omegakit.tokens import Tokens
from omegaproto.blobs import StatBlobs, SweepBlobs
from omegaproto.errors import BlobNotFound, Forbidden
from omegaproto.scopes import Role

B = {"bucket": "omegaml"}
DATA = os.urandom(3 * 1024 * 1024 + 17)


async def everything(store: Any) -> list[Any]:
    return [blob async for blob in store.service._blobs.list()]


async def get(store: Any, id: str, **headers: str) -> Any:
    return await store.http.get(f"/v1/blobs/{id}", params=B, headers=store.headers() | headers)


def error_of(response: Any) -> tuple[int, str]:
    info = response.json()["error"]
    assert info["status"] == response.status_code
    assert info["message"]
    return response.status_code, info["code"]


async def test_what_goes_in_comes_out(store: Any) -> None:
    ref = await store.upload(DATA)
    response = await get(store, ref.id)
    assert response.content == DATA
    assert ref.sha256 == hashlib.sha256(DATA).hexdigest() == response.headers["x-content-sha256"]
    assert ref.length == len(DATA) == int(response.headers["content-length"])
    assert response.headers["etag"] == f'"{ref.sha256}"'
    assert store.metric("omega_blob_bytes_in_total") == len(DATA) == store.metric("omega_blob_bytes_out_total")


async def test_an_empty_blob_is_a_blob(store: Any) -> None:
    ref = await store.upload(b"")
    response = await get(store, ref.id)
    assert (response.status_code, response.content, ref.length) == (200, b"", 0)


async def test_head_says_what_get_would(store: Any) -> None:
    ref = await store.upload(DATA)
    response = await store.http.head(f"/v1/blobs/{ref.id}", params=B, headers=store.headers())
    assert (response.status_code, response.headers["content-length"]) == (200, str(len(DATA)))
    assert response.headers["x-content-sha256"] == ref.sha256


async def test_the_announced_sha256_is_checked(store: Any) -> None:
    async def upload(sha256: str) -> Any:
        headers = store.headers() | {"X-Content-SHA256": sha256}
        return await store.http.post("/v1/blobs", params=B, content=DATA, headers=headers)

    assert error_of(await upload("0" * 64)) == (400, "checksum_mismatch")
    assert error_of(await upload("nonsense")) == (400, "bad_request")
    assert await everything(store) == []
    assert (await upload(hashlib.sha256(DATA).hexdigest().upper())).status_code == 201


async def test_an_upload_that_is_too_large_is_refused_before_it_is_read(
    open_store: Any, local_stores: tuple[str, str]
) -> None:
    store = await open_store(local_stores, max_blob_bytes=1000)
    reader, writer = await asyncio.open_unix_connection(str(store.socket))
    writer.write(_request_head(store, f"Content-Length: {10**15}"))
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write_eof()
        body = await reader.read()
    writer.close()
    assert b" 413 " in head.splitlines()[0]
    assert json.loads(body)["error"]["details"] == {"limit": 1000}


async def test_an_upload_of_unknown_length_is_stopped_at_the_limit(
    open_store: Any, local_stores: tuple[str, str]
) -> None:
    store = await open_store(local_stores, max_blob_bytes=1000)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 400

    for content in (body(), b"x" * 3000):
        begin = time.monotonic()
        response = await store.http.post("/v1/blobs", params=B, content=content, headers=store.headers())
        assert error_of(response) == (413, "too_large")
        assert time.monotonic() - begin < 4  # nothing waits for a body that has ended
    assert await everything(store) == []


async def test_a_refusal_reaches_a_client_that_is_still_sending(local_store: Any) -> None:
    """Over TCP, where closing at once would reset the connection and lose the answer."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1024 * 1024

    server = HttpServer(local_store.service.asgi, HttpSettings())
    await server.start()
    try:
        async with open_client(server.url) as http:
            for framing in ({}, {"Content-Length": str(20 * 1024 * 1024)}):
                response = await http.post("/v1/blobs", params=B, content=body(), headers=framing)
                assert error_of(response) == (401, "unauthenticated")
    finally:
        await server.stop()


@pytest.mark.parametrize("framing", ["Content-Length: 5000000", "Transfer-Encoding: chunked"])
async def test_a_cut_upload_leaves_nothing(store: Any, framing: str) -> None:
    _, writer = await asyncio.open_unix_connection(str(store.socket))
    writer.write(_request_head(store, framing))
    piece = b"x" * 2_000_000
    writer.write(piece if "Length" in framing else b"%x\r\n%b\r\n" % (len(piece), piece))
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    ref = await store.upload(b"after")
    assert [blob.id for blob in await everything(store)] == [ref.id]
    await _settled(store)


async def _settled(store: Any) -> None:
    """Return when no half upload is left behind: neither temporary files nor chunks without a file."""
    async with asyncio.timeout(10):
        while _leftovers(store):
            await asyncio.sleep(0.01)


def _leftovers(store: Any) -> int:
    folder = store.folder / "blobs" / "tmp"
    if folder.exists():
        return len(list(folder.iterdir()))
    from pymongo import MongoClient

    with MongoClient[dict[str, Any]](store.service._blobs._url) as client:
        database = client.get_default_database()
        kept = [file["_id"] for file in database["fs.files"].find({}, ["_id"])]
        return database["fs.chunks"].count_documents({"files_id": {"$nin": kept}})


def _request_head(store: Any, framing: str) -> bytes:
    lines = ["POST /v1/blobs?bucket=omegaml HTTP/1.1", "Host: mesh", f"Authorization: Bearer {store.token()}", framing]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.fixture
def blob_corrupted() -> Callable[[Any, str, int], None]:
    """Flips a byte of a stored blob behind the store's back."""

    def corrupt(store: Any, id: str, at: int) -> None:
        folder: Path = store.folder / "blobs"
        if folder.exists():
            path = folder / id[:2] / id[2:]
            data = bytearray(path.read_bytes())
            data[at] ^= 1
            path.write_bytes(data)
            return
        from pymongo import MongoClient

        with MongoClient[dict[str, Any]](store.service._blobs._url) as client:
            database = client.get_default_database()
            file = database["fs.files"].find_one({"filename": id})
            assert file is not None
            where = {"files_id": file["_id"], "n": at // file["chunkSize"]}
            chunk = database["fs.chunks"].find_one(where)
            assert chunk is not None
            data = bytearray(chunk["data"])
            data[at % file["chunkSize"]] ^= 1
            database["fs.chunks"].update_one(where, {"$set": {"data": bytes(data)}})

    return corrupt


async def test_a_corrupted_blob_ends_in_a_broken_transfer(store: Any, blob_corrupted: Any) -> None:
    ref = await store.upload(os.urandom(9 * 1024 * 1024))
    blob_corrupted(store, ref.id, 5_000_000)
    received = 0
    with pytest.raises(TransportError):
        async with store.http.stream("GET", f"/v1/blobs/{ref.id}", params=B, headers=store.headers()) as response:
            assert response.status_code == 200
            async for chunk in response.aiter_raw():
                received += len(chunk)
    assert received < ref.length
    assert store.metric("omega_blob_corrupted_total") == 1


async def test_the_rest_of_a_broken_transfer_says_why_it_broke(store: Any, blob_corrupted: Any) -> None:
    ref = await store.upload(bytes(9_000_000))
    blob_corrupted(store, ref.id, 5_000_000)
    with pytest.raises(TransportError):
        await get(store, ref.id)
    rest = await get(store, ref.id, Range="bytes=1000-")
    assert error_of(rest) == (500, "blob_corrupted")


async def test_a_blob_that_was_restored_is_given_again(store: Any, blob_corrupted: Any) -> None:
    ref = await store.upload(bytes(9_000_000))
    blob_corrupted(store, ref.id, 5_000_000)
    with pytest.raises(TransportError):
        await get(store, ref.id)
    blob_corrupted(store, ref.id, 5_000_000)
    assert (await get(store, ref.id)).content == bytes(9_000_000)


async def test_a_small_corrupted_blob_is_an_error_of_its_own(store: Any, blob_corrupted: Any) -> None:
    ref = await store.upload(b"x" * 1000)
    blob_corrupted(store, ref.id, 10)
    assert error_of(await get(store, ref.id)) == (500, "blob_corrupted")
    assert store.metric("omega_blob_corrupted_total") == 1


async def test_a_shortened_blob_is_found_in_a_range_too(local_store: Any) -> None:
    ref = await local_store.upload(b"x" * 1000)
    path = local_store.folder / "blobs" / ref.id[:2] / ref.id[2:]
    path.write_bytes(path.read_bytes()[500:])
    assert error_of(await get(local_store, ref.id, Range="bytes=0-9")) == (500, "blob_corrupted")
    assert local_store.metric("omega_blob_corrupted_total") == 1


async def test_a_client_that_goes_away_stops_the_download(local_store: Any) -> None:
    ref = await local_store.upload(os.urandom(64 * 1024 * 1024))
    async with local_store.http.stream(
        "GET", f"/v1/blobs/{ref.id}", params=B, headers=local_store.headers()
    ) as response:
        await anext(response.aiter_raw())
    assert (await get(local_store, ref.id, Range="bytes=0-0")).status_code == 206
    assert local_store.metric("omega_blob_bytes_out_total") < ref.length


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_a_range_is_a_slice(store: Any, data: st.DataObject) -> None:
    if not hasattr(store, "ref"):
        store.ref = await store.upload(DATA)
    start = data.draw(st.integers(0, len(DATA) - 1))
    stop = data.draw(st.integers(start + 1, len(DATA) + 10))
    response = await get(store, store.ref.id, Range=f"bytes={start}-{stop - 1}")
    assert response.status_code == 206
    assert response.content == DATA[start:stop]
    assert response.headers["content-range"] == f"bytes {start}-{min(stop, len(DATA)) - 1}/{len(DATA)}"


async def test_a_range_outside_is_416(store: Any) -> None:
    ref = await store.upload(b"0123456789")
    response = await get(store, ref.id, Range="bytes=10-")
    assert error_of(response)[0] == 416
    assert response.headers["content-range"] == "bytes */10"


async def test_a_range_of_another_version_gives_the_whole(store: Any) -> None:
    ref = await store.upload(b"0123456789")
    stale = {"Range": "bytes=2-3", "If-Range": '"other"'}
    assert (await get(store, ref.id, **stale)).content == b"0123456789"
    fresh = {"Range": "bytes=2-3", "If-Range": f'"{ref.sha256}"'}
    assert (await get(store, ref.id, **fresh)).content == b"23"


async def test_another_buckets_blob_is_not_there(store: Any) -> None:
    ref = await store.upload(b"secret", bucket="other")
    theirs = await get(store, ref.id)
    missing = await get(store, "0" * 32)
    nonsense = await get(store, "nonsense")
    assert error_of(theirs) == error_of(missing) == error_of(nonsense) == (404, "blob_not_found")
    assert theirs.json()["error"]["message"].replace(ref.id, "") == missing.json()["error"]["message"].replace(
        "0" * 32, ""
    )


async def test_every_route_asks_who_calls_and_for_which_bucket(local_store: Any) -> None:
    routes = [
        ("POST", "/v1/blobs", Role.reader),
        ("GET", f"/v1/blobs/{'0' * 32}", None),
        ("GET", f"/v1/frames/{'0' * 32}", None),
        ("POST", f"/v1/frames/{'0' * 32}/rows", None),
    ]
    stranger = Tokens(AuthSettings(secret=SecretStr("z" * 48)), "gateway").own()
    for method, path, too_low in routes:

        async def ask(headers: dict[str, str], method: str = method, path: str = path, **params: str) -> Any:
            return await local_store.http.request(method, path, params=params, headers=headers)

        assert error_of(await ask({}, bucket="omegaml")) == (401, "unauthenticated")
        assert error_of(await ask({"Authorization": "Basic eA=="}, bucket="omegaml")) == (401, "unauthenticated")
        assert error_of(await ask({"Authorization": f"Bearer {stranger}"}, bucket="omegaml")) == (
            401,
            "unauthenticated",
        )
        assert error_of(await ask(local_store.headers(bucket="other"), bucket="omegaml")) == (403, "forbidden")
        assert error_of(await ask(local_store.headers())) == (400, "bad_request")
        assert error_of(await ask(local_store.headers(), bucket="*")) == (400, "bad_request")
        if too_low:
            assert error_of(await ask(local_store.headers(too_low), bucket="omegaml")) == (403, "forbidden")


async def test_a_path_or_method_that_is_not_there_is_a_json_error(local_store: Any) -> None:
    assert error_of(await local_store.http.get("/v2")) == (404, "not_found")
    assert error_of(await local_store.http.put("/v1/blobs")) == (405, "bad_request")


async def test_stat_describes_blobs_in_the_order_asked_for(store: Any) -> None:
    refs = [await store.upload(data) for data in (b"a", b"bb", b"ccc")]
    infos = await store.call(StatBlobs(bucket="omegaml", blob_ids=tuple(ref.id for ref in reversed(refs))))
    assert [info.ref for info in infos.items] == refs[::-1]
    assert all(datetime.now(UTC) - info.created < timedelta(minutes=1) for info in infos.items)
    other = await store.upload(b"d", bucket="other")
    with pytest.raises(BlobNotFound):
        await store.call(StatBlobs(bucket="omegaml", blob_ids=(refs[0].id, other.id)))


async def test_only_the_mesh_itself_sweeps(local_store: Any) -> None:
    with pytest.raises(Forbidden):
        await local_store.call(SweepBlobs(bucket="omegaml"), Role.admin)


async def test_ready_and_metrics(local_store: Any) -> None:
    ready = await local_store.http.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]) == (200, {"docs": "ok", "blobs": "ok", "bus": "ok"})
    assert "omega_blob_bytes_in_total" in (await local_store.http.get("/metrics")).text
    await local_store.kit.bus.close()
    assert (await local_store.http.get("/readyz")).status_code == 503
