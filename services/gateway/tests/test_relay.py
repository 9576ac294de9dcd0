"""Bytes through the gateway: whole, in ranges, cut, damaged, and in constant memory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import psutil
import pytest

from .conftest import ADMIN_KEY, Gateways, Mesh

MIB = 1024 * 1024


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def stored(mesh: Mesh) -> list[Path]:
    """The files that blobstore keeps, whole or not."""
    return [path for path in (mesh.folder / "blobs").rglob("*") if path.is_file()]


async def test_a_blob_comes_back_as_it_went(mesh: Mesh) -> None:
    content = os.urandom(3 * MIB)
    async with mesh.client() as client:
        made = await client.post("/api/v1/blobs", content=content, headers={"X-Content-SHA256": sha256(content)})
        assert made.status_code == 201
        ref = made.json()
        assert (ref["sha256"], ref["length"]) == (sha256(content), len(content))
        got = await client.get(f"/api/v1/blobs/{ref['id']}")
        assert got.content == content
        assert got.headers["X-Content-SHA256"] == sha256(content)
        some = await client.get(f"/api/v1/blobs/{ref['id']}", headers={"Range": "bytes=10-19"})
        assert (some.status_code, some.content) == (206, content[10:20])
        assert some.headers["Content-Range"] == f"bytes 10-19/{len(content)}"
        head = await client.head(f"/api/v1/blobs/{ref['id']}")
        assert (head.status_code, head.headers["X-Content-SHA256"], head.content) == (200, sha256(content), b"")
        beyond = await client.get(f"/api/v1/blobs/{ref['id']}", headers={"Range": f"bytes={len(content)}-"})
        assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(content)}")


async def test_errors_of_blobstore_pass_as_they_are(mesh: Mesh) -> None:
    async with mesh.client() as client, mesh.client(bucket="sales") as elsewhere:
        wrong = await client.post("/api/v1/blobs", content=b"abc", headers={"X-Content-SHA256": "0" * 64})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "checksum_mismatch")
        assert wrong.json()["message"].startswith(wrong.json()["error"]["message"])
        missing = await client.get("/api/v1/blobs/0123456789abcdef0123456789abcdef")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "blob_not_found")
        assert (await client.get("/api/v1/blobs/a%20b")).status_code == 400
        ref = (await client.post("/api/v1/blobs", content=b"abc")).json()
        assert (await elsewhere.get(f"/api/v1/blobs/{ref['id']}")).status_code == 404


async def test_an_upload_has_no_limit_but_its_stream(mesh: Mesh) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 100_000

    async with mesh.client() as client:
        made = await client.post("/api/v1/blobs", content=chunks())
    assert made.json()["length"] == 4_000_000


@pytest.mark.parametrize("announced", [True, False])
async def test_a_cut_upload_leaves_nothing(mesh: Mesh, announced: bool) -> None:
    before = stored(mesh)
    host, port = mesh.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /api/v1/blobs HTTP/1.1\r\nHost: x\r\nAuthorization: ApiKey admin:{ADMIN_KEY}\r\n"
    if announced:
        writer.write(f"{head}Content-Length: 1000000\r\n\r\n".encode() + b"x" * 600_000)
    else:
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + b"927c0\r\n" + b"x" * 600_000 + b"\r\n")
    await writer.drain()
    while not [path for path in stored(mesh) if path not in before]:
        await asyncio.sleep(0.01)
    writer.transport.abort()
    async with asyncio.timeout(10):
        while [path for path in stored(mesh) if path not in before]:
            await asyncio.sleep(0.01)
    assert await reader.read() == b""


async def test_a_damaged_blob_never_looks_whole(mesh: Mesh) -> None:
    content = os.urandom(8 * MIB)
    async with mesh.client() as client:
        before = set(stored(mesh))
        ref = (await client.post("/api/v1/blobs", content=content)).json()
        (file,) = set(stored(mesh)) - before
        with file.open("r+b") as opened:
            opened.seek(7 * MIB)
            opened.write(b"damage")
        try:
            answer = await client.get(f"/api/v1/blobs/{ref['id']}")
        except httpx2.RemoteProtocolError:
            return
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "blob_corrupted")


async def test_a_client_that_leaves_stops_the_download(mesh: Mesh) -> None:
    async with mesh.client() as client:
        ref = (await client.post("/api/v1/blobs", content=bytes(32 * MIB))).json()
        async with client.stream("GET", f"/api/v1/blobs/{ref['id']}") as answer:
            await anext(answer.aiter_raw())
        pool = mesh.gateway._parts.blobstore._client._transport._pool
        async with asyncio.timeout(10):
            while any(not connection.is_idle() for connection in pool.connections):
                await asyncio.sleep(0.01)


async def test_an_upload_that_stands_still_is_cut(meshes: Gateways) -> None:
    mesh = await meshes(idle_seconds=0.2)
    forever = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"
        await forever.wait()

    async with mesh.client() as client:
        sending = asyncio.create_task(client.post("/api/v1/blobs", content=chunks()))
        async with asyncio.timeout(10):
            while not stored(mesh):
                await asyncio.sleep(0.01)
            while stored(mesh):
                await asyncio.sleep(0.01)
        forever.set()
        answer = await sending
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "call_timeout")


async def test_blobstore_away_is_said_so(meshes: Gateways) -> None:
    mesh = await meshes()
    service, server, _ = await mesh.second_gateway(blobstore_url="http://127.0.0.1:9")
    assert service is not mesh.gateway
    async with httpx2.AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}) as client:
        for answer in (await client.get("/api/v1/blobs/abc"), await client.post("/api/v1/blobs", content=b"x")):
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")


SERVE = """
import asyncio, sys
from contextlib import AsyncExitStack
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import conftest
async def main():
    async with AsyncExitStack() as stack:
        options = {"blobstore_url": sys.argv[3]}
        _, server, _ = await conftest.gateway(stack, conftest.MemoryBroker(), options)
        print(server.url, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_a_large_blob_passes_in_constant_memory(mesh: Mesh, tmp_path: Path) -> None:
    """The gateway runs as a process of its own, so that its memory is its own."""
    command = [sys.executable, "-c", SERVE, str(tmp_path), str(Path(__file__).parent), mesh.store_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = (await asyncio.to_thread(process.stdout.readline)).strip()
            before = psutil.Process(process.pid).memory_info().rss
            await there_and_back(url, mesh.kit.tokens.own(), 256)
            with Path(f"/proc/{process.pid}/status").open() as status:
                peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
            assert peak - before < 48 * MIB
        finally:
            process.kill()


async def there_and_back(url: str, token: str, mebibytes: int) -> None:
    """Upload and download a blob without holding it."""
    piece = os.urandom(MIB)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(mebibytes):
            yield piece

    async with httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        ref = (await client.post("/api/v1/blobs", content=chunks())).json()
        assert ref["length"] == mebibytes * MIB
        got = hashlib.sha256()
        async with client.stream("GET", f"/api/v1/blobs/{ref['id']}") as answer:
            async for chunk in answer.aiter_raw():
                got.update(chunk)
    assert got.hexdigest() == ref["sha256"]
