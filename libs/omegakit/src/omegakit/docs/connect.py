"""The one place that chooses a DocStore, by URL. An adapter's libraries load only when it is chosen."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from omegakit.clock import Clock
from omegakit.docs.port import DocStore
from omegaproto.errors import BadRequest


def open_docs(url: str, *, clock: Clock | None = None) -> DocStore:
    """Give the document store at `mongodb://…/database` or `sqlite:///path`; it connects at `start()`.

    `clock` tells when documents expire (the machine's by default). Raises BadRequest for any other URL.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and parts.path.strip("/"):
        from omegakit.docs.sqlite import SqliteDocs

        # As SQLAlchemy has it: three slashes and a relative path, or four and an absolute one.
        return SqliteDocs(Path(unquote(parts.path[1:])), clock=clock)
    if parts.scheme in ("mongodb", "mongodb+srv"):
        from omegakit.docs.mongodb import MongoDocs

        return MongoDocs(url, clock=clock)
    raise BadRequest(
        f"No document store is known for {parts.scheme or 'no scheme'}://.",
        action="Use mongodb://host:27017/database?replicaSet=rs0, or sqlite:///path/to/file.",
    )
