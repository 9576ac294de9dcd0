"""Documents as BSON, without loss. Pure.

BSON dates hold milliseconds, documents microseconds: a time is stored as `{t: date, u: microseconds below the
millisecond}`. It is readable in a shell, compares in order, and a TTL index works on its `t`. No bare date is ever
stored, so nothing else looks like it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from omegakit.docs.port import Doc
from omegakit.docs.values import check_int, check_key, unsupported, utc
from omegaproto.errors import BadBody

DATE, REST = "t", "u"


def to_bson(doc: Doc) -> Doc:
    """Give a document as it is stored. Raises BadBody for a value that cannot be kept."""
    return {check_key(key): to_value(each) for key, each in doc.items()}


def from_bson(doc: Doc) -> Doc:
    """Give back what `to_bson` was given; times in UTC."""
    return {key: from_value(each) for key, each in doc.items()}


def to_value(value: Any) -> Any:
    """Give a value as it is stored. Raises BadBody for one that cannot be kept."""
    match value:
        case None | bool() | float() | bytes():
            return value
        case str():
            return _text(value)
        case int():
            return check_int(value)
        case dict():
            return to_bson(value)
        case list() | tuple():
            return [to_value(each) for each in value]
        case datetime():
            moment = utc(value)
            rest = moment.microsecond % 1000
            return {DATE: moment - timedelta(microseconds=rest), REST: rest}
        case _:
            raise unsupported(value)


def from_value(value: Any) -> Any:
    """Give back what `to_value` was given."""
    match value:
        case dict():
            date = value.get(DATE)
            if isinstance(date, datetime):
                return utc(date) + timedelta(microseconds=value[REST])
            return from_bson(value)
        case list():
            return [from_value(each) for each in value]
        case _:
            return value


def _text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadBody(
                f"A document holds text that is not Unicode: {error.reason}.", action="Store bytes."
            ) from None
    return text
