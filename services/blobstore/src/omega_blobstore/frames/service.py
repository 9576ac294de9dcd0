"""Frames as callers see them: made out of parts, described, and read through filters.

Work with Arrow runs in threads, and its modules load there, when the first frame is touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from omega_blobstore.blobs import BlobService, ref_of
from omega_blobstore.concurrently import mapped
from omega_blobstore.frames.blobfile import RangeFile, blob_file, read_exactly
from omega_blobstore.manifests import ManifestRepository
from omega_blobstore.metrics import BlobstoreMetrics
from omega_blobstore.settings import BlobstoreOptions
from omegakit.blobs import BlobStore, StoredBlob
from omegakit.clock import Clock
from omegaproto.errors import BadFrame, BlobCorrupted
from omegaproto.frames import FrameInfo, FrameManifest, FramePart, FrameQuery
from omegaproto.ids import new_id

if TYPE_CHECKING:
    from omega_blobstore.frames.footers import Footer
    from omega_blobstore.frames.plan import Plan

T = TypeVar("T")
_FOOTERS_AT_ONCE = 8
_TAIL_BYTES = 64 * 1024
_MAX_FOOTER_BYTES = 64 * 1024 * 1024
_FOOTER_END = 8


class FrameService:
    """Makes and reads frames."""

    def __init__(
        self,
        store: BlobStore,
        blobs: BlobService,
        manifests: ManifestRepository,
        metrics: BlobstoreMetrics,
        clock: Clock,
        options: BlobstoreOptions,
    ) -> None:
        self._store, self._blobs, self._manifests = store, blobs, manifests
        self._metrics, self._clock, self._options = metrics, clock, options
        self._threads = ThreadPoolExecutor(options.scans, "omega-frames")

    def close(self) -> None:
        """Take no more work."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def get(self, bucket: str, frame_id: str) -> FrameManifest:
        """Give the manifest of a frame. Raises BlobNotFound."""
        return await self._manifests.get(bucket, frame_id)

    async def create(self, bucket: str, parts: tuple[str, ...], base: str | None) -> FrameInfo:
        """Make a frame of the base's parts, if there is one, and of these blobs.

        Raises:
            BadFrame: there is no part, one is not Parquet, or columns differ.
            BlobNotFound: a blob or the base is not in the bucket.
        """
        before = await self._manifests.get(bucket, base) if base is not None else None
        footers = await self._footers(bucket, parts)
        manifest = await self._run(lambda: _assemble(new_id(), bucket, before, footers))
        await self._manifests.add(manifest, self._clock.now())
        return manifest.info

    async def rows(self, bucket: str, frame_id: str, query: FrameQuery) -> AsyncGenerator[bytes, None]:
        """Give the rows that a query asks for, as an Arrow IPC stream.

        Raises (before the first byte): UnknownColumn, BadFilter, BlobNotFound.
        """
        manifest = await self._manifests.get(bucket, frame_id)
        plan = await self._run(lambda: _plan(manifest, query))
        self._metrics.parts_skipped.inc(plan.skipped)
        loop = asyncio.get_running_loop()

        def open_part(part: FramePart) -> RangeFile:
            loop.call_soon_threadsafe(self._metrics.parts_read.inc)
            return blob_file(self._store, part.blob.id, part.blob.length, loop)

        return self._ahead(lambda: _scan(plan, open_part))

    async def _footers(self, bucket: str, parts: tuple[str, ...]) -> list[tuple[StoredBlob, Footer]]:
        most = self._options.max_row_group_bytes

        async def one(id: str) -> tuple[StoredBlob, Footer]:
            blob = await self._blobs.stat(bucket, id)
            tail = await self._tail(blob)
            return blob, await self._run(lambda: _read_footer(blob, tail, most))

        return await mapped(one, parts, at_once=_FOOTERS_AT_ONCE)

    async def _tail(self, blob: StoredBlob) -> bytes:
        """Give the end of a blob, with the whole Parquet footer in it."""
        tail = await read_exactly(self._store, blob.id, max(0, blob.length - _TAIL_BYTES), blob.length)
        needed = int.from_bytes(tail[-_FOOTER_END:-4], "little") + _FOOTER_END
        if tail[-4:] != b"PAR1" or needed > min(blob.length, _MAX_FOOTER_BYTES):
            raise BadFrame(f"The blob {blob.id} is not Parquet.", action="Upload the parts of a frame as Parquet.")
        if needed > len(tail):
            tail = await read_exactly(self._store, blob.id, blob.length - needed, blob.length)
        return tail

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _ahead(self, begin: Callable[[], Iterator[bytes]]) -> AsyncGenerator[bytes, None]:
        """Give what a thread makes; while the caller has one item, the next is made. Never leaves a thread working."""
        items = await self._run(begin)
        pending = asyncio.ensure_future(self._run(lambda: next(items, None)))
        try:
            while (item := await pending) is not None:
                pending = asyncio.ensure_future(self._run(lambda: next(items, None)))
                yield item
        except BlobCorrupted:
            self._metrics.corrupted.inc()
            raise
        finally:
            await asyncio.wait([pending])
            _ = pending.cancelled() or pending.exception()


def _read_footer(blob: StoredBlob, tail: bytes, max_row_group_bytes: int) -> Footer:
    from omega_blobstore.frames.footers import read_footer

    return read_footer(blob.id, blob.length, tail, max_row_group_bytes)


def _assemble(
    frame_id: str, bucket: str, base: FrameManifest | None, footers: list[tuple[StoredBlob, Footer]]
) -> FrameManifest:
    from omega_blobstore.frames.footers import assemble

    return assemble(frame_id, bucket, base, [(ref_of(blob), footer) for blob, footer in footers])


def _plan(manifest: FrameManifest, query: FrameQuery) -> Plan:
    from omega_blobstore.frames.plan import plan_rows

    return plan_rows(manifest, query)


def _scan(plan: Plan, open_part: Callable[[FramePart], RangeFile]) -> Iterator[bytes]:
    from omega_blobstore.frames.scan import ipc_stream

    return ipc_stream(plan, open_part)
