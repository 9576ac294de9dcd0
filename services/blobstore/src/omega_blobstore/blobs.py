"""Blobs as callers see them: bound to a bucket, limited in size, checked on the way out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from omega_blobstore.metrics import BlobstoreMetrics
from omegakit.blobs import BlobStore, StoredBlob
from omegaproto.errors import BadName, BlobCorrupted, BlobNotFound, TooLarge
from omegaproto.ids import new_id
from omegaproto.objects import BlobRef

_SUSPECTS = 1000


def ref_of(blob: StoredBlob) -> BlobRef:
    """Give the reference by which revisions name a stored blob."""
    return BlobRef(id=blob.id, sha256=blob.sha256, length=blob.length)


class BlobService:
    """Stores, describes and streams the blobs of buckets."""

    def __init__(self, blobs: BlobStore, metrics: BlobstoreMetrics, max_bytes: int) -> None:
        self._blobs = blobs
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._suspects: OrderedDict[str, None] = OrderedDict()

    async def put(
        self, bucket: str, body: AsyncIterator[bytes], *, sha256: str | None = None, length: int | None = None
    ) -> BlobRef:
        """Store a new blob out of `body`, in constant memory; nothing stays behind when this raises.

        Raises:
            TooLarge: it is over the limit; at once when `length` says so.
            ChecksumMismatch, IncompleteUpload: it is not what was announced.
        """
        if length is not None and length > self._max_bytes:
            raise self._too_large()
        stored = await self._blobs.put(new_id(), bucket, self._limited(body), sha256=sha256, length=length)
        self._metrics.bytes_in.inc(stored.length)
        return ref_of(stored)

    async def stat(self, bucket: str, id: str) -> StoredBlob:
        """Describe a blob of the bucket. Raises BlobNotFound, for a blob of another bucket too."""
        try:
            blob = await self._blobs.stat(id)
        except (BlobNotFound, BadName):
            raise no_blob(id) from None
        except BlobCorrupted:
            self._metrics.corrupted.inc()
            raise
        if blob.bucket != bucket:
            raise no_blob(id)
        return blob

    async def read(self, blob: StoredBlob, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Stream bytes `start` up to `stop`; exactly so many, or BlobCorrupted before the last of them.

        A blob that proved damaged in the middle of a transfer is checked whole before it is sent again: who asks for
        the rest of a broken transfer then hears why it broke.
        """
        left, held = stop - start, b""
        try:
            if blob.id in self._suspects:
                await self._check(blob)
            async with aclosing(_generator(self._blobs.get(blob.id, start, stop))) as chunks:
                async for chunk in chunks:
                    if held:
                        yield held
                    held, left = chunk, left - len(chunk)
            _check_all_read(blob.id, left)
        except BlobCorrupted:
            self._suspect(blob.id)
            raise
        if held:
            yield held

    async def _check(self, blob: StoredBlob) -> None:
        async with aclosing(_generator(self._blobs.get(blob.id))) as chunks:
            async for _ in chunks:
                pass
        self._suspects.pop(blob.id, None)

    def _suspect(self, id: str) -> None:
        self._metrics.corrupted.inc()
        self._suspects[id] = None
        if len(self._suspects) > _SUSPECTS:
            self._suspects.popitem(last=False)

    async def _limited(self, body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        total = 0
        async for chunk in body:
            total += len(chunk)
            if total > self._max_bytes:
                raise self._too_large()
            yield chunk

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"A blob holds at most {self._max_bytes:,} bytes; nothing was stored.",
            action="Store the data in smaller objects, or raise OMEGA_BLOBSTORE__MAX_BLOB_BYTES.",
            limit=self._max_bytes,
        )


def no_blob(id: str) -> BlobNotFound:
    """Give the error for a blob that the caller cannot see, whether it exists or not."""
    return BlobNotFound(f"There is no blob {id[:64]!r} in this bucket.", action="Check the id; it may be deleted.")


def _check_all_read(id: str, left: int) -> None:
    if left:
        raise BlobCorrupted(f"The blob {id} ends {left:,} bytes early.", action="Put the object again, or restore it.")


async def _generator(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Give an iterator that can be closed early; what it iterates over is closed with it."""
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
