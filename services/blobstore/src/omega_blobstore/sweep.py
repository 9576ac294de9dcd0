"""Mark and sweep: blobs and frames that no revision and no task refers to are removed once they are old enough.

Candidates are listed first, then everything that revisions and frames refer to is crossed off: what is committed while
a sweep runs is either crossed off or too young to be a candidate. When a page of references cannot be read, nothing of
that pass is removed. Memory is bounded by `sweep_batch` candidates (about 100 bytes each), however many there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

from omega_blobstore.manifests import ManifestRepository
from omega_blobstore.metrics import BlobstoreMetrics
from omega_blobstore.settings import BlobstoreOptions
from omegakit.blobs import BlobStore
from omegakit.service import Kit
from omegaproto.blobs import Swept
from omegaproto.errors import OmegaError
from omegaproto.objects import BlobRefPage, ListBlobRefs
from omegaproto.tasks import ListTaskBlobRefs

T = TypeVar("T")


class Sweeper:
    """Sweeps at an interval, and when asked."""

    def __init__(
        self,
        kit: Kit,
        blobs: BlobStore,
        manifests: ManifestRepository,
        metrics: BlobstoreMetrics,
        options: BlobstoreOptions,
    ) -> None:
        self._kit, self._blobs, self._manifests = kit, blobs, manifests
        self._metrics, self._options = metrics, options
        self._stopping = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Sweep at the interval from now on."""
        if self._options.sweep_interval_seconds:
            self._timer = asyncio.create_task(self._sweep_for_ever())

    async def stop(self) -> None:
        """Sweep no more; a sweep under way is given up between two deletions."""
        self._stopping.set()
        if self._timer is not None:
            await self._timer

    async def sweep(self, grace_seconds: float | None = None) -> Swept:
        """Remove what is older than the grace period and not referred to. Raises what kept it from knowing."""
        grace = self._options.grace_seconds if grace_seconds is None else grace_seconds
        before = self._kit.clock.now() - timedelta(seconds=grace)
        async with self._one_at_a_time:
            frames = await self._sweep_frames(before)
            blobs = await self._sweep_blobs(before)
        self._metrics.swept.labels("frames").inc(frames)
        self._metrics.swept.labels("blobs").inc(blobs)
        self._kit.log.info("swept", frames=frames, blobs=blobs, before=before.isoformat())
        return Swept(blobs=blobs, frames=frames)

    async def _sweep_for_ever(self) -> None:
        while not await self._stopped_within(self._options.sweep_interval_seconds):
            try:
                await self.sweep()
            except OmegaError as error:
                self._kit.log.warning("sweep given up", code=error.code, reason=error.message)

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._stopping.wait()
        except TimeoutError:
            return False

    async def _sweep_frames(self, before: datetime) -> int:
        removed = 0
        documents = self._manifests.older_than(before)
        async for batch in _batches(documents, self._options.sweep_batch):
            unmarked = {frame_id for _, frame_id, _ in batch}
            await self._cross_off(unmarked, lambda page: page.frame_ids)
            for document_id, frame_id, is_first in batch:
                if frame_id in unmarked and not self._stopping.is_set():
                    removed += await self._manifests.delete(document_id) and is_first
        return removed

    async def _sweep_blobs(self, before: datetime) -> int:
        """Remove blobs; runs after `_sweep_frames`, so every frame that is left keeps its parts."""
        removed = 0
        ids = (blob.id async for blob in self._blobs.list(older_than=before))
        async for batch in _batches(ids, self._options.sweep_batch):
            unmarked = set(batch)
            async for blob_ids in self._manifests.blob_ids():
                unmarked.difference_update(blob_ids)
            await self._cross_off(unmarked, lambda page: page.blob_ids)
            for id in sorted(unmarked):
                if not self._stopping.is_set():
                    removed += await self._blobs.delete(id)
        return removed

    async def _cross_off(self, candidates: set[str], referred: Callable[[BlobRefPage], Iterable[str]]) -> None:
        """Take everything that revisions and tasks refer to out of `candidates`: each owner answers for its own."""
        for question in (ListBlobRefs, ListTaskBlobRefs):
            after = None
            while candidates:
                page = await self._kit.bus.call(question(after=after), token=self._kit.tokens.own())
                candidates.difference_update(referred(page))
                if page.next is None:
                    break
                after = page.next


async def _batches(items: AsyncIterator[T], size: int) -> AsyncIterator[list[T]]:
    batch: list[T] = []
    async for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
