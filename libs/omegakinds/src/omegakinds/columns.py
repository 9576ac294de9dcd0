"""One column between pandas and Arrow: how it is stored, and how it comes back exactly as it was.

Stored values are what a server can filter: categoricals of simple values are their values, periods their ordinals,
float NaN and every other missing value is null. What Arrow does not carry is in the column's spec (JSON).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from omegakinds import plain
from omegakinds.dtypes import decode_dtype, encode_dtype, from_codes
from omegaproto.errors import BadFrame

_MISSING: dict[str, Any] = {"None": None, "nan": np.nan, "NaT": pd.NaT, "NA": pd.NA}
_VALUE_CATEGORIES = frozenset({"string", "integer", "floating", "boolean", "datetime64", "empty"})


@dataclass(frozen=True)
class Column:
    """A column ready to be encoded: its stored name, its spec, its Arrow type and where its values are."""

    name: str
    spec: Any
    type: pa.DataType
    values: Any
    """A pandas Series, sliced and converted part by part, or an Arrow array."""

    def slice(self, start: int, stop: int) -> pa.Array:
        """Give the rows from `start` up to `stop` as an Arrow array."""
        if isinstance(self.values, pa.Array):
            return self.values.slice(start, stop - start)
        return _as_array(self.values.iloc[start:stop], self.type)


def plan_column(name: str, series: pd.Series[Any]) -> Column:
    """Decide how a column is stored. Raises BadFrame naming the column that Arrow cannot hold, and what to do."""
    dtype, where = series.dtype, f"The column {name!r}"
    if dtype == np.dtype(object):
        return _plan_object(name, series)
    spec = encode_dtype(dtype, where)
    if isinstance(dtype, pd.CategoricalDtype) and dtype.categories.inferred_type not in _VALUE_CATEGORIES:
        return Column(name, {**spec, "codes": True}, pa.int32(), _coded(series.cat.codes.to_numpy()))
    if isinstance(dtype, pd.PeriodDtype):
        ordinals = pa.array(series.array.asi8, mask=series.isna().to_numpy())
        return Column(name, spec, pa.int64(), ordinals)
    if isinstance(dtype, pd.IntervalDtype):
        sides = [pa.array(side, from_pandas=True) for side in (series.array.left, series.array.right)]
        pairs = pa.StructArray.from_arrays(sides, ["left", "right"])
        return Column(name, {"interval": str(dtype), "subtype": encode_dtype(dtype.subtype, where)}, pairs.type, pairs)
    if isinstance(dtype, pd.SparseDtype):
        series = pd.Series(np.asarray(series.array))
    try:
        return Column(name, spec, _as_array(series.iloc[:0]).type, series)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise _cannot_hold(name, f"values of dtype {dtype}") from error


def is_direct(spec: Any, stored: pa.DataType) -> bool:
    """Say whether Arrow's own conversion of the stored type gives the column up to a cast."""
    if isinstance(spec, dict):
        return "string" in spec and spec["na"] == "nan" and _is_text(stored)
    if (
        spec == "object"
        or spec.startswith(("period", "interval", "category"))
        or spec[0].isupper()
        or spec == "boolean"
    ):
        return False
    return not (spec.startswith("timedelta") and not pa.types.is_duration(stored))


def restore_column(values: pa.ChunkedArray, spec: Any) -> Any:
    """Give the column's pandas array (or Series) out of its stored values."""
    if isinstance(spec, dict) and "object" in spec:
        return _restore_object(values, spec)
    if isinstance(spec, dict) and "interval" in spec:
        return _restore_intervals(values, spec)
    dtype = decode_dtype(spec)
    if isinstance(dtype, pd.CategoricalDtype):
        codes = _codes_of(values, dtype, coded="codes" in spec)
        return pd.Categorical.from_codes(codes, dtype=dtype)
    if isinstance(dtype, pd.PeriodDtype) or str(dtype).startswith("timedelta"):
        return from_codes(values.cast(pa.int64()).fill_null(pd.NaT.value).to_numpy().copy(), dtype)
    if isinstance(dtype, pd.ArrowDtype):
        return pd.arrays.ArrowExtensionArray(values.cast(dtype.pyarrow_dtype))
    if isinstance(dtype, pd.SparseDtype):
        return pd.arrays.SparseArray(values.to_numpy(), dtype=dtype)
    if hasattr(dtype, "__from_arrow__"):
        return _from_arrow(values, dtype)
    return values.to_pandas().astype(dtype)


