"""The kind ``python.data``: plain Python values, stored as tagged JSON (see :mod:`omegakinds.plain`)."""

from __future__ import annotations

from typing import Any

from omegakinds import plain
from omegakinds.base import BlobSink, BlobSource, Dumped, Kind, Stored
from omegaproto.objects import Store


class PythonData:
    """Dicts, lists, tuples, sets and scalars, lossless."""

    name = "python.data"
    stores = frozenset({Store.datasets})
    collects = True
    """Each put adds one object to those that are there; a get gives the list of them."""

    def supports(self, obj: object, name: str, **options: Any) -> bool:
        """Say whether `obj` is a plain container or value; what it holds is looked at when it is stored."""
        return plain.is_plain(obj)

    def dump(self, obj: Any, sink: BlobSink, **options: Any) -> Dumped:
        """Write `obj` as one JSON blob. Raises UnknownKind naming the path of what is not plain data."""
        text = plain.dumps(obj)
        return Dumped(self.name, {"type": type(obj).__name__}, (sink.put(text.encode()),))

    def load(self, stored: Stored, source: BlobSource, **options: Any) -> Any:
        """Give the value back."""
        return plain.loads(source.read(stored.blobs[0]))


def kinds() -> list[Kind]:
    """Give the kinds of this module, for the entry point."""
    return [PythonData()]
