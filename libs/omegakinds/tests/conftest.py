"""Blobs in memory, and a look at what a kind stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import pytest

from omegaproto.objects import BlobRef


class MemoryBlobs:
    """Keeps blobs by id; counts puts."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def put(self, chunks: Iterable[bytes] | bytes, role: str = "data") -> BlobRef:
        data = chunks if isinstance(chunks, bytes) else b"".join(chunks)
        ref = BlobRef(id=f"b{len(self.blobs)}", sha256=hashlib.sha256(data).hexdigest(), length=len(data), role=role)
        self.blobs[ref.id] = data
        return ref

    def read(self, ref: BlobRef) -> bytes:
        return self.blobs[ref.id]

    def open(self, ref: BlobRef) -> Iterator[bytes]:
        data = self.blobs[ref.id]
        yield from (data[start : start + 100_000] for start in range(0, len(data), 100_000))


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture(scope="session")
def new_blobs() -> type[MemoryBlobs]:
    return MemoryBlobs
