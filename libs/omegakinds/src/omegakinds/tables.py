"""DataFrames and Series as Arrow columns with JSON beside them, and back, exactly.

The JSON (``kind_meta["pandas"]``) holds what columns do not carry: labels that are not text, the index, dtypes,
frequencies, attrs. What is stored of it grows with the number of columns, not of rows, except for categories.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from omegakinds import plain
from omegakinds.columns import Column, is_direct, plan_column, restore_column
from omegakinds.dtypes import decode_axis, decode_dtype, encode_axis, encode_label, with_freq
from omegaproto.errors import BadFrame

ROW_COLUMN = "__omega_row__"
"""A column of int64 positions in the whole frame: a filtered table with one gets the labels of a default index back."""
VERSION = 1


@dataclass(frozen=True)
class Plan:
    """A frame ready to be encoded: its columns (index columns last), its count of rows, and the JSON beside them."""

    columns: list[Column]
    rows: int
    meta: dict[str, Any]

    def table(self, start: int, stop: int) -> pa.Table:
        """Give the rows from `start` up to `stop`."""
        schema = pa.schema([(column.name, column.type) for column in self.columns])
        return pa.Table.from_arrays([column.slice(start, stop) for column in self.columns], schema=schema)


def plan_series(series: pd.Series[Any]) -> Plan:
    """Plan a Series as a frame of one column, called ``value`` when the Series has no name."""
    plan = plan_frame(series.to_frame(name="value" if series.name is None else series.name))
    plan.meta["series"] = {"name": encode_label(series.name, "The name of the series")}
    return plan


def plan_frame(frame: pd.DataFrame) -> Plan:
    """Plan a DataFrame, which is not changed.

    Raises:
        BadFrame: two columns have the same name, or a column, label or attribute cannot be stored exactly.
    """
    names = _stored_names(frame)
    columns = [plan_column(name, frame.iloc[:, at]) for at, name in enumerate(names)]
    index, index_meta = _plan_index(frame.index, names)
    default, others = _split_specs([*columns, *index])
    meta = {
        "version": VERSION,
        "rows": len(frame),
        "names": None if names == list(frame.columns) else names,
        "columns": _columns_meta(frame.columns, names),
        "index": index_meta,
        "dtype": default,
        "dtypes": others,
        "attrs": _attrs(frame),
    }
    return Plan([*columns, *index], len(frame), {key: value for key, value in meta.items() if value is not None})


def index_names(meta: dict[str, Any]) -> list[str]:
    """Name the stored columns that hold the index; none for a default index."""
    return list(meta["index"].get("columns", ()))


def restore(table: pa.Table, meta: dict[str, Any], rows: int | None = None) -> Any:
    """Give the DataFrame or Series of the table, which may hold only some rows and columns of the stored frame.

    `rows` counts the whole stored frame after appends. A default index keeps its labels when the table holds all rows
    or a `ROW_COLUMN`, and counts from zero otherwise. An index whose columns a projection left out becomes a
    default one.
    """
    complete = table.num_rows == (meta["rows"] if rows is None else rows)
    index = _restore_index(table, meta, complete=complete)
    held = [name for name in table.column_names if name != ROW_COLUMN and name not in index_names(meta)]
    columns = {name: _on(index, values) for name, values in _restore_columns(table.select(held), meta).items()}
    if "series" in meta and len(held) == 1:
        return columns[held[0]].rename(plain.decode(meta["series"]["name"]))
    frame = pd.DataFrame(columns, index=index, copy=False, columns=None if held else [])
    frame.columns = _restore_labels(held, meta)
    if "attrs" in meta:
        frame.attrs = plain.decode(meta["attrs"])
    return frame


def _stored_names(frame: pd.DataFrame) -> list[str]:
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise BadFrame(
            f"The frame has more than one column {twice!r}.",
            action="Rename or drop one: df = df.loc[:, ~df.columns.duplicated()].",
        )
    return _unique(_as_text(label) for label in frame.columns)


def _as_text(label: Any) -> str:
    if type(label) is str and label:
        return label
    if isinstance(label, tuple):
        return "_".join(str(part) for part in label if part != "") or "_"
    return str(label) or "_"


def _unique(names: Iterable[str]) -> list[str]:
    taken = {ROW_COLUMN: None}
    for name in names:
        unique, count = name, 1
        while unique in taken:
            count += 1
            unique = f"{name}_{count}"
        taken[unique] = None
    return list(taken)[1:]


def _columns_meta(labels: pd.Index[Any], names: list[str]) -> dict[str, Any]:
    """Give the column labels, or only their dtype and name when the stored names are the labels."""
    if isinstance(labels, pd.MultiIndex) or names != list(labels):
        return encode_axis(labels, "A column label")
    rest = encode_axis(labels[:0], "A column label")
    return rest if "labels" in rest else encode_axis(labels, "A column label")


def _plan_index(index: pd.Index[Any], taken: list[str]) -> tuple[list[Column], dict[str, Any]]:
    if isinstance(index, pd.RangeIndex) and taken:
        return [], encode_axis(index, "The index")
    levels = [index.get_level_values(level) for level in range(index.nlevels)]
    names = [
        level.name if type(level.name) is str and level.name else f"__index_level_{at}__"
        for at, level in enumerate(levels)
    ]
    names = _unique([*taken, *names])[len(taken) :]
    columns = [
        plan_column(name, pd.Series(level, index=pd.RangeIndex(len(level)), dtype=level.dtype, copy=False))
        for name, level in zip(names, levels, strict=True)
    ]
    meta: dict[str, Any] = {
        "columns": names,
        "names": [encode_label(name, "The index name") for name in index.names],
        "freqs": [_freq(level) for level in levels],
    }
    if isinstance(index, pd.MultiIndex):
        meta["multi"] = True
    if isinstance(index, pd.RangeIndex):
        meta["range"] = [index.start, index.stop, index.step]
    return columns, meta


def _freq(level: pd.Index[Any]) -> str | None:
    return getattr(level, "freqstr", None) if isinstance(level, pd.DatetimeIndex | pd.TimedeltaIndex) else None


def _split_specs(columns: list[Column]) -> tuple[Any, dict[str, Any]]:
    """Give the most frequent plain dtype, and the specs of the columns that have another one."""
    texts = Counter(column.spec for column in columns if isinstance(column.spec, str))
    default = texts.most_common(1)[0][0] if texts else None
    return default, {column.name: column.spec for column in columns if column.spec != default}


def _attrs(frame: pd.DataFrame) -> Any:
    if not frame.attrs:
        return None
    try:
        return plain.encode(frame.attrs, "df.attrs")
    except TypeError as error:
        raise BadFrame(f"{error}", action="Remove it from df.attrs before storing the frame.") from error


def _restore_columns(table: pa.Table, meta: dict[str, Any]) -> dict[str, Any]:
    specs = {name: _spec(meta, name) for name in table.column_names}
    direct = [
        name for name, spec in specs.items() if spec is not None and is_direct(spec, table.schema.field(name).type)
    ]
    converted = table.select(direct).to_pandas(ignore_metadata=True) if direct else pd.DataFrame()
    columns = {}
    for at, (name, spec) in enumerate(specs.items()):
        if spec is None:
            columns[name] = table.column(at).to_pandas()
        elif name in converted:
            columns[name] = _cast(converted[name], spec)
        else:
            columns[name] = restore_column(table.column(at), spec)
    return columns


def _on(index: pd.Index[Any], values: Any) -> pd.Series[Any]:
    """Give the values, an array or a Series, as a Series on the index: no copy, and no new guess of the dtype."""
    if isinstance(values, pd.Series):
        return values.set_axis(index)
    return pd.Series(values, index=index, copy=False)


def _spec(meta: dict[str, Any], name: str) -> Any:
    return meta["dtypes"].get(name, meta.get("dtype"))


def _cast(series: pd.Series[Any], spec: Any) -> Any:
    dtype = decode_dtype(spec)
    return series if series.dtype == dtype else series.astype(dtype)


def _restore_labels(held: list[str], meta: dict[str, Any]) -> pd.Index[Any]:
    names = meta.get("names")
    spec = meta["columns"]
    if names is None and spec.get("labels") == []:
        return decode_axis({**spec, "labels": held})
    labels = decode_axis(spec)
    known = {name: at for at, name in enumerate(labels if names is None else names)}
    return labels if held == list(known) else labels.take([known[name] for name in held])


def _restore_index(table: pa.Table, meta: dict[str, Any], *, complete: bool) -> pd.Index[Any]:
    spec = meta["index"]
    if "range" in spec:
        return _restore_range(table, spec, complete=complete)
    left = [at for at, name in enumerate(spec["columns"]) if name in table.column_names]
    if not left:
        return pd.RangeIndex(table.num_rows)
    names = [plain.decode(spec["names"][at]) for at in left]
    levels: list[pd.Index[Any]]
    arrays = _restore_columns(table.select([spec["columns"][at] for at in left]), meta)
    levels = [
        pd.Index(values, dtype=values.dtype, copy=False, tupleize_cols=False).rename(name)
        for values, name in zip(arrays.values(), names, strict=True)
    ]
    if spec.get("multi") and (len(levels) > 1 or len(spec["columns"]) == 1):
        return pd.MultiIndex.from_arrays(levels, names=names)
    return with_freq(levels[0], spec["freqs"][left[0]] if complete else None)


def _restore_range(table: pa.Table, spec: dict[str, Any], *, complete: bool) -> pd.Index[Any]:
    start, _, step = spec["range"]
    name = plain.decode(spec.get("name", spec.get("names", [None])[0]))
    if ROW_COLUMN in table.column_names:
        positions = table.column(ROW_COLUMN).to_numpy()
        labels: pd.Index[Any] = pd.Index(start + positions * step, name=name)
        return labels
    if complete or "columns" in spec:
        return pd.RangeIndex(start, start + table.num_rows * step, step, name=name)
    return pd.RangeIndex(table.num_rows, name=name)