def _from_arrow(values: pa.ChunkedArray, dtype: Any) -> Any:
    if isinstance(dtype, pd.StringDtype):
        return pd.array(values.cast(pa.large_string()).to_pandas(), dtype=dtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        return values.to_pandas().astype(dtype)
    return dtype.__from_arrow__(values.cast(pa.from_numpy_dtype(dtype.numpy_dtype)))


def _as_array(series: pd.Series[Any], arrow_type: pa.DataType | None = None) -> pa.Array:
    if series.dtype == np.float16:
        series = series.astype(np.float32)
    array = pa.array(series, type=arrow_type, from_pandas=True)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks() if array.num_chunks != 1 else array.chunk(0)
    return array


def _coded(codes: np.ndarray[Any, Any]) -> pa.Array:
    return pa.array(codes.astype(np.int32), mask=codes < 0)


def _plan_object(name: str, series: pd.Series[Any]) -> Column:
    cells = series.to_numpy()
    missing = series.isna().to_numpy()
    spec: dict[str, Any] = {"object": _missing_name(cells[missing][0]) if missing.any() else "None"}
    try:
        array = pa.array(cells, mask=missing) if missing.any() else pa.array(cells)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise _cannot_hold(name, _mixture(cells[~missing])) from error
    if isinstance(array, pa.ChunkedArray):
        array = array.cast(pa.large_string() if _is_text(array.type) else pa.large_binary()).combine_chunks()
    if pa.types.is_null(array.type):
        array = array.cast(pa.string())
    if not _is_text(array.type) and not _is_exact(array, cells, missing):
        array, spec["cells"] = _as_json(name, cells, missing), "json"
    return Column(name, spec, array.type, array)


def _missing_name(value: Any) -> str:
    return next((key for key, known in _MISSING.items() if known is value), "nan")


def _is_text(stored: pa.DataType) -> bool:
    return bool(pa.types.is_string(stored) or pa.types.is_large_string(stored) or pa.types.is_string_view(stored))


def _is_exact(array: pa.Array, cells: Any, missing: Any) -> bool:
    """Say whether the cells would come back as they are: same types, same values, nested ones too."""
    back = array.to_pylist()
    return all(
        gone or (type(was) is type(found) and repr(was) == repr(found))
        for was, found, gone in zip(cells, back, missing, strict=True)
    )


def _as_json(name: str, cells: Any, missing: Any) -> pa.Array:
    try:
        texts = [None if gone else plain.dumps(cell) for cell, gone in zip(cells, missing, strict=True)]
    except TypeError as error:
        raise _cannot_hold(name, _mixture(cells[~missing])) from error
    return pa.array(texts, type=pa.large_string())


def _mixture(cells: Any) -> str:
    names = sorted({type(cell).__name__ for cell in cells})
    return f"objects of the types {', '.join(names[:8])}"


def _cannot_hold(name: str, held: str) -> BadFrame:
    return BadFrame(
        f"The column {name!r} holds {held}, which one column cannot store.",
        action=f"Convert it to one type first, for instance df[{name!r}] = df[{name!r}].astype(str).",
        column=name,
    )


def _restore_object(values: pa.ChunkedArray, spec: dict[str, Any]) -> Any:
    listed = values.to_pylist()
    if spec.get("cells") == "json":
        listed = [None if text is None else plain.loads(text) for text in listed]
    missing = _MISSING[spec["object"]]
    if missing is not None and values.null_count:
        listed = [missing if cell is None else cell for cell in listed]
    cells = np.empty(len(listed), dtype=object)
    cells[:] = listed
    return pd.Series(cells, dtype=object, copy=False)


def _restore_intervals(values: pa.ChunkedArray, spec: dict[str, Any]) -> Any:
    pairs = values.combine_chunks()
    pairs = pa.concat_arrays(pairs.chunks) if isinstance(pairs, pa.ChunkedArray) else pairs
    subtype = decode_dtype(spec["subtype"])
    sides = [pd.Series(restore_column(pa.chunked_array([pairs.field(side)]), spec["subtype"])) for side in (0, 1)]
    left, right = (pd.Index(side.astype(subtype)) for side in sides)
    return pd.arrays.IntervalArray.from_arrays(left, right, closed=decode_dtype(spec["interval"]).closed, copy=True)


def _codes_of(values: pa.ChunkedArray, dtype: Any, *, coded: bool) -> Any:
    if coded:
        return values.fill_null(-1).to_numpy()
    known = pa.array(dtype.categories, from_pandas=True)
    known = known.combine_chunks() if isinstance(known, pa.ChunkedArray) else known
    chunks = [_chunk_codes(chunk, known) for chunk in values.chunks]
    return np.concatenate(chunks) if chunks else np.empty(0, np.int32)


def _chunk_codes(chunk: pa.Array, known: pa.Array) -> Any:
    if pa.types.is_dictionary(chunk.type):
        codes = pc.index_in(chunk.dictionary.cast(known.type), value_set=known).take(chunk.indices)
    else:
        codes = pc.index_in(chunk.cast(known.type), value_set=known)
    return codes.fill_null(-1).to_numpy(zero_copy_only=False)
