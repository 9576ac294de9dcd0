"""The one place that chooses a BlobStore, by URL. An adapter's libraries load only when it is chosen."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from omegakit.blobs.port import BlobStore
from omegakit.clock import Clock
from omegaproto.errors import BadRequest


def open_blobs(url: str, *, clock: Clock | None = None) -> BlobStore:
    """Give the blob store at `mongodb://…/database` (GridFS; `gridfs+mongodb://…` says so) or `file:///path`.

    It connects at `start()`. `clock` tells when blobs were created (the machine's by default).
    Raises BadRequest for any other URL.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path.strip("/"):
        from omegakit.blobs.files import FileBlobs

        return FileBlobs(Path(unquote(parts.path)), clock=clock)
    if parts.scheme.removeprefix("gridfs+") in ("mongodb", "mongodb+srv"):
        from omegakit.blobs.gridfs import GridFsBlobs

        return GridFsBlobs(url.removeprefix("gridfs+"), clock=clock)
    raise BadRequest(
        f"No blob store is known for {parts.scheme or 'no scheme'}://.",
        action="Use mongodb://host:27017/database?replicaSet=rs0, or file:///path/to/folder.",
    )
