"""Streams of bytes between callers and stores: gathered into larger pieces, read one ahead, checked on the way."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

from omegakit.blobs.checks import corrupted, wrong_length
from omegakit.blobs.port import StoredBlob

T = TypeVar("T")


async def pieces(chunks: AsyncIterator[bytes], length: int | None, size: int) -> AsyncGenerator[list[bytes], None]:
    """Gather chunks into lists of `size` bytes or more. Raises IncompleteUpload once there is more than `length`."""
    gathered: list[bytes] = []
    waiting = total = 0
    async for chunk in chunks:
        gathered.append(chunk)
        waiting += len(chunk)
        total += len(chunk)
        if length is not None and total > length:
            raise wrong_length(total, length)
        if waiting >= size:
            yield gathered
            gathered, waiting = [], 0
    if waiting:
        yield gathered


async def one_ahead(jobs: Iterable[Callable[[], Awaitable[T]]]) -> AsyncGenerator[T, None]:
    """Give the jobs' results in order; while the caller has one, the next runs. Never leaves a job running."""
    running: asyncio.Future[T] | None = None
    try:
        for job in jobs:
            ready = running
            if ready is not None:
                await asyncio.wait([ready])
            running = asyncio.ensure_future(job())
            if ready is not None:
                yield ready.result()
        if running is not None:
            yield await running
    finally:
        if running is not None:
            await asyncio.wait([running])
            _ = running.cancelled() or running.exception()


@asynccontextmanager
async def in_flight(most: int) -> AsyncIterator[Callable[[Awaitable[Any]], Awaitable[None]]]:
    """Give a function that starts a job once fewer than `most` run; all have ended at the exit, which raises errors."""
    running: set[asyncio.Future[Any]] = set()

    async def start(job: Awaitable[Any]) -> None:
        running.add(asyncio.ensure_future(job))
        if len(running) >= most:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            running.difference_update(done)
            for each in done:
                each.result()

    try:
        yield start
    finally:
        results = await asyncio.gather(*running, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def cut(parts: Sequence[bytes], offset: int, length: int) -> list[bytes]:
    """Give `length` bytes from `offset` on of what the parts hold together, fewer when they hold fewer."""
    found: list[bytes] = []
    for part in parts:
        piece = part[offset : offset + length]
        offset, length = max(offset - len(part), 0), length - len(piece)
        if piece:
            found.append(piece)
    return found


async def each_of(stream: AsyncIterator[Sequence[bytes]]) -> AsyncGenerator[bytes, None]:
    """Give the bytes of lists one by one."""
    async for parts in stream:
        for part in parts:
            yield part


async def verified(stream: AsyncIterator[Sequence[bytes]], blob: StoredBlob) -> AsyncGenerator[bytes, None]:
    """Give a whole blob's pieces. Raises BlobCorrupted before the last one when their sha256 differs."""
    digest = Digest()

    async def counted() -> AsyncGenerator[bytes, None]:
        async for parts in stream:
            await asyncio.to_thread(digest.update, *parts)
            for part in parts:
                yield part

    async with aclosing(counted()) as pieces_of_it:
        async for piece in held_back(pieces_of_it, digest, blob):
            yield piece


async def held_back(stream: AsyncIterator[bytes], digest: Digest, blob: StoredBlob) -> AsyncGenerator[bytes, None]:
    """Give a whole blob's pieces, which `digest` has counted; the last one once it is known that they are right.

    Raises BlobCorrupted.
    """
    held: bytes | None = None
    async for piece in stream:
        if held is not None:
            yield held
        held = piece
    if digest.sha256 != blob.sha256:
        raise corrupted(blob.id, f"its sha256 is {digest.sha256}, recorded was {blob.sha256}")
    if held is not None:
        yield held


class Digest:
    """The sha256 and the length of bytes as they pass."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.length = 0

    def update(self, *parts: bytes) -> None:
        """Count bytes in. Takes about 0.6 ms a MiB, so call it in a thread."""
        for part in parts:
            self._sha256.update(part)
            self.length += len(part)

    @property
    def sha256(self) -> str:
        """The sha256 so far, hexadecimal."""
        return self._sha256.hexdigest()
