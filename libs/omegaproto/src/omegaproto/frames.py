"""Frames as lists of immutable columnar parts, and filters over them.

Filters are written ``column__operator=value`` and joined by *and*. A filter skips whole parts by their statistics here,
purely; blobstore then skips row groups and rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

from pydantic import Field, JsonValue

from omegaproto.errors import BadFilter, UnknownColumn
from omegaproto.messages import Message
from omegaproto.names import Columns
from omegaproto.objects import BlobRef

OPERATORS = (
    "eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "between",
    "regex", "contains", "startswith", "endswith", "isnull",
)  # fmt: skip

Scalar = bool | int | float | str | datetime | date | None

ROW_COLUMN = "__omega_row__"
"""The int64 column, last in an answer, with each row's position in the whole frame, counted from 0 over all parts.

It is there whenever rows were filtered or sliced. With it a default index gets its labels back: the label of a row is
``start + step * position``, where start and step are those of the frame's RangeIndex. Rows that were appended to a
frame with a default index therefore go on counting. No column of a frame may have this name.
"""


class ColumnStats(Message):
    """Bounds of a column's values in a part (None: unknown), and its count of nulls (None: unknown).

    Bounds may be too wide (long text is cut), never too narrow. They are numbers, text, or for dates and timestamps ISO
    text of one fixed width for each type (UTC, ending in ``Z``, where the column has a time zone), so that all of
    them compare as the column does.
    """

    min: JsonValue = None
    max: JsonValue = None
    nulls: int | None = None


class FramePart(Message):
    """One immutable run of rows: a Parquet blob."""

    blob: BlobRef
    rows: int
    stats: dict[str, ColumnStats] = Field(default_factory=dict)


class FrameInfo(Message):
    """A frame in short: its id, its columns in order with their Arrow types, and its count of rows and bytes."""

    frame_id: str
    columns: tuple[str, ...]
    dtypes: tuple[str, ...]
    rows: int
    bytes: int
    parts: int


class FrameManifest(Message):
    """A frame in full. `arrow_schema` is the serialised Arrow schema with its pandas metadata."""

    info: FrameInfo
    bucket: str
    arrow_schema: bytes
    parts: tuple[FramePart, ...]


class Predicate(Message):
    """One condition on one column."""

    column: str
    op: str
    value: JsonValue


class FrameQuery(Message):
    """Which rows and columns of a frame to read. `where` holds (key, value) pairs such as ``("sales__gte", 100)``.

    `start` and `stop` slice the rows that pass the filter: ``frame[mask].iloc[start:stop]``.
    """

    columns: Columns | None = None
    keep: tuple[str, ...] = Field(default=(), max_length=200)
    """Columns to give beside the chosen ones (those of the index); a slice in `columns` does not count them."""
    where: tuple[tuple[str, JsonValue], ...] = Field(default=(), max_length=200)
    start: int | None = Field(default=None, ge=0)
    stop: int | None = Field(default=None, ge=0)


def parse_predicates(where: Iterable[tuple[str, JsonValue]], columns: Sequence[str]) -> list[Predicate]:
    """Resolve filter keys against the columns of a frame.

    A key that is a column's whole name means equality, even when it holds ``__``.

    Raises:
        BadFilter: the operator is unknown, or its value has the wrong shape.
        UnknownColumn: the column is not in the frame.
    """
    return [_parse_predicate(key, value, columns) for key, value in where]


def _parse_predicate(key: str, value: JsonValue, columns: Sequence[str]) -> Predicate:
    if key in columns:
        return Predicate(column=key, op="eq", value=value)
    column, found, op = key.rpartition("__")
    if found and column in columns and op not in OPERATORS:
        raise BadFilter(
            f"There is no filter operator {op!r} (in {key!r}).", action=f"Use one of: {', '.join(OPERATORS)}."
        )
    if not found or column not in columns:
        name = column if op in OPERATORS and found else key
        raise UnknownColumn(
            f"There is no column {name!r} to filter by.",
            action=f"The frame has: {', '.join(columns[:50])}.",
            column=name,
        )
    _check_value(key, op, value)
    return Predicate(column=column, op=op, value=value)


def _check_value(key: str, op: str, value: JsonValue) -> None:
    if op in {"in", "nin"} and not isinstance(value, list):
        raise BadFilter(f"{key} needs a list of values.", action=f"Write {key}=[1, 2].")
    if op == "between" and not (isinstance(value, list) and len(value) == 2):
        raise BadFilter(f"{key} needs two values.", action=f"Write {key}=(low, high).")
    if op in {"regex", "contains", "startswith", "endswith"}:
        if not isinstance(value, str):
            raise BadFilter(f"{key} needs text.", action=f"Write {key}='text'.")
        if op == "regex":
            _check_regex(key, value)
    if op == "isnull" and not isinstance(value, bool):
        raise BadFilter(f"{key} needs True or False.", action=f"Write {key}=True.")


def _check_regex(key: str, value: str) -> None:
    try:
        re.compile(value)
    except re.error as error:
        raise BadFilter(
            f"{key} is not a regular expression: {error}.", action="Escape it, or use __contains."
        ) from error


def may_match(part: FramePart, predicate: Predicate) -> bool:
    """Say whether some row of the part may satisfy the predicate; True when its statistics cannot tell.

    The predicate's value is in the form of the statistics (see `ColumnStats`). Nulls satisfy `ne`, `nin` and
    `isnull`, and `eq` and `in` where None is among the values.
    """
    stats = part.stats.get(predicate.column)
    if stats is None:
        return True
    if predicate.op == "isnull":
        return _may_be_null(stats, part.rows, wanted=bool(predicate.value))
    if stats.nulls is not None and stats.nulls == part.rows:
        return part.rows > 0 and _holds_for_null(predicate)
    return _overlaps(stats, predicate.op, predicate.value)


def _holds_for_null(predicate: Predicate) -> bool:
    values = predicate.value if isinstance(predicate.value, list) else [predicate.value]
    match predicate.op:
        case "eq" | "in":
            return None in values
        case "ne" | "nin":
            return None not in values
        case _:
            return False


def _may_be_null(stats: ColumnStats, rows: int, *, wanted: bool) -> bool:
    if stats.nulls is None:
        return True
    return stats.nulls > 0 if wanted else stats.nulls < rows


def _overlaps(stats: ColumnStats, op: str, value: Any) -> bool:
    low, high = stats.min, stats.max
    try:
        match op:
            case "eq":
                return value is None or _within(low, high, value)
            case "in":
                return any(item is None or _within(low, high, item) for item in value)
            case "between":
                return not (_less(high, value[0]) or _less(value[1], low))
            case "gt":
                return low is None or high is None or _less(value, high)
            case "gte":
                return not _less(high, value)
            case "lt":
                return low is None or high is None or _less(low, value)
            case "lte":
                return not _less(value, low)
            case "ne" | "nin":
                values = value if op == "nin" else [value]
                only_value = stats.nulls == 0 and low is not None and low == high
                return not (only_value and any(type(low) is type(item) and low == item for item in values))
            case _:
                return True
    except TypeError:
        return True


def _within(low: Any, high: Any, value: Any) -> bool:
    return not (_less(value, low) or _less(high, value))


def _less(left: Any, right: Any) -> bool:
    """Compare where both sides are known; what is unknown is never less."""
    return left is not None and right is not None and bool(left < right)
