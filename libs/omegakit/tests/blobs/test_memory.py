"""Memory stays constant, whatever the size of a blob."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import psutil

from omegakit.blobs import BlobStore

MIB = 1024 * 1024
TOTAL, MOST_GROWTH = 256 * MIB, 60 * MIB
CHUNK = bytes(range(256)) * 1024


async def test_256_mib_pass_in_less_than_60_mib(blobs: BlobStore) -> None:
    process, id = psutil.Process(), "e" * 32
    before = peak = process.memory_info().rss

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal peak
        for _ in range(TOTAL // len(CHUNK)):
            peak = max(peak, process.memory_info().rss)
            yield bytes(bytearray(CHUNK))

    stored = await blobs.put(id, "b", chunks(), length=TOTAL)
    digest = hashlib.sha256()
    async for chunk in blobs.get(id):
        peak = max(peak, process.memory_info().rss)
        await asyncio.to_thread(digest.update, chunk)
    assert digest.hexdigest() == stored.sha256
    assert peak - before < MOST_GROWTH
