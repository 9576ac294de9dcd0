"""Blobs over HTTP as the kinds see them: a sink to put bytes into, a source to read them from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from omegamesh.http import BLOCK, MeshClient
from omegamesh.progress import Advance, transfer
from omegaproto.objects import BlobRef

_ONE_BLOCK = 32 * 1024 * 1024


class HttpBlobs:
    """Both directions: `put` streams up, `open` and `read` stream down and check the sha256."""

    puts_at_once = 2
    """How many threads may put at a time to good effect."""

    def __init__(self, client: MeshClient) -> None:
        self._client = client

    def put(self, chunks: Iterable[bytes] | bytes, role: str = "data") -> BlobRef:
        """Store bytes as a blob. Raises ChecksumMismatch when they changed on the way."""
        total = len(chunks) if isinstance(chunks, bytes) else None
        with transfer("sending", total) as advance:
            if isinstance(chunks, bytes):
                headers = {"X-Content-SHA256": hashlib.sha256(chunks).hexdigest()}
                answer = self._client.upload("/api/v1/blobs", chunks, headers)
                advance(len(chunks))
            else:
                answer = self._client.upload("/api/v1/blobs", _counted(chunks, advance))
        return BlobRef.model_validate(answer | {"role": role})

    def open(self, ref: BlobRef, block: int = BLOCK) -> Iterator[bytes]:
        """Stream a blob in blocks of so many bytes. Raises BlobNotFound, BlobCorrupted."""
        with transfer("receiving", ref.length) as advance:
            yield from _counted(self._client.blob(ref.id, ref.sha256, block), advance)

    def read(self, ref: BlobRef) -> bytes:
        """Give a whole blob. One of moderate size comes in one block: joining several would copy every byte again."""
        blocks = list(self.open(ref, max(1, min(ref.length, _ONE_BLOCK))))
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)


def _counted(chunks: Iterable[bytes], advance: Advance) -> Iterator[bytes]:
    for chunk in chunks:
        advance(len(chunk))
        yield chunk
