"""Documents as JSON text, for stores that compare and index extracted values: lossless, and in the right order.

Values that JSON lacks become text that begins with U+10FFFF and a letter, so that they sort after all ordinary text and
among their own kind: bytes by length and content, bools, times, then numbers that are not finite. Ordinary text keeps
its order, too: the two highest characters and the two lowest are escaped, NUL because SQLite ends text there.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from typing import Any

from omegakit.docs.port import Doc
from omegakit.docs.values import MAX_DOC_BYTES, check_int, check_key, unsupported, utc
from omegaproto.errors import BadBody, TooLarge

TAG = "\U0010ffff"
BYTES, BOOL, TIME, NUMBER = f"{TAG}b", f"{TAG}c", f"{TAG}d", f"{TAG}n"
_ESCAPES = {"\x00": "\x01\x01", "\x01": "\x01\x02", "\U0010fffe": "\U0010fffe\x02", TAG: "\U0010fffe\x03"}
_ORIGINALS = {escape: char for char, escape in _ESCAPES.items()}
_TO_ESCAPE = re.compile("[\x00\x01\U0010fffe\U0010ffff]")
_ESCAPED = re.compile("\x01[\x01\x02]|\U0010fffe[\x02\x03]")
_FALSE, _TRUE = f"{BOOL}0", f"{BOOL}1"


def dumps(doc: Doc) -> str:
    """Give a document as JSON text. Raises BadBody for a value that cannot be kept, TooLarge above 16 MiB."""
    text = _json(encoded(doc))
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadBody(f"A document holds text that is not Unicode: {error.reason}.", action="Store bytes.") from None
    if size > MAX_DOC_BYTES:
        raise TooLarge(
            f"A document of {size:,} bytes is over the limit.", action="Store it as a blob.", limit=MAX_DOC_BYTES
        )
    return text


def loads(text: str) -> Any:
    """Give back what `dumps` was given."""
    return decoded(json.loads(text))


def encoded(value: Any) -> Any:
    """Give a value as what JSON has. Raises BadBody for a value that cannot be kept."""
    match value:
        case None:
            return None
        case bool():
            return _TRUE if value else _FALSE
        case str():
            return encoded_text(value)
        case int():
            return check_int(value)
        case float():
            return value if math.isfinite(value) else f"{NUMBER}{value!r}"
        case dict():
            return {encoded_text(check_key(key)): encoded(each) for key, each in value.items()}
        case list() | tuple():
            return [encoded(each) for each in value]
        case datetime():
            return f"{TIME}{utc(value).strftime('%Y-%m-%dT%H:%M:%S.%f'):0>26}Z"
        case bytes():
            return f"{BYTES}{len(value):08x}{value.hex()}"
        case _:
            raise unsupported(value)


def encoded_text(text: str) -> str:
    """Give ordinary text so that it sorts as before, below every tagged value."""
    return _TO_ESCAPE.sub(lambda found: _ESCAPES[found.group()], text)


def decoded(value: Any) -> Any:
    """Give back what `encoded` was given."""
    match value:
        case str():
            return _tagged(value) if value.startswith(TAG) else _plain(value)
        case dict():
            return {_plain(key): decoded(each) for key, each in value.items()}
        case list():
            return [decoded(each) for each in value]
        case _:
            return value


def scalar(value: Any) -> Any:
    """Give a value as SQLite's json_extract gives it: lists and dicts as JSON text, the rest as it is encoded."""
    plain = encoded(value)
    return _json(plain) if isinstance(plain, list | dict) else plain


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: _ORIGINALS[found.group()], text)


def _tagged(text: str) -> Any:
    tag, rest = text[:2], text[2:]
    if tag == TIME:
        return datetime.fromisoformat(rest)
    if tag == BOOL:
        return rest == "1"
    return bytes.fromhex(rest[8:]) if tag == BYTES else float(rest)
