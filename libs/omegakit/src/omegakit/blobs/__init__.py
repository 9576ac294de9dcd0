"""The BlobStore port: immutable runs of bytes by id. Its adapters are `files` and `gridfs`."""

from omegakit.blobs.connect import open_blobs
from omegakit.blobs.port import BlobStore, StoredBlob

__all__ = ["BlobStore", "StoredBlob", "open_blobs"]
