"""Putting an object: its blobs are checked, a frame is made of its parts, and then one commit makes it visible."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import to_json

from omega_gateway.access import Caller
from omegaproto.blobs import BlobInfo, CreateFrame, StatBlobs
from omegaproto.errors import BadFrame, BadRequest, BlobNotFound, ChecksumMismatch, ObjectNotFound, RevisionConflict
from omegaproto.frames import FrameInfo
from omegaproto.objects import BlobRef, CommitRevision, GetObject, Metadata, ObjectKey

_STAT_AT_ONCE = 500
"""Blobs described in one message: each takes up to 400 bytes of the answer."""


@dataclass(frozen=True, slots=True)
class Put:
    """One put: the object's key, the fields of its revision, and its blobs, or the parts of a frame."""

    key: dict[str, Any]
    fields: dict[str, Any]
    blobs: Sequence[BlobRef]
    parts: Sequence[str] | None
    append: bool

    def fingerprint(self, parts: Sequence[BlobRef]) -> str:
        """Give what tells this put of a frame from another: the same when its parts are uploaded again."""
        kept = {name: self.fields[name] for name in ("kind", "kind_meta", "attributes", "tags")}
        content = [(part.sha256, part.length) for part in parts]
        return hashlib.sha256(to_json([kept, content, self.append], bytes_mode="base64")).hexdigest()


async def put_object(caller: Caller, put: Put, *, attempts: int) -> Metadata:
    """Check what is put, make its frame, and commit it; an append is tried again when another was first.

    Raises:
        BlobNotFound, ChecksumMismatch: a blob is not there, or is not the one that the put means.
        BadFrame: the parts are no Parquet, differ from each other, or cannot follow what is there.
        RevisionConflict: the object is not at the revision that the caller expected, or too many append to it.
    """
    if put.parts is None:
        if put.append:
            raise BadRequest("Only frames are appended to.", action="Send `parts`, or leave `append` out.")
        await check_blobs(caller, put.blobs)
        return await caller.call(CommitRevision(**put.key, **put.fields))
    if put.blobs:
        raise BadRequest("A frame has parts; an object of another kind has blobs.", action="Send one of the two.")
    put = await _fingerprinted(caller, put, put.parts)
    if not put.append:
        return await _commit_frame(caller, put, None, put.fields["expected_revision"])
    return await _append(caller, put, attempts)


async def check_blobs(caller: Caller, blobs: Sequence[BlobRef]) -> None:
    """Return when every blob is in the caller's bucket, with the sha256 and length that the put names.

    Raises BlobNotFound, ChecksumMismatch.
    """
    found = await _stat(caller, [blob.id for blob in blobs])
    for blob, info in zip(blobs, found, strict=True):
        _check_blob(blob, info, caller.bucket)


async def _stat(caller: Caller, ids: Sequence[str]) -> list[BlobInfo]:
    found: list[BlobInfo] = []
    for start in range(0, len(ids), _STAT_AT_ONCE):
        some = tuple(ids[start : start + _STAT_AT_ONCE])
        found += (await caller.call(StatBlobs(bucket=caller.bucket, blob_ids=some))).items
    return found


async def _fingerprinted(caller: Caller, put: Put, parts: Sequence[str]) -> Put:
    if put.fields["fingerprint"] is not None:
        return put
    found = await _stat(caller, parts)
    return replace(put, fields=put.fields | {"fingerprint": put.fingerprint([info.ref for info in found])})


def _check_blob(blob: BlobRef, info: BlobInfo, bucket: str) -> None:
    if info.bucket != bucket:
        raise BlobNotFound(f"There is no blob {blob.id!r} in bucket {bucket!r}.", action="Upload it first.")
    if (blob.sha256, blob.length) != (info.ref.sha256, info.ref.length):
        raise ChecksumMismatch(
            f"Blob {blob.id!r} has sha256 {info.ref.sha256} and {info.ref.length} bytes, not what the put says.",
            action="Send the blob's description as its upload answered it.",
        )


async def _append(caller: Caller, put: Put, attempts: int) -> Metadata:
    for attempt in range(attempts):
        base, current = await _base_of(caller, put)
        try:
            return await _commit_frame(caller, put, base, current)
        except RevisionConflict:
            if put.fields["expected_revision"] is not None:
                raise
            await asyncio.sleep(random.uniform(0, 0.005 * 2 ** min(attempt, 6)))  # noqa: S311 - spreads the writers
    raise RevisionConflict(f"Too many writers append to {put.key['name']!r}.", action="Try again.")


async def _base_of(caller: Caller, put: Put) -> tuple[str | None, str]:
    """Give the frame to append to (None: there is none) and the revision that it belongs to."""
    expected = put.fields["expected_revision"]
    try:
        current = await caller.call(GetObject(**ObjectKey(**put.key).model_dump(exclude={"v"})))
    except ObjectNotFound:
        return None, "" if expected is None else expected
    frame = current.revision.kind_meta.get("frame")
    if frame is None or current.revision.kind != put.fields["kind"]:
        raise BadFrame(
            f"{put.key['name']!r} is {current.revision.kind}; {put.fields['kind']} cannot be appended to it.",
            action="Replace it (append=False), or use another name.",
        )
    return frame["frame_id"], current.revision.id if expected is None else expected


async def _commit_frame(caller: Caller, put: Put, base: str | None, expected: str | None) -> Metadata:
    info = await caller.call(CreateFrame(bucket=caller.bucket, parts=tuple(put.parts or ()), base=base))
    fields = put.fields | {
        "kind_meta": put.fields["kind_meta"] | {"frame": _described(info)},
        "expected_revision": expected,
    }
    return await caller.call(CommitRevision(**put.key, **fields))


def _described(info: FrameInfo) -> dict[str, Any]:
    return {
        "frame_id": info.frame_id,
        "rows": info.rows,
        "columns": list(info.columns),
        "dtypes": list(info.dtypes),
    }
