"""The kinds ``pandas.dfrows`` (DataFrame) and ``pandas.serows`` (Series).

A frame is dumped as Parquet parts. All work with pandas and Arrow is in :mod:`omegakinds.tables` and
:mod:`omegakinds.parquet`, which load when a frame is met.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from omegakinds.ahead import mapped_ahead
from omegakinds.base import BlobSink, BlobSource, Dumped, EncodedPart, Kind, Stored
from omegaproto.errors import BadInput
from omegaproto.objects import BlobRef, Store

if TYPE_CHECKING:
    import pyarrow as pa

PART = "part"
"""The role of a blob that holds rows."""
META = "meta"
"""The role of a blob that holds the JSON beside the rows, when that is too large for a message."""
_MAX_META_BYTES = 32 * 1024


class _Frames:
    name: str
    _type: ClassVar[str]
    stores = frozenset({Store.datasets})

    def supports(self, obj: object, name: str, **options: Any) -> bool:
        """Say whether `obj` is such a frame (or of a subclass, which comes back as the pandas type)."""
        pandas = sys.modules.get("pandas")
        return pandas is not None and isinstance(obj, getattr(pandas, self._type))

    def encode(
        self, obj: Any, *, part_rows: int | None = None, threads: int | None = None
    ) -> tuple[dict[str, Any], Iterator[EncodedPart]]:
        """Give the frame's description, and its parts one by one: at least one, a few encoded ahead in threads.

        `dump` does this with a sink; this is for callers who send the parts themselves. Raises BadFrame at once.
        """
        from omegakinds.parquet import encode_parts

        plan = self._plan(obj)
        return plan.meta, encode_parts(plan, part_rows=part_rows, threads=threads)

    def dump(
        self, obj: Any, sink: BlobSink, *, part_rows: int | None = None, threads: int | None = None, **_: Any
    ) -> Dumped:
        """Write the parts while the next are encoded, as many at a time as the sink's `puts_at_once` says, else one.

        Raises BadFrame before anything is written.
        """
        meta, encoded = self.encode(obj, part_rows=part_rows, threads=threads)
        kind_meta, blobs = _place_meta(meta, sink)
        parts = tuple(_sent(encoded, sink))
        return Dumped(self.name, kind_meta, blobs, parts)

    def load(self, stored: Stored, source: BlobSource, **options: Any) -> Any:
        """Give the frame out of its part blobs (a frame of the server: see `from_table`)."""
        refs = [ref for ref in (*stored.blobs, *(getattr(stored, "parts", None) or ())) if ref.role != META]
        return self.from_table(self.join_parts(self.decode_part(source.read(ref)) for ref in refs), stored, source)

    def decode_part(self, part: bytes, *, threads: bool = True) -> pa.Table:
        """Give the rows of one Parquet part; without `threads` in this one alone. Raises BlobCorrupted."""
        from omegakinds.parquet import decode_part

        return decode_part(part, threads=threads)

    def join_parts(self, decoded: Iterable[pa.Table]) -> pa.Table:
        """Give the rows of decoded parts, in their order. Raises BadFrame."""
        from omegakinds.parquet import join_parts

        return join_parts(decoded)

    def from_table(self, table: pa.Table, stored: Stored, source: BlobSource | None = None) -> Any:
        """Give the frame out of its rows, or out of those that a filter or projection left.

        `source` is needed only when the frame's description is a blob of its own (very wide frames).
        """
        from omegakinds.tables import restore

        rows = (stored.kind_meta.get("frame") or {}).get("rows")
        return restore(table, _find_meta(stored, source), rows)

    def index_columns(self, stored: Stored, source: BlobSource | None = None) -> list[str]:
        """Name the stored columns that hold the index; a projection that keeps them keeps the index."""
        columns: list[str] = _find_meta(stored, source)["index"].get("columns", [])
        return columns

    def _plan(self, obj: Any) -> Any:
        raise NotImplementedError


class DataFrames(_Frames):
    """pandas DataFrames."""

    name = "pandas.dfrows"
    _type = "DataFrame"

    def _plan(self, obj: Any) -> Any:
        from omegakinds.tables import plan_frame

        return plan_frame(obj)


class SeriesRows(_Frames):
    """pandas Series: frames of one column."""

    name = "pandas.serows"
    _type = "Series"

    def _plan(self, obj: Any) -> Any:
        from omegakinds.tables import plan_series

        return plan_series(obj)


def _sent(encoded: Iterator[EncodedPart], sink: BlobSink) -> Iterator[BlobRef]:
    """Send parts: while the store makes one durable the next one travels. Gives them in order."""
    at_once: int = getattr(sink, "puts_at_once", 1)
    if at_once == 1:
        yield from (sink.put(part.data, PART) for part in encoded)
        return
    yield from mapped_ahead(lambda part: sink.put(part.data, PART), encoded, threads=at_once, most=at_once)


def _place_meta(meta: dict[str, Any], sink: BlobSink) -> tuple[dict[str, Any], tuple[BlobRef, ...]]:
    text = json.dumps(meta, separators=(",", ":")).encode()
    if len(text) <= _MAX_META_BYTES:
        return {"pandas": meta}, ()
    return {"pandas": None}, (sink.put(text, META),)


def _find_meta(stored: Stored, source: BlobSource | None) -> dict[str, Any]:
    meta: dict[str, Any] | None = stored.kind_meta.get("pandas")
    if meta is not None:
        return meta
    ref = next((ref for ref in stored.blobs if ref.role == META), None)
    if ref is None or source is None:
        raise BadInput("The frame's description is missing.", action="Pass the revision's blobs and a source.")
    loaded: dict[str, Any] = json.loads(source.read(ref))
    return loaded


def kinds() -> list[Kind]:
    """Give the kinds of this module, for the entry point."""
    return [DataFrames(), SeriesRows()]
