"""Statistics of columns, from Parquet's to `ColumnStats`: bounds that may be too wide, never too narrow. Pure.

Bounds are JSON values that compare as the column does (`omega_blobstore.frames.values`). What cannot be told is None.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from omega_blobstore.frames.values import Family, family_of, iso_text, unit_of, value_type
from omegaproto.frames import ColumnStats

MAX_TEXT = 64
"""Characters of a text bound that are kept."""
_LAST_CHAR = 0x10FFFF
_BEFORE_SURROGATES, _AFTER_SURROGATES = 0xD7FF, 0xE000
_UNITS = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a run of rows of one column holds: its least and greatest value (None: unknown), nulls (None: unknown)."""

    rows: int
    nulls: int | None = None
    low: Any = None
    high: Any = None

    @property
    def empty(self) -> bool:
        """Say whether there is no value, only nulls or nothing."""
        return self.nulls == self.rows


def group_bounds(group: pq.RowGroupMetaData, schema: pa.Schema) -> dict[str, Bounds]:
    """Give the bounds of each column of a row group."""
    found, leaf = {}, 0
    for field in schema:
        count = _leaves(field.type)
        flat = count == 1 and not pa.types.is_nested(field.type)
        found[field.name] = _bounds(group.column(leaf), field.type, group.num_rows) if flat else Bounds(group.num_rows)
        leaf += count
    return found


def merged(groups: Iterable[Bounds]) -> Bounds:
    """Give the bounds of several runs of rows together."""
    known = [bounds for bounds in groups if bounds.rows]
    rows = sum(bounds.rows for bounds in known)
    nulls = None if any(bounds.nulls is None for bounds in known) else sum(bounds.nulls or 0 for bounds in known)
    held = [bounds for bounds in known if not bounds.empty]
    lows, highs = [bounds.low for bounds in held], [bounds.high for bounds in held]
    return Bounds(
        rows,
        nulls,
        None if not lows or None in lows else min(lows),
        None if not highs or None in highs else max(highs),
    )


def stats_of(bounds: Bounds, arrow_type: pa.DataType) -> ColumnStats:
    """Give the bounds as they are stored.

    Parquet does not count NaN as null, pandas does: of a float column only "all null" and "unknown" are told.
    """
    nulls = bounds.nulls
    if pa.types.is_floating(value_type(arrow_type)) and nulls != bounds.rows:
        nulls = None
    return ColumnStats(
        min=_text_floor(bounds.low) if isinstance(bounds.low, str) else bounds.low,
        max=_text_ceiling(bounds.high) if isinstance(bounds.high, str) else bounds.high,
        nulls=nulls,
    )


def _bounds(column: pq.ColumnChunkMetaData, arrow_type: pa.DataType, rows: int) -> Bounds:
    stats = column.statistics if column.is_stats_set else None
    if stats is None:
        return Bounds(rows)
    nulls = stats.null_count if stats.has_null_count else None
    if not stats.has_min_max:
        return Bounds(rows, nulls)
    low, high = (_bound(raw, stats, value_type(arrow_type)) for raw in (stats.min_raw, stats.max_raw))
    return Bounds(rows, nulls, low, high)


def _bound(raw: Any, stats: pq.Statistics, arrow_type: pa.DataType) -> Any:
    """Give one bound as a JSON value that compares as the column does; None when that cannot be told."""
    match family_of(arrow_type):
        case Family.text if isinstance(raw, bytes):
            return _decoded(raw)
        case Family.real if isinstance(raw, float) and math.isfinite(raw):
            return raw
        case Family.whole if isinstance(raw, int):
            return _whole(raw, stats, arrow_type)
    return None


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:  # Cut in the middle of a character by its writer.
        return None


def _whole(raw: int, stats: pq.Statistics, arrow_type: pa.DataType) -> Any:
    if pa.types.is_boolean(arrow_type):
        return bool(raw)
    if pa.types.is_integer(arrow_type):
        bits = arrow_type.bit_width
        # Parquet keeps unsigned integers in signed ones.
        return raw % (1 << bits) if pa.types.is_unsigned_integer(arrow_type) else raw
    unit = unit_of(arrow_type)
    stored = "d" if pa.types.is_date(arrow_type) else _UNITS.get(_logical(stats).get("timeUnit", ""))
    return iso_text(raw, arrow_type) if stored == unit else None


def _logical(stats: pq.Statistics) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(stats.logical_type.to_json())
    return loaded


def _leaves(arrow_type: pa.DataType) -> int:
    """Count the columns in which Parquet keeps a type."""
    if isinstance(arrow_type, pa.BaseExtensionType):
        return _leaves(arrow_type.storage_type)
    if pa.types.is_nested(arrow_type):
        return sum(_leaves(arrow_type.field(at).type) for at in range(arrow_type.num_fields))
    return 1


def _text_floor(text: str) -> str:
    return text[:MAX_TEXT]


def _text_ceiling(text: str) -> str | None:
    """Give a text of at most MAX_TEXT characters that is not less than `text`; None when there is none."""
    if len(text) <= MAX_TEXT:
        return text
    head, last = text[: MAX_TEXT - 1], ord(text[MAX_TEXT - 1])
    if last == _LAST_CHAR:
        return None
    return head + chr(_AFTER_SURROGATES if last == _BEFORE_SURROGATES else last + 1)
