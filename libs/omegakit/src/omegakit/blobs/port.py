"""What a blob store offers: streamed puts that are visible whole or not at all, ranged gets, deletes, listings.

Memory is constant: neither side ever holds more than a few chunks (256 KiB each).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A stored blob: its id, bucket, sha256 (hexadecimal), length in bytes and time of creation (UTC)."""

    id: str
    bucket: str
    sha256: str
    length: int
    created: datetime


class BlobStore(Protocol):
    """Immutable bytes by id. Ids are 32 hexadecimal digits made by the caller; names never become paths."""

    async def start(self) -> None:
        """Connect, and make what is missing."""
        ...

    async def close(self) -> None:
        """Finish what is under way and close."""
        ...

    async def ping(self) -> None:
        """Return when the store answers. Raises Unavailable."""
        ...

    async def put(
        self,
        id: str,
        bucket: str,
        chunks: AsyncIterator[bytes],
        *,
        sha256: str | None = None,
        length: int | None = None,
    ) -> StoredBlob:
        """Store a blob; it is durable and visible when this returns, and leaves nothing behind when it raises.

        Raises:
            ChecksumMismatch: the bytes are not those of the announced `sha256`.
            IncompleteUpload: there were fewer or more bytes than the announced `length`.
            DuplicateKey: the id exists.
        """
        ...

    async def stat(self, id: str) -> StoredBlob:
        """Describe a blob. Raises BlobNotFound."""
        ...

    def get(self, id: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Stream the bytes from `start` up to and without `stop`.

        A get of the whole blob checks its sha256 on the way and raises BlobCorrupted before its last chunk.
        Raises BlobNotFound.
        """
        ...

    async def delete(self, id: str) -> bool:
        """Delete a blob; False when there is none."""
        ...

    def list(self, *, older_than: datetime | None = None) -> AsyncIterator[StoredBlob]:
        """Give all blobs (created before `older_than`), in order of id."""
        ...
