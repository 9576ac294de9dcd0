"""pandas dtypes and axes as JSON values, and back.

A dtype is its own text where that is enough (``int64``, ``datetime64[us, UTC]``, ``period[M]``), else an object. An
axis (the labels of columns, an index, categories) is stored by value with its dtype, name and frequency.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from omegakinds import plain
from omegaproto.errors import BadFrame


def encode_dtype(dtype: Any, where: str) -> Any:
    """Give the dtype as JSON. Raises BadFrame naming `where` for a dtype of a package that we do not know."""
    if isinstance(dtype, np.dtype):
        return str(dtype)
    if isinstance(dtype, pd.StringDtype):
        return {"string": dtype.storage, "na": "NA" if dtype.na_value is pd.NA else "nan"}
    if isinstance(dtype, pd.CategoricalDtype):
        return {"categories": encode_axis(dtype.categories), "ordered": bool(dtype.ordered)}
    if isinstance(dtype, pd.SparseDtype):
        return {"sparse": str(dtype.subtype), "fill": plain.encode(dtype.fill_value)}
    if isinstance(dtype, pd.ArrowDtype):
        schema = pa.schema([("x", dtype.pyarrow_dtype)]).serialize().to_pybytes()
        return {"arrow": base64.b64encode(schema).decode()}
    if type(dtype).__module__.partition(".")[0] == "pandas":
        return str(dtype)
    raise BadFrame(
        f"{where} has the dtype {dtype} of the package {type(dtype).__module__.partition('.')[0]}.",
        action="Convert it with astype() to a dtype of numpy, pandas or pyarrow.",
    )


def decode_dtype(spec: Any) -> Any:
    """Give the dtype that `encode_dtype` wrote."""
    if isinstance(spec, str):
        return pd.api.types.pandas_dtype(spec)
    if "string" in spec:
        return pd.StringDtype(spec["string"], na_value=np.nan if spec["na"] == "nan" else pd.NA)
    if "categories" in spec:
        return pd.CategoricalDtype(decode_axis(spec["categories"]), ordered=spec["ordered"])
    if "sparse" in spec:
        return pd.SparseDtype(np.dtype(spec["sparse"]), plain.decode(spec["fill"]))
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(spec["arrow"])))
    return pd.ArrowDtype(schema.field(0).type)


def encode_axis(axis: pd.Index[Any], where: str = "An axis") -> dict[str, Any]:
    """Give labels, dtype, name and frequency as JSON. Raises BadFrame when a label is not plain data."""
    if isinstance(axis, pd.MultiIndex):
        levels = [encode_axis(axis.get_level_values(level), where) for level in range(axis.nlevels)]
        return {"levels": levels, "names": [encode_label(name, where) for name in axis.names]}
    found = _encode_values(axis, where)
    if axis.name is not None:
        found["name"] = encode_label(axis.name, where)
    freq = getattr(axis, "freqstr", None)
    if freq is not None and not isinstance(axis, pd.PeriodIndex):
        found["freq"] = freq
    return found


def decode_axis(spec: dict[str, Any]) -> pd.Index[Any]:
    """Give the index that `encode_axis` wrote."""
    if "levels" in spec:
        names = [plain.decode(name) for name in spec["names"]]
        return pd.MultiIndex.from_arrays([decode_axis(level) for level in spec["levels"]], names=names)
    name = plain.decode(spec.get("name"))
    if "range" in spec:
        start, stop, step = spec["range"]
        return pd.RangeIndex(start, stop, step, name=name)
    axis = pd.Index(_decode_values(spec), name=name, copy=False, tupleize_cols=False)
    return with_freq(axis, spec.get("freq"))


def with_freq(axis: pd.Index[Any], freq: str | None) -> pd.Index[Any]:
    """Give the axis with its frequency, where its values still follow it."""
    if freq is not None and isinstance(axis, pd.DatetimeIndex | pd.TimedeltaIndex):
        axis = axis.copy()
        try:
            axis.freq = pd.tseries.frequencies.to_offset(freq)  # type: ignore[misc]
        except ValueError:
            return axis
    return axis


def encode_label(label: object, where: str) -> Any:
    """Give one label as JSON. Raises BadFrame naming `where` when it is not plain data."""
    try:
        return plain.encode(label, "the label")
    except TypeError as error:
        raise BadFrame(f"{where}: {error}", action="Use text, numbers, dates or tuples as labels.") from error


def _encode_values(axis: pd.Index[Any], where: str) -> dict[str, Any]:
    dtype = axis.dtype
    if isinstance(axis, pd.RangeIndex):
        return {"range": [axis.start, axis.stop, axis.step]}
    if isinstance(axis, pd.IntervalIndex):
        return {"left": encode_axis(axis.left, where), "right": encode_axis(axis.right, where), "closed": axis.closed}
    spec = encode_dtype(dtype, where)
    if isinstance(axis, pd.CategoricalIndex):
        return {"codes": axis.codes.tolist(), "dtype": spec}
    if isinstance(axis, pd.DatetimeIndex | pd.TimedeltaIndex | pd.PeriodIndex):
        return {"codes": axis.asi8.tolist(), "dtype": spec}
    values = axis.astype(object) if isinstance(dtype, pd.api.extensions.ExtensionDtype) else axis
    return {"labels": [encode_label(label, where) for label in values.tolist()], "dtype": spec}


def _decode_values(spec: dict[str, Any]) -> Any:
    if "closed" in spec:
        left, right = decode_axis(spec["left"]), decode_axis(spec["right"])
        return pd.IntervalIndex.from_arrays(left, right, closed=spec["closed"])
    dtype = decode_dtype(spec["dtype"])
    if "codes" in spec:
        return from_codes(np.array(spec["codes"], dtype=np.int64), dtype)
    labels = plain.decode(spec["labels"])
    if dtype != np.dtype(object):
        return pd.array(labels, dtype=dtype)
    values = np.empty(len(labels), dtype=object)
    values[:] = labels
    return pd.Index(values, dtype=object, tupleize_cols=False)


def from_codes(codes: np.ndarray[Any, Any], dtype: Any) -> Any:
    """Give the array of `dtype` that int64 `codes` stand for: category codes, ordinals, or counts since the epoch."""
    if isinstance(dtype, pd.CategoricalDtype):
        return pd.Categorical.from_codes(codes, dtype=dtype)
    if isinstance(dtype, pd.PeriodDtype):
        return pd.arrays.PeriodArray(codes, dtype=dtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        utc = pd.DatetimeIndex(codes.view(f"datetime64[{dtype.unit}]")).tz_localize("UTC")
        return utc.tz_convert(dtype.tz).array
    return pd.array(codes.view(dtype), dtype=dtype)
