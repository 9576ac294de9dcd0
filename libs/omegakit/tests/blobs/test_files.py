"""What only the folder of files does: leftovers, damaged footers, kill -9."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from omegakit.blobs import BlobStore, open_blobs
from omegaproto.errors import BadRequest, BlobCorrupted, Unavailable

A = "a" * 32
STORE_FOR_EVER = """
import asyncio, os, sys
from omegakit.blobs import open_blobs

async def chunks(id):
    for _ in range(4):
        yield id.encode() * 1000

async def main():
    blobs = open_blobs(sys.argv[1])
    await blobs.start()

    async def store():
        while True:
            id = os.urandom(16).hex()
            await blobs.put(id, "b", chunks(id))
            print(id, flush=True)

    await asyncio.gather(*(store() for _ in range(8)))

asyncio.run(main())
"""


async def abc() -> AsyncIterator[bytes]:
    yield b"abc"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


async def opened(folder: Path) -> BlobStore:
    blobs = open_blobs(f"file://{folder}")
    await blobs.start()
    return blobs


async def test_a_killed_process_loses_no_acknowledged_blob(folder: Path) -> None:
    command = [sys.executable, "-c", STORE_FOR_EVER, f"file://{folder}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(200)]
        writer.kill()
        acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
    blobs = await opened(folder)
    for id in acknowledged:
        assert b"".join([chunk async for chunk in blobs.get(id)]) == id.encode() * 4000
    visible = [blob.id async for blob in blobs.list()]
    assert set(acknowledged) <= set(visible)
    for id in visible:  # what was not acknowledged is whole, or not there
        assert sum([len(chunk) async for chunk in blobs.get(id)]) == 128_000
    await blobs.close()


async def test_only_old_leftovers_are_removed_at_start(folder: Path) -> None:
    (folder / "tmp").mkdir(parents=True)
    old, new = folder / "tmp" / "old", folder / "tmp" / "new"
    old.touch()
    new.touch()
    os.utime(old, (time.time() - 3700,) * 2)
    blobs = await opened(folder)
    assert (old.exists(), new.exists()) == (False, True)
    await blobs.close()


@pytest.mark.parametrize("damage", ["short", "mark", "json", "moved"])
async def test_a_damaged_footer_is_seen(folder: Path, damage: str) -> None:
    blobs = await opened(folder)
    await blobs.put(A, "b", abc())
    file = folder / A[:2] / A[2:]
    whole = file.read_bytes()
    damaged = {
        "short": whole[:5],
        "mark": whole[:-1] + b"?",
        "json": whole[:10] + b"?" + whole[11:],
        "moved": b"x" + whole,
    }
    file.write_bytes(damaged[damage])
    with pytest.raises(BlobCorrupted):
        await blobs.stat(A)
    with pytest.raises(BlobCorrupted):
        await anext(blobs.get(A))
    assert [blob async for blob in blobs.list()] == []
    assert await blobs.delete(A)
    await blobs.close()


async def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    blobs = open_blobs(f"file://{tmp_path}/file/blobs")
    with pytest.raises(Unavailable):
        await blobs.start()
    await blobs.close()


@pytest.mark.parametrize("url", ["s3://bucket", "file:///", "blobs", "gridfs://host/db"])
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(BadRequest):
        open_blobs(url)
