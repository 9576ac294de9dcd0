"""Plain Python values as JSON without loss: what JSON lacks is written as an object with a type tag.

Supported: None, bool, int (any size), float (also nan and infinities), complex, str, bytes, bytearray, list, tuple,
set, frozenset, dict (any supported key), datetime, date, time, timedelta, Decimal, UUID, numpy scalars and arrays
without objects, pandas Timestamp, Timedelta, NaT and NA. Subclasses of these (named tuples, enums, default dicts)
are refused, since they would come back as something else. A time zone comes back by its `zoneinfo`
name, else as a fixed offset.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from omegaproto.errors import UnknownKind

TAG = "$t"
_MAX_DEPTH = 200
_INT64 = 2**63


def dumps(value: object) -> str:
    """Give the value as JSON text. Raises UnknownKind naming the path of what is not supported."""
    return json.dumps(encode(value), allow_nan=False, separators=(",", ":"))


def loads(text: str | bytes) -> Any:
    """Give the value that `dumps` wrote."""
    return decode(json.loads(text))


def encode(value: object, path: str = "value", depth: int = 0) -> Any:
    """Give the value as JSON values. Raises UnknownKind naming the path of what is not supported."""
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if -_INT64 <= value < _INT64 else {TAG: "int", "v": str(value)}  # type: ignore[operator]
    if kind is float:
        return value if math.isfinite(value) else {TAG: "float", "v": repr(value)}  # type: ignore[arg-type]
    if depth > _MAX_DEPTH:
        raise UnknownKind(
            f"{path[:60]}… is nested deeper than {_MAX_DEPTH} levels, or holds itself.", action="Store a flatter value."
        )
    if kind is list:
        return _items(value, path, depth)
    if kind is dict:
        return _encode_dict(value, path, depth)  # type: ignore[arg-type]
    if kind in _CONTAINERS:
        items = _items(value, path, depth)
        return {TAG: kind.__name__, "v": items if kind is tuple else sorted(items, key=json.dumps)}
    if kind in _ENCODERS:
        return {TAG: kind.__name__, **_ENCODERS[kind](value)}
    return _encode_foreign(value, path)


def decode(value: Any) -> Any:
    """Give the value that `encode` wrote."""
    if type(value) is list:
        return [decode(item) for item in value]
    if type(value) is dict:
        tag = value.get(TAG)
        if tag is None:
            return {key: decode(item) for key, item in value.items()}
        return _DECODERS[tag](value)
    return value


def is_plain(value: object) -> bool:
    """Say whether the value itself, without regard to what it holds, is of a supported type; arrays do not count."""
    kind = type(value)
    if value is None or kind in _SIMPLE or kind in _CONTAINERS or kind in _ENCODERS:
        return True
    root = kind.__module__.partition(".")[0]
    if root == "numpy":
        return kind.__name__ != "ndarray" and _encode_numpy(value) is not None
    return root == "pandas" and _encode_pandas(value) is not None


def _items(value: Any, path: str, depth: int) -> list[Any]:
    return [encode(item, f"{path}[{position}]", depth + 1) for position, item in enumerate(value)]


def _encode_dict(value: dict[Any, Any], path: str, depth: int) -> Any:
    if TAG not in value and all(type(key) is str for key in value):
        return {key: encode(item, f"{path}[{key!r}]", depth + 1) for key, item in value.items()}
    pairs = [
        [encode(key, f"{path} key {key!r}", depth + 1), encode(item, f"{path}[{key!r}]", depth + 1)]
        for key, item in value.items()
    ]
    return {TAG: "dict", "v": pairs}


def _encode_foreign(value: object, path: str) -> dict[str, Any]:
    root = type(value).__module__.partition(".")[0]
    encoded = None
    if root == "numpy":
        encoded = _encode_numpy(value)
    elif root == "pandas":
        encoded = _encode_pandas(value)
    if encoded is None:
        raise UnknownKind(
            f"{path} is a {type(value).__module__}.{type(value).__qualname__}, which is not plain data.",
            action="Convert it to dicts, lists, numbers, text, bytes or dates, or store it under a name of its own.",
        )
    return encoded


def _encode_numpy(value: Any) -> dict[str, Any] | None:
    import numpy as np

    if type(value) is not np.ndarray and not isinstance(value, np.generic):
        return None
    array = np.asarray(value)
    if array.dtype.hasobject or array.dtype.names:
        return None
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    tag = "numpy" if isinstance(value, np.generic) else "ndarray"
    return {TAG: tag, "dtype": array.dtype.str, "shape": list(array.shape), "v": data}


def _decode_array(value: dict[str, Any]) -> Any:
    import numpy as np

    flat = np.frombuffer(base64.b64decode(value["v"]), dtype=np.dtype(value["dtype"]))
    return flat.reshape(value["shape"]).copy()


def _encode_pandas(value: Any) -> dict[str, Any] | None:
    import pandas as pd

    if value is pd.NaT or value is pd.NA:
        return {TAG: "pandas", "v": "NaT" if value is pd.NaT else "NA"}
    if type(value) is pd.Timestamp:
        naive = value.tz_localize(None)
        zone = _zone(value.tzinfo, value.utcoffset()) if value.tzinfo else None
        utc = value.tz_convert("UTC").tz_localize(None) if value.tzinfo else naive
        return {TAG: "Timestamp", "v": int(utc.asm8.view("i8")), "unit": value.unit, "tz": zone}
    if type(value) is pd.Timedelta:
        return {TAG: "Timedelta", "v": int(value.asm8.view("i8")), "unit": value.unit}
    return None


def _decode_pandas(value: dict[str, Any]) -> Any:
    import pandas as pd

    return pd.NaT if value["v"] == "NaT" else pd.NA


def _decode_timestamp(value: dict[str, Any]) -> Any:
    import numpy as np
    import pandas as pd

    stamp = pd.Timestamp(np.datetime64(value["v"], value["unit"])).as_unit(value["unit"])
    return stamp if value["tz"] is None else stamp.tz_localize("UTC").tz_convert(_unzone(value["tz"]))


def _decode_timedelta64(value: dict[str, Any]) -> Any:
    import numpy as np
    import pandas as pd

    return pd.Timedelta(np.timedelta64(value["v"], value["unit"])).as_unit(value["unit"])


def _zone(zone: tzinfo | None, offset: timedelta | None) -> str | float | None:
    if zone is None:
        return None
    key = getattr(zone, "key", None)
    if isinstance(key, str):
        return key
    return (offset or timedelta()).total_seconds()


def _unzone(zone: str | float | None) -> tzinfo | None:
    if zone is None:
        return None
    return ZoneInfo(zone) if isinstance(zone, str) else timezone(timedelta(seconds=zone))


def _encode_datetime(value: Any) -> dict[str, Any]:
    naive = value.replace(tzinfo=None, fold=0).isoformat()
    return {"v": naive, "tz": _zone(value.tzinfo, value.utcoffset()), "fold": value.fold}


def _decode_datetime(value: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(value["v"]).replace(tzinfo=_unzone(value["tz"]), fold=value["fold"])


def _decode_time(value: dict[str, Any]) -> time:
    return time.fromisoformat(value["v"]).replace(tzinfo=_unzone(value["tz"]), fold=value["fold"])


def _as_base64(value: Any) -> dict[str, Any]:
    return {"v": base64.b64encode(value).decode()}


def _as_text(value: Any) -> dict[str, Any]:
    return {"v": str(value)}


_SIMPLE = frozenset({bool, str, int, float, list, dict})
_CONTAINERS = frozenset({tuple, set, frozenset})

_ENCODERS: dict[type, Callable[[Any], dict[str, Any]]] = {
    bytes: _as_base64,
    bytearray: _as_base64,
    complex: lambda value: {"v": [encode(value.real), encode(value.imag)]},
    datetime: _encode_datetime,
    time: _encode_datetime,
    date: lambda value: {"v": value.isoformat()},
    timedelta: lambda value: {"v": [value.days, value.seconds, value.microseconds]},
    Decimal: _as_text,
    UUID: _as_text,
}

_DECODERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "int": lambda value: int(value["v"]),
    "float": lambda value: float(value["v"]),
    "tuple": lambda value: tuple(decode(value["v"])),
    "set": lambda value: set(decode(value["v"])),
    "frozenset": lambda value: frozenset(decode(value["v"])),
    "dict": lambda value: {decode(key): decode(item) for key, item in value["v"]},
    "bytes": lambda value: base64.b64decode(value["v"]),
    "bytearray": lambda value: bytearray(base64.b64decode(value["v"])),
    "complex": lambda value: complex(*decode(value["v"])),
    "datetime": _decode_datetime,
    "time": _decode_time,
    "date": lambda value: date.fromisoformat(value["v"]),
    "timedelta": lambda value: timedelta(*value["v"]),
    "Decimal": lambda value: Decimal(value["v"]),
    "UUID": lambda value: UUID(value["v"]),
    "numpy": lambda value: _decode_array(value)[()],
    "ndarray": _decode_array,
    "pandas": _decode_pandas,
    "Timestamp": _decode_timestamp,
    "Timedelta": _decode_timedelta64,
}
