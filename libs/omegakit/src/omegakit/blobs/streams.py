"""Streams of bytes between callers and stores: gathered into larger pieces, read one ahead, checked on the way."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from omegakit.blobs.checks import corrupted, wrong_length
from omegakit.blobs.port import StoredBlob

T = TypeVar("T")
Run = Callable[[Callable[[], None]], Awaitable[None]]
# A hop to a thread costs about 0.1 ms; hashing and writing this much takes about ten times as long.
PIECE = 1024 * 1024


async def pieces(chunks: AsyncIterator[bytes], length: int | None) -> AsyncGenerator[list[bytes], None]:
    """Gather chunks into lists of 1 MiB or more. Raises IncompleteUpload once there is more than `length`."""
    gathered: list[bytes] = []
    waiting = total = 0
    async for chunk in chunks:
        gathered.append(chunk)
        waiting += len(chunk)
        total += len(chunk)
        if length is not None and total > length:
            raise wrong_length(total, length)
        if waiting >= PIECE:
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


async def verified(stream: AsyncIterator[bytes], blob: StoredBlob, run: Run) -> AsyncGenerator[bytes, None]:
    """Give a whole blob's pieces, hashed by `run`. Raises BlobCorrupted before the last one when the sha256 differs."""
    digest = hashlib.sha256()
    held: bytes | None = None
    async for piece in stream:
        if held is not None:
            yield held
        await run(partial(_hash, digest, piece))
        held = piece
    if digest.hexdigest() != blob.sha256:
        raise corrupted(blob.id, f"its sha256 is {digest.hexdigest()}, recorded was {blob.sha256}")
    if held is not None:
        yield held


def _hash(digest: Any, piece: bytes) -> None:
    digest.update(piece)
