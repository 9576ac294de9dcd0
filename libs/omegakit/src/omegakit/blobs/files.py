"""The BlobStore in a folder: one file a blob, named by its id, and never by anything a user wrote.

A file holds the bytes, then a footer that describes them (`footer`). It is written under `tmp/`, synced, and linked to
its place, so that it is visible whole or not at all; a link, unlike a rename, refuses to replace an existing blob.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from omegakit.blobs.checks import Span, blob_exists, check_id, checked, no_blob, span
from omegakit.blobs.footer import described, read_footer
from omegakit.blobs.partfile import PartFile, sync_folder
from omegakit.blobs.port import StoredBlob
from omegakit.blobs.streams import Digest, held_back, one_ahead, pieces
from omegakit.clock import Clock, SystemClock
from omegaproto.errors import BlobCorrupted, BlobNotFound, Unavailable

T = TypeVar("T")
_THREADS = 4
# Bytes a hop to a thread: it costs about 0.1 ms, and hashing this much several times as long.
_READ, _WRITE = 2 * 1024 * 1024, 4 * 1024 * 1024
_LEFTOVER_SECONDS = 3600.0


class FileBlobs:
    """Blobs under the folder `root`, which is made at `start()`."""

    def __init__(self, root: Path, *, clock: Clock | None = None) -> None:
        self._root = root
        self._clock = clock or SystemClock()
        self._threads: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        """Make the folder, and remove what uploads that died more than an hour ago left in `tmp/`."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, "omega-blob-files")
            await self._run(self._prepare)

    async def close(self) -> None:
        """Finish what is under way and close."""
        if self._threads is not None:
            threads, self._threads = self._threads, None
            await asyncio.to_thread(threads.shutdown)

    async def ping(self) -> None:
        """Return when the folder can be read. Raises Unavailable."""
        await self._run(self._tmp.stat)

    async def put(
        self,
        id: str,
        bucket: str,
        chunks: AsyncIterator[bytes],
        *,
        sha256: str | None = None,
        length: int | None = None,
    ) -> StoredBlob:
        """Store a blob. Raises ChecksumMismatch, IncompleteUpload, DuplicateKey; nothing stays behind then."""
        target = self._place(id)
        if await self._run(target.exists):
            raise blob_exists(id)
        part = await self._run(partial(PartFile, self._tmp / f"{id}.{os.urandom(4).hex()}"))
        try:
            digest = Digest()
            async with aclosing(pieces(chunks, length, _WRITE)) as stream:
                await self._fill(part, digest, stream)
            blob = checked(StoredBlob(id, bucket, digest.sha256, digest.length, self._clock.now()), sha256, length)
            await self._run(partial(part.publish, target, described(blob)))
        finally:
            await asyncio.shield(self._run(part.discard))
        return blob

    async def stat(self, id: str) -> StoredBlob:
        """Describe a blob. Raises BlobNotFound, or BlobCorrupted when its footer is damaged."""
        return await self._run(partial(_stat, self._place(id), id))

    async def get(self, id: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Stream the bytes from `start` up to and without `stop`; a whole blob is checked before its last chunk."""
        fd, blob = await self._run(partial(_open, self._place(id), id))
        try:
            wanted = span(blob, start, stop)
            digest = Digest() if wanted.whole else None
            async with aclosing(self._pieces_of(fd, wanted, digest)) as stream:
                async for piece in stream if digest is None else held_back(stream, digest, blob):
                    yield piece
        finally:
            os.close(fd)

    async def delete(self, id: str) -> bool:
        """Delete a blob; False when there is none."""
        return await self._run(partial(_remove, self._place(id)))

    async def list(self, *, older_than: datetime | None = None) -> AsyncIterator[StoredBlob]:
        """Give all blobs (created before `older_than`), in order of id; a file with a damaged footer is left out."""
        for folder in await self._run(partial(_names, self._root, 2)):
            for blob in await self._run(partial(_blobs, self._root / folder)):
                if older_than is None or blob.created < older_than:
                    yield blob

    @property
    def _tmp(self) -> Path:
        return self._root / "tmp"

    def _place(self, id: str) -> Path:
        check_id(id)
        return self._root / id[:2] / id[2:]

    async def _run(self, work: Callable[[], T]) -> T:
        if self._threads is None:
            raise Unavailable("The blob store is not open.", action="Call start() first.")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except OSError as error:
            raise Unavailable(
                f"The blob folder {self._root} failed: {error}.", action="Check its rights and the space on its disk."
            ) from error

    async def _fill(self, part: PartFile, digest: Digest, stream: AsyncIterator[Sequence[bytes]]) -> None:
        """Write and hash at once, in two threads, while the next piece arrives."""
        under_way: asyncio.Future[tuple[None, None]] | None = None
        try:
            async for piece in stream:
                if under_way is not None:
                    await under_way
                jobs = (self._run(partial(part.write, piece)), self._run(partial(digest.update, *piece)))
                under_way = asyncio.ensure_future(asyncio.gather(*jobs))
        finally:
            if under_way is not None:
                await asyncio.wait([under_way])
        if under_way is not None:
            under_way.result()

    def _pieces_of(self, fd: int, wanted: Span, digest: Digest | None) -> AsyncGenerator[bytes, None]:
        """Read a piece ahead, and hash what will be checked: one hop to a thread a piece, one after the other."""
        ends = ((at, min(at + _READ, wanted.stop)) for at in range(wanted.start, wanted.stop, _READ))
        return one_ahead(partial(self._run, partial(_read, fd, at, end, digest)) for at, end in ends)

    def _prepare(self) -> None:
        self._tmp.mkdir(parents=True, exist_ok=True)
        for left in self._tmp.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > _LEFTOVER_SECONDS:
                    left.unlink()


def _open(place: Path, id: str) -> tuple[int, StoredBlob]:
    try:
        fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise no_blob(id) from None
    try:
        return fd, read_footer(fd, id)
    except BaseException:
        os.close(fd)
        raise


def _stat(place: Path, id: str) -> StoredBlob:
    fd, blob = _open(place, id)
    os.close(fd)
    return blob


def _read(fd: int, start: int, stop: int, digest: Digest | None) -> bytes:
    parts, at = [], start
    while at < stop and (read := os.pread(fd, stop - at, at)):
        parts.append(read)
        at += len(read)
    if digest is not None:
        digest.update(*parts)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _remove(place: Path) -> bool:
    try:
        place.unlink()
    except FileNotFoundError:
        return False
    sync_folder(place.parent)
    return True


def _names(folder: Path, length: int) -> list[str]:
    try:
        return sorted(each.name for each in folder.iterdir() if len(each.name) == length)
    except FileNotFoundError:
        return []


def _blobs(folder: Path) -> list[StoredBlob]:
    found = []
    for name in _names(folder, 30):
        with suppress(BlobNotFound, BlobCorrupted):
            found.append(_stat(folder / name, folder.name + name))
    return found
