"""Blobs and frames as blobstore answers about them on the bus. The bytes themselves travel over HTTP."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from omegaproto.frames import FrameInfo, FrameManifest
from omegaproto.messages import Message, Request
from omegaproto.objects import BlobRef


class BlobInfo(Message):
    """What blobstore knows about a blob."""

    ref: BlobRef
    bucket: str
    created: datetime


class BlobInfos(Message):
    """Descriptions in the order asked for."""

    items: tuple[BlobInfo, ...]


class StatBlobs(Request[BlobInfos], subject="blobstore.stat_blobs", operation="blob.read"):
    """Describe blobs of one bucket. Raises BlobNotFound for the first that is not there."""

    bucket: str
    blob_ids: tuple[str, ...] = Field(max_length=10_000)


class CreateFrame(Request[FrameInfo], subject="blobstore.create_frame", operation="frame.write"):
    """Make a frame out of uploaded Parquet blobs, after the parts of the frame `base` when one is named.

    Blobstore reads schema and statistics from the Parquet footers itself. Raises BadFrame when a blob is not Parquet or
    the parts' schemas differ, BlobNotFound. A frame is immutable and invisible until a revision refers to it.
    """

    bucket: str
    parts: tuple[str, ...] = Field(max_length=10_000)
    """Blob ids, in row order."""
    base: str | None = None


class GetFrame(Request[FrameManifest], subject="blobstore.get_frame", operation="frame.read"):
    """Give the manifest of a frame: its schema, its parts and their statistics. Raises BlobNotFound."""

    bucket: str
    frame_id: str


class Swept(Message):
    """What a sweep removed."""

    blobs: int
    frames: int


class SweepBlobs(Request[Swept], subject="blobstore.sweep", operation="mesh.internal"):
    """Remove blobs and frames older than the grace period that no revision refers to."""

    bucket: str = "*"
    grace_seconds: float | None = None
