"""How the values of a column compare: families of Arrow types, times as whole numbers, times as text. Pure.

Integers, booleans, dates and timestamps are *whole*: they compare as integers (a timestamp counts its own unit since
1970, in UTC when it has a time zone). A bound of theirs as JSON is the number, or for dates and timestamps ISO
text of a fixed width, which compares as text in the order of time.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from enum import Enum, auto
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa

from omegaproto.errors import BadFilter

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_DAY = 86_400
_EPOCH = date(1970, 1, 1).toordinal()
_MOST_DAYS = date.max.toordinal() - _EPOCH
_LEAST_DAYS = date.min.toordinal() - _EPOCH
_ISO = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,9}))?)?\s?(Z|[+-]\d{2}:?\d{2})?", re.ASCII
)
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})", re.ASCII)


class Family(Enum):
    """How values of a type compare: as integers, as floats, as text, as decimals, or not at all."""

    whole = auto()
    real = auto()
    text = auto()
    decimal = auto()
    opaque = auto()


def value_type(arrow_type: pa.DataType) -> pa.DataType:
    """Give the type of a column's values: for a dictionary that of its entries."""
    return arrow_type.value_type if pa.types.is_dictionary(arrow_type) else arrow_type


def plain_type(arrow_type: pa.DataType) -> pa.DataType:
    """Give the type in which a frame gives a stored type out: views, which Arrow cannot filter yet, as plain values."""
    if pa.types.is_string_view(arrow_type):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(arrow_type) else arrow_type


def family_of(arrow_type: pa.DataType) -> Family:
    """Give the family of a type of values."""
    is_ = pa.types
    if is_.is_integer(arrow_type) or is_.is_boolean(arrow_type) or is_temporal(arrow_type):
        return Family.whole
    if is_.is_floating(arrow_type):
        return Family.real
    if is_.is_string(arrow_type) or is_.is_large_string(arrow_type):
        return Family.text
    if is_.is_decimal(arrow_type):
        return Family.decimal
    return Family.opaque


def is_temporal(arrow_type: pa.DataType) -> bool:
    """Say whether a type is a date or a timestamp."""
    return bool(pa.types.is_date(arrow_type) or pa.types.is_timestamp(arrow_type))


def unit_of(arrow_type: pa.DataType) -> str:
    """Give the unit of a date (``d``; ``ms`` for date64) or timestamp (``s``, ``ms``, ``us``, ``ns``)."""
    if pa.types.is_timestamp(arrow_type):
        unit: str = arrow_type.unit
        return unit
    return "d" if pa.types.is_date32(arrow_type) else "ms"


def limits_of(arrow_type: pa.DataType) -> tuple[int, int]:
    """Give the least and the greatest integer that a whole type holds."""
    if pa.types.is_boolean(arrow_type):
        return 0, 1
    bits = arrow_type.bit_width
    if pa.types.is_unsigned_integer(arrow_type):
        return 0, (1 << bits) - 1
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def iso_text(count: int, arrow_type: pa.DataType) -> str | None:
    """Give the date or timestamp that is `count` units after 1970, as text; None outside the years 1 to 9999."""
    unit = unit_of(arrow_type)
    if unit == "d":
        return date.fromordinal(count + _EPOCH).isoformat() if _LEAST_DAYS <= count <= _MOST_DAYS else None
    seconds, rest = divmod(count, PER_SECOND[unit])
    days, second = divmod(seconds, _DAY)
    if not _LEAST_DAYS <= days <= _MOST_DAYS:
        return None
    hours, second = divmod(second, 3600)
    text = f"{date.fromordinal(days + _EPOCH).isoformat()}T{hours:02}:{second // 60:02}:{second % 60:02}"
    if _DIGITS[unit]:
        text += f".{rest:0{_DIGITS[unit]}}"
    return text + ("Z" if getattr(arrow_type, "tz", None) else "")


def parse_time(text: Any, arrow_type: pa.DataType) -> Fraction:
    """Give ISO text as units of the type since 1970, exactly. A time without a zone is in the column's zone.

    Raises BadFilter when it is no ISO date or time, or has a zone and the column has none.
    """
    match = _ISO.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise _not_a_time(text)
    column_zone = getattr(arrow_type, "tz", None)
    if match[4] and column_zone is None:
        raise BadFilter(f"{text!r} has a time zone and the column has none.", action="Leave the zone out.")
    try:
        when = datetime.fromisoformat(match[1] + ("T" + match[2] if match[2] else ""))
        if column_zone is not None:
            when = when.replace(tzinfo=_zone(match[4] or column_zone)).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise _not_a_time(text) from None
    seconds = (when.toordinal() - _EPOCH) * _DAY + when.hour * 3600 + when.minute * 60 + when.second
    exact = seconds + Fraction(int((match[3] or "0").ljust(9, "0")), 10**9)
    unit = unit_of(arrow_type)
    return exact / _DAY if unit == "d" else exact * PER_SECOND[unit]


def _not_a_time(text: Any) -> BadFilter:
    return BadFilter(f"{str(text)[:80]!r} is no date or time.", action="Write 2026-01-31 or 2026-01-31T12:00:00.")


def _zone(name: str) -> tzinfo:
    if name.upper() in ("Z", "UTC"):
        return UTC
    offset = _OFFSET.fullmatch(name)
    if offset:
        amount = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(-amount if offset[1] == "-" else amount)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise BadFilter(
            f"The time zone {name!r} is not known here.", action="Write the time with its offset."
        ) from None
