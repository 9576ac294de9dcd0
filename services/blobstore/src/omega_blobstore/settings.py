"""Settings of the blobstore service."""

from __future__ import annotations

from pydantic import Field

from omegakit.settings import BlobsSettings, DocsSettings, Group, ServiceSettings


class BlobstoreOptions(Group):
    """What blobstore alone needs."""

    max_blob_bytes: int = Field(
        default=64 * 1024**3, ge=1, description="Largest blob, in bytes. A larger upload is refused (413)."
    )
    max_row_group_bytes: int = Field(
        default=1024**3,
        ge=1,
        description="Largest row group of a part, in bytes before compression: a filter decodes one at a time.",
    )
    scans: int = Field(
        default=2, ge=1, description="How many filtered reads decode rows at the same time; the others take turns."
    )
    grace_seconds: float = Field(
        default=3600.0,
        ge=0,
        description="Age in seconds from which a blob or frame that no revision refers to is swept. "
        "A put must commit within this time of its first upload.",
    )
    sweep_interval_seconds: float = Field(
        default=3600.0, ge=0, description="Time between sweeps, in seconds. 0: only when asked to."
    )
    sweep_batch: int = Field(
        default=200_000,
        ge=1,
        description="Blobs that one pass over the revisions judges; bounds the memory of a sweep: 100 bytes each.",
    )


class BlobstoreSettings(ServiceSettings):
    """Everything blobstore reads from the environment."""

    docs: DocsSettings = DocsSettings()
    blobs: BlobsSettings = BlobsSettings()
    blobstore: BlobstoreOptions = BlobstoreOptions()
