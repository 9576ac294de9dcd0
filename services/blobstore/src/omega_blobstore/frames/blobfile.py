"""A blob as a file that a thread can seek and read, over the asynchronous store."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable

from omegakit.blobs import BlobStore
from omegaproto.errors import BlobCorrupted


async def read_exactly(blobs: BlobStore, id: str, start: int, stop: int) -> bytes:
    """Give bytes `start` up to `stop` of a blob. Raises BlobNotFound, BlobCorrupted when there are fewer."""
    chunks = [chunk async for chunk in blobs.get(id, start, stop)]
    data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if len(data) != stop - start:
        raise BlobCorrupted(f"The blob {id} ends early.", action="Put the object again, or restore a backup.")
    return data


class RangeFile(io.RawIOBase):
    """A file of `length` bytes, read-only, whose ranges `read_range(start, stop)` gives."""

    def __init__(self, length: int, read_range: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self._length = length
        self._read_range = read_range
        self._at = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be sought in."""
        return True

    def tell(self) -> int:
        """Give the position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position and give it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Give the next `size` bytes, fewer at the end."""
        stop = self._length if size is None or size < 0 else min(self._at + size, self._length)
        if stop <= self._at:
            return b""
        data = self._read_range(self._at, stop)
        self._at = stop
        return data


def blob_file(blobs: BlobStore, id: str, length: int, loop: asyncio.AbstractEventLoop) -> RangeFile:
    """Give a blob as a file for other threads than the loop's: each read waits for the loop to fetch a range."""

    def read_range(start: int, stop: int) -> bytes:
        return asyncio.run_coroutine_threadsafe(read_exactly(blobs, id, start, stop), loop).result()

    return RangeFile(length, read_range)
