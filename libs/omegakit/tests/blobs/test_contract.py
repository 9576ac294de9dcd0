"""What every blob store does, on all adapters."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omegakit.blobs import BlobStore
from omegakit.clock import ManualClock
from omegaproto.errors import (
    BadName,
    BadRequest,
    BlobCorrupted,
    BlobNotFound,
    ChecksumMismatch,
    DuplicateKey,
    IncompleteUpload,
    Unavailable,
)

pytestmark = pytest.mark.usefixtures("no_leaks")

MIB = 1024 * 1024
A, B, C = "a" * 32, "b" * 32, "0c" * 16
LARGE = os.urandom(5 * MIB + 17)


class Disk(Protocol):
    def leftovers(self) -> int: ...
    def flip(self, id: str, at: int) -> None: ...


async def cut(data: bytes, size: int = 256 * 1024) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def read(blobs: BlobStore, id: str, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in blobs.get(id, start, stop)])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("length", [0, 1, MIB - 1, MIB, MIB + 1, len(LARGE)])
async def test_bytes_come_back(blobs: BlobStore, clock: ManualClock, length: int) -> None:
    data = LARGE[:length]
    stored = await blobs.put(A, "bucket/..", cut(data, 100_000), sha256=sha256(data), length=length)
    assert (stored.id, stored.bucket, stored.sha256, stored.length) == (A, "bucket/..", sha256(data), length)
    assert abs(stored.created - clock.now()) < timedelta(milliseconds=1)
    assert await blobs.stat(A) == stored
    assert await read(blobs, A) == data


async def test_tiny_and_empty_chunks_are_gathered(blobs: BlobStore) -> None:
    async def crumbs() -> AsyncIterator[bytes]:
        for at in range(3000):
            yield LARGE[at : at + 1]
            yield b""

    await blobs.put(A, "b", crumbs())
    assert await read(blobs, A) == LARGE[:3000]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, len(LARGE) + 2), stop=st.none() | st.integers(0, len(LARGE) + 2))
async def test_ranges_are_slices(blobs: BlobStore, start: int, stop: int | None) -> None:
    if not [blob async for blob in blobs.list()]:
        await blobs.put(A, "b", cut(LARGE))
    assert await read(blobs, A, start, stop) == LARGE[start:stop]


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (0, -1)])
async def test_a_negative_range_is_refused(blobs: BlobStore, start: int, stop: int | None) -> None:
    await blobs.put(A, "b", cut(b"abc"))
    with pytest.raises(BadRequest):
        await read(blobs, A, start, stop)


@pytest.mark.parametrize(
    "id", ["", "..", "../../../../../../../etc/passwd", "A" * 32, "a" * 31, "g" * 32, "a" * 32 + "\n"]
)
async def test_an_id_that_is_none_is_refused(blobs: BlobStore, disk: Disk, id: str) -> None:
    for call in (blobs.put(id, "b", cut(b"abc")), blobs.stat(id), blobs.delete(id), read(blobs, id)):
        with pytest.raises(BadName):
            await call
    assert disk.leftovers() == 0


async def test_a_missing_blob(blobs: BlobStore) -> None:
    with pytest.raises(BlobNotFound):
        await blobs.stat(A)
    with pytest.raises(BlobNotFound):
        await read(blobs, A)
    assert not await blobs.delete(A)


async def test_an_id_is_taken_once(blobs: BlobStore, disk: Disk) -> None:
    await blobs.put(A, "b", cut(LARGE))
    before = disk.leftovers()
    with pytest.raises(DuplicateKey):
        await blobs.put(A, "b", cut(b"other"))
    assert await read(blobs, A) == LARGE
    assert disk.leftovers() == before


async def test_of_uploads_under_one_id_at_once_one_wins(blobs: BlobStore, disk: Disk) -> None:
    everybody_in = asyncio.Barrier(4)

    async def together(data: bytes) -> AsyncIterator[bytes]:
        await everybody_in.wait()
        async for chunk in cut(data):
            yield chunk

    uploads = [LARGE[n : n + 2 * MIB] for n in range(4)]
    results = await asyncio.gather(*(blobs.put(A, "b", together(each)) for each in uploads), return_exceptions=True)
    winner = [n for n, each in enumerate(results) if not isinstance(each, DuplicateKey)]
    assert len(winner) == 1
    assert await read(blobs, A) == uploads[winner[0]]
    assert await blobs.delete(A)
    assert disk.leftovers() == 0


async def connection_lost() -> AsyncIterator[bytes]:
    async for chunk in cut(LARGE[: 3 * MIB]):
        yield chunk
    raise ConnectionResetError("the client went away")


Upload = Callable[[BlobStore], Awaitable[object]]
BROKEN: dict[str, tuple[type[Exception], Upload]] = {
    "cut": (ConnectionResetError, lambda blobs: blobs.put(A, "b", connection_lost())),
    "too short": (IncompleteUpload, lambda blobs: blobs.put(A, "b", cut(LARGE), length=len(LARGE) + 1)),
    "too long": (IncompleteUpload, lambda blobs: blobs.put(A, "b", cut(LARGE), length=len(LARGE) - 1)),
    "wrong sha256": (ChecksumMismatch, lambda blobs: blobs.put(A, "b", cut(LARGE), sha256="0" * 64)),
    "too slow": (TimeoutError, lambda blobs: asyncio.wait_for(blobs.put(A, "b", stalled()), 0.3)),
}


async def stalled() -> AsyncIterator[bytes]:
    async for chunk in cut(LARGE[: 3 * MIB]):
        yield chunk
    await asyncio.Event().wait()


@pytest.mark.parametrize("upload", BROKEN)
async def test_a_broken_upload_leaves_nothing(blobs: BlobStore, disk: Disk, upload: str) -> None:
    error, put = BROKEN[upload]
    with pytest.raises(error):
        await put(blobs)
    assert [blob async for blob in blobs.list()] == []
    assert disk.leftovers() == 0
    await blobs.put(A, "b", cut(b"again"))
    assert await read(blobs, A) == b"again"


@pytest.mark.parametrize("at", [0, 3 * MIB, len(LARGE) - 1])
async def test_a_corrupted_blob_is_not_given_whole(blobs: BlobStore, disk: Disk, at: int) -> None:
    await blobs.put(A, "b", cut(LARGE))
    disk.flip(A, at)
    given = 0
    with pytest.raises(BlobCorrupted):
        async for chunk in blobs.get(A):
            given += len(chunk)
    assert given < len(LARGE)


async def test_a_get_may_be_left_half_way(blobs: BlobStore) -> None:
    await blobs.put(A, "b", cut(LARGE))
    stream = blobs.get(A)
    assert LARGE.startswith(await anext(stream))
    await stream.aclose()  # type: ignore[attr-defined]
    assert await blobs.delete(A)


async def test_a_listing_is_in_order_and_knows_ages(blobs: BlobStore, clock: ManualClock) -> None:
    for id in (B, A, C):
        await blobs.put(id, f"bucket-{id[0]}", cut(b"abc"))
        clock.advance(10)
    everything = [blob async for blob in blobs.list()]
    assert [(blob.id, blob.bucket) for blob in everything] == [(C, "bucket-0"), (A, "bucket-a"), (B, "bucket-b")]
    cutoff = clock.now() - timedelta(seconds=15)
    assert [blob.id async for blob in blobs.list(older_than=cutoff)] == [A, B]


async def test_a_closed_store_is_unavailable(blobs: BlobStore) -> None:
    await blobs.ping()
    await blobs.close()
    await blobs.close()
    for call in (blobs.ping(), blobs.stat(A), blobs.put(A, "b", cut(b"abc"))):
        with pytest.raises(Unavailable):
            await call
