"""The end of a blob's file: what the blob is, as JSON, then its length, its checksum and a mark."""

from __future__ import annotations

import json
import os
import struct
import zlib
from dataclasses import asdict
from datetime import datetime

from omegakit.blobs.checks import corrupted
from omegakit.blobs.port import StoredBlob

_MARK = b"omegab01"
_TAIL = struct.Struct("<II8s")  # length and CRC-32 of the JSON, then the mark


def described(blob: StoredBlob) -> bytes:
    """Give the footer of a blob."""
    text = json.dumps(asdict(blob) | {"created": blob.created.isoformat()}).encode()
    return text + _TAIL.pack(len(text), zlib.crc32(text), _MARK)


def read_footer(fd: int, id: str) -> StoredBlob:
    """Give what a file's footer says. Raises BlobCorrupted when the file does not end as one of blob `id` does."""
    size = os.fstat(fd).st_size
    tail = os.pread(fd, _TAIL.size, max(0, size - _TAIL.size))
    if len(tail) < _TAIL.size:
        raise corrupted(id, "its file is too short")
    length, crc, mark = _TAIL.unpack(tail)
    start = size - _TAIL.size - length
    text = os.pread(fd, length, start) if mark == _MARK and start >= 0 else b""
    if not text or zlib.crc32(text) != crc:
        raise corrupted(id, "its footer cannot be read")
    fields = json.loads(text)
    blob = StoredBlob(**fields | {"created": datetime.fromisoformat(fields["created"])})
    if blob.id != id or blob.length != start:
        raise corrupted(id, "its footer describes another file")
    return blob
