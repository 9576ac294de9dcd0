"""Pure rules that every blob store shares: ids, ranges, announced lengths and checksums, and the errors that say so."""

from __future__ import annotations

import re
from dataclasses import dataclass

from omegakit.blobs.port import StoredBlob
from omegaproto.errors import (
    BadName,
    BadRequest,
    BlobCorrupted,
    BlobNotFound,
    ChecksumMismatch,
    DuplicateKey,
    IncompleteUpload,
)

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Span:
    """A run of bytes of a blob from `start` up to and without `stop`, and whether that is all of it."""

    start: int
    stop: int
    whole: bool


def check_id(id: str) -> str:
    """Give the id. Raises BadName unless it is 32 hexadecimal digits, so that no id can lead out of its folder."""
    if not _ID.fullmatch(id):
        raise BadName(f"{id!r} is no blob id.", action="Use 32 hexadecimal digits, such as uuid4().hex.")
    return id


def span(blob: StoredBlob, start: int, stop: int | None) -> Span:
    """Give the part of the blob that was asked for, cut at its end. Raises BadRequest for a negative bound."""
    if start < 0 or (stop is not None and stop < 0):
        raise BadRequest(f"The range {start}–{stop} starts before the blob.", action="Count bytes from 0.")
    end = blob.length if stop is None else min(stop, blob.length)
    return Span(start, max(start, end), whole=start == 0 and end == blob.length)


def checked(blob: StoredBlob, sha256: str | None, length: int | None) -> StoredBlob:
    """Give the blob. Raises IncompleteUpload or ChecksumMismatch when it is not what was announced."""
    if length is not None and blob.length != length:
        raise wrong_length(blob.length, length)
    if sha256 is not None and blob.sha256 != sha256.lower():
        raise ChecksumMismatch(
            f"The bytes have the sha256 {blob.sha256}, announced was {sha256}; nothing was stored.",
            action="Upload again.",
        )
    return blob


def wrong_length(received: int, announced: int) -> IncompleteUpload:
    """Give the error for an upload that is shorter or longer than announced."""
    relation = "more than" if received > announced else "only"
    shown = announced if received > announced else received
    return IncompleteUpload(
        f"The upload had {relation} {shown:,} bytes, announced were {announced:,}; nothing was stored.",
        action="Upload again.",
        announced=announced,
    )


def no_blob(id: str) -> BlobNotFound:
    """Give the error for an id that no blob has."""
    return BlobNotFound(f"There is no blob {id}.", action="Check the id; it may have been deleted.")


def blob_exists(id: str) -> DuplicateKey:
    """Give the error for an id that is taken."""
    return DuplicateKey(f"The blob {id} exists.", action="Make a new id for new bytes.", key=["id"])


def corrupted(id: str, why: str) -> BlobCorrupted:
    """Give the error for stored bytes that are not those that were put."""
    return BlobCorrupted(f"The blob {id} is damaged: {why}.", action="Put the object again, or restore a backup.")
