"""Every frame comes back exactly: values, dtypes, labels, index, frequency, attrs."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from collections.abc import Callable
from typing import Any

import hypothesis.extra.pandas as hpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omegakinds.base import Dumped, FrameKind
from omegakinds.frames import META, PART, DataFrames, SeriesRows, kinds
from omegakinds.tables import ROW_COLUMN
from omegaproto.errors import BadFrame, BadInput, BlobCorrupted

FRAMES: dict[str, Callable[[], pd.DataFrame]] = {
    "plain": lambda: pd.DataFrame({"a": [1, 2], "b": [1.5, np.nan], "c": ["x", None], "d": [True, False]}),
    "datetime_index_with_zone": lambda: pd.DataFrame(
        {"a": range(5)}, index=pd.date_range("2020", periods=5, freq="D", tz="Europe/Berlin", name="when")
    ),
    "month_starts": lambda: pd.DataFrame({"a": range(3)}, index=pd.date_range("2020", periods=3, freq="MS")),
    "irregular_dates": lambda: pd.DataFrame({"a": [1, 2]}, index=pd.to_datetime(["2020-01-01", "2021-05-05"])),
    "multi_index": lambda: pd.DataFrame(
        {"a": range(4)}, index=pd.MultiIndex.from_product([["x", "y"], [1, 2]], names=["p", None])
    ),
    "multi_index_of_one_level": lambda: pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_arrays([[1]], names=["z"])),
    "multi_columns": lambda: pd.DataFrame(
        np.arange(6).reshape(2, 3),
        columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y"), ("b", "")], names=["l", None]),
    ),
    "default_columns": lambda: pd.DataFrame(np.arange(6).reshape(2, 3)),
    "integer_columns": lambda: pd.DataFrame(np.arange(6).reshape(2, 3), columns=[5, 7, 1]),
    "mixed_columns": lambda: pd.DataFrame([[1, 2, 3]], columns=["a", 1, None]),
    "colliding_columns": lambda: pd.DataFrame([[1, 2]], columns=["1", 1]),
    "odd_columns": lambda: pd.DataFrame([[1, 2, 3, 4]], columns=["", " ", "a.b", ROW_COLUMN]),
    "object_columns": lambda: pd.DataFrame([[1, 2]], columns=pd.Index(["a", "b"], dtype=object, name="nm")),
    "category_columns": lambda: pd.DataFrame([[1, 2]], columns=pd.CategoricalIndex(["a", "b"])),
    "date_columns": lambda: pd.DataFrame([[1, 2]], columns=pd.date_range("2020", periods=2, freq="D", tz="UTC")),
    "interval_columns": lambda: pd.DataFrame([[1, 2]], columns=pd.interval_range(0, 2)),
    "float_columns": lambda: pd.DataFrame([[1, 2]], columns=[0.5, np.nan]),
    "category": lambda: pd.DataFrame(
        {
            "c": pd.Categorical(["a", "b", None, "a"], categories=["z", "b", "a"], ordered=True),
            "i": pd.Categorical([3, 1, 1, 3]),
            "interval": pd.cut([1, 2, 3, 4], 2),
            "date": pd.Categorical(pd.to_datetime(["2020", "2021", "2020", "2021"])),
            "mixed": pd.Categorical([1, "a", None, 1]),
            "nothing": pd.Categorical([None] * 4),
        }
    ),
    "nullable": lambda: pd.DataFrame(
        {
            "i": pd.array([1, None], "Int64"),
            "b": pd.array([True, None], "boolean"),
            "f": pd.array([1.5, None], "Float32"),
            "u": pd.array([1, None], "UInt8"),
            "s": pd.array(["a", None], "string"),
            "python": pd.array(["a", None], pd.StringDtype("python")),
            "python_nan": pd.array(["a", None], pd.StringDtype("python", na_value=np.nan)),
        }
    ),
    "timedelta": lambda: pd.DataFrame(
        {
            "s": pd.to_timedelta([1, None, 3], unit="s"),
            "ns": pd.to_timedelta([1, None, 3], unit="ns").as_unit("ns"),
        }
    ),
    "timedelta_index": lambda: pd.DataFrame({"a": [1, 2, 3]}, index=pd.timedelta_range("1s", periods=3, freq="s")),
    "datetime_units": lambda: pd.DataFrame(
        {
            unit: pd.Series(pd.to_datetime(["2020-01-01 01:02:03", None])).astype(f"datetime64[{unit}]")
            for unit in ("s", "ms", "us", "ns")
        }
    ),
    "zones": lambda: pd.DataFrame(
        {
            "utc": pd.to_datetime(["2020-01-01", None]).tz_localize("UTC"),
            "ny": pd.to_datetime(["2020-01-01", "2020-07-01"]).tz_localize("America/New_York").as_unit("ns"),
            "offset": pd.to_datetime(["2020-01-01T00:00:00+05:30"] * 2),
        }
    ),
    "empty": lambda: pd.DataFrame(
        {
            "a": pd.Series([], dtype="int64"),
            "b": pd.Series([], dtype="str"),
            "o": pd.Series([], dtype=object),
            "c": pd.Series([], dtype="category"),
        }
    ),
    "empty_dates": lambda: pd.DataFrame({"a": pd.Series([], dtype=float)}, index=pd.DatetimeIndex([], freq="D")),
    "nothing": pd.DataFrame,
    "rows_without_columns": lambda: pd.DataFrame(index=pd.RangeIndex(3)),
    "labels_without_columns": lambda: pd.DataFrame(index=pd.Index(["a", "b"])),
    "objects": lambda: pd.DataFrame(
        {
            "date": [dt.date(2020, 1, 1), None],
            "decimal": [decimal.Decimal("1.5"), None],
            "bytes": [b"a", None],
            "list": [[1], [2, 3]],
            "dict": [{"a": 1}, {"b": 2}],
            "tuple": [(1, 2), (3,)],
            "time": [dt.time(1), None],
            "bool": [True, None],
            "int": [1, None],
            "none": [None, None],
        },
        dtype=object,
    ),
    "missing_objects": lambda: pd.DataFrame(
        {
            "nan": np.array(["a", np.nan], object),
            "na": np.array([pd.NA, "a"], object),
            "nat": np.array([pd.NaT, "a"], object),
        }
    ).astype(object),
    "period_interval_sparse": lambda: pd.DataFrame(
        {
            "p": pd.PeriodIndex(["2020-01", None], freq="M"),
            "iv": pd.interval_range(0, 2),
            "ivn": pd.arrays.IntervalArray.from_tuples([(0.0, 1.0), None], closed="left"),
            "ivd": pd.interval_range(pd.Timestamp("2020"), periods=2),
            "sp": pd.arrays.SparseArray([0, 1]),
            "spf": pd.arrays.SparseArray([np.nan, 1.0]),
        }
    ),
    "period_index": lambda: pd.DataFrame({"a": [1, 2]}, index=pd.period_range("2020-01", periods=2, freq="M")),
    "interval_index": lambda: pd.DataFrame({"a": [1, 2]}, index=pd.interval_range(0, 2, name="i")),
    "arrow": lambda: pd.DataFrame(
        {
            "a": pd.array([1, None], dtype="int64[pyarrow]"),
            "s": pd.array(["x", None], dtype="string[pyarrow]"),
            "l": pd.array([[1], None], dtype=pd.ArrowDtype(pa.list_(pa.int32()))),
        }
    ),
    "range_index": lambda: pd.DataFrame({"a": [1, 2, 3]}, index=pd.RangeIndex(10, 40, 10, name="r")),
    "category_index": lambda: pd.DataFrame({"a": [1, 2, 3]}, index=pd.CategoricalIndex(["a", "b", "a"], name="k")),
    "index_named_like_a_column": lambda: pd.DataFrame({"a": [1]}, index=pd.Index(["q"], name="a")),
    "object_index": lambda: pd.DataFrame({"a": [1, 2]}, index=pd.Index(["q", None], dtype=object)),
    "small_numbers": lambda: pd.DataFrame(
        {
            "f2": np.array([1, 2], "f2"),
            "u8": np.array([2**64 - 1, 0], "u8"),
            "i1": np.array([1, 2], "i1"),
            "inf": [np.inf, -np.inf],
        }
    ),
    "not_contiguous": lambda: pd.DataFrame(np.arange(12.0).reshape(3, 4)).iloc[::2, 1::2],
}

SERIES: dict[str, Callable[[], Any]] = {
    "named": lambda: pd.Series([1, 2], name="x"),
    "without_name": lambda: pd.Series([1.0, None]),
    "tuple_name": lambda: pd.Series(["a"], name=("a", 1), index=[5]),
    "empty": lambda: pd.Series([], dtype=object),
    "hours": lambda: pd.Series([1, 2], index=pd.date_range("2020", periods=2, freq="h")),
    "category": lambda: pd.Series(["a", "b"], dtype="category"),
}


def joined(parts: Any) -> Any:
    kind = DataFrames()
    return kind.join_parts(kind.decode_part(part) for part in parts)


def round_trip(frame: Any, blobs: Any, **options: Any) -> Any:
    kind: Any = DataFrames() if isinstance(frame, pd.DataFrame) else SeriesRows()
    dumped = kind.dump(frame, blobs, **options)
    meta = json.loads(json.dumps(dumped.kind_meta))
    return kind.load(Dumped(dumped.kind, meta, dumped.blobs, dumped.parts), blobs)


@pytest.mark.parametrize("name", FRAMES)
def test_frames_come_back_exactly(name: str, blobs: Any) -> None:
    frame = FRAMES[name]()
    before = frame.copy(deep=True)
    back = round_trip(frame, blobs)
    pd.testing.assert_frame_equal(back, before, check_freq=True)
    assert (type(back.index), type(back.columns)) == (type(before.index), type(before.columns))
    assert list(back.columns.names) == list(before.columns.names)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("name", SERIES)
def test_series_come_back_exactly(name: str, blobs: Any) -> None:
    series = SERIES[name]()
    pd.testing.assert_series_equal(round_trip(series, blobs), series, check_freq=True)


def test_cells_keep_their_types(blobs: Any) -> None:
    frame = FRAMES["objects"]()
    back = round_trip(frame, blobs)
    for column in frame:
        assert [type(cell) for cell in back[column]] == [type(cell) for cell in frame[column]], column


def test_arrays_in_cells_come_back_as_arrays(blobs: Any) -> None:
    frame = pd.DataFrame({"v": [np.array([1.5, 2.0]), np.array([3.0])]})
    back = round_trip(frame, blobs)
    assert all(np.array_equal(was, now) for was, now in zip(frame["v"], back["v"], strict=True))


def test_attrs_come_back(blobs: Any) -> None:
    frame = FRAMES["plain"]()
    frame.attrs = {"source": ("a", 1)}
    assert round_trip(frame, blobs).attrs == {"source": ("a", 1)}


def test_a_loaded_frame_can_be_changed(blobs: Any) -> None:
    back = round_trip(pd.DataFrame({"a": [1, 2], "b": [1.5, 2.5], "s": ["x", "y"], "t": [True, False]}), blobs)
    back.iloc[0] = [9, 9.5, "z", False]
    back["a"] += 1
    assert back.to_dict("list") == {"a": [10, 3], "b": [9.5, 2.5], "s": ["z", "y"], "t": [False, False]}


@pytest.mark.parametrize("threads", [1, 3])
def test_many_parts_keep_their_order(threads: int, blobs: Any) -> None:
    frame = pd.DataFrame(
        {
            "a": range(1000),
            "s": [f"r{i % 7}" for i in range(1000)],
            "c": pd.Categorical([f"c{i % 3}" for i in range(1000)]),
            "o": pd.Series([None] * 600 + ["late"] * 400, dtype=object),
            "n": [None] * 999 + [1.0],
        }
    )
    dumped = DataFrames().dump(frame, blobs, part_rows=137, threads=threads)
    assert dumped.parts is not None
    assert [pq.read_metadata(pa.BufferReader(blobs.read(ref))).num_rows for ref in dumped.parts] == [137] * 7 + [41]
    pd.testing.assert_frame_equal(DataFrames().load(dumped, blobs), frame)


def test_parts_are_sent_while_others_are_made() -> None:
    frame = pd.DataFrame({"a": range(1000)})
    _, parts = DataFrames().encode(frame, part_rows=100, threads=2)
    assert next(parts).rows == 100
    parts.close()  # type: ignore[attr-defined]


def test_row_groups_carry_statistics(blobs: Any) -> None:
    dumped = DataFrames().dump(pd.DataFrame({"a": [3, 1, None], "s": ["x", "y", None]}), blobs)
    assert dumped.parts is not None
    group = pq.read_metadata(pa.BufferReader(blobs.read(dumped.parts[0]))).row_group(0)
    assert (group.column(0).statistics.min, group.column(0).statistics.max) == (1, 3)
    assert group.column(1).statistics.null_count == 1


def test_large_frames_split_by_size(blobs: Any) -> None:
    frame = pd.DataFrame({"a": np.zeros(1_200_000, np.int8)})
    dumped = DataFrames().dump(frame, blobs, threads=2)
    assert dumped.parts is not None
    assert len(dumped.parts) == 4


def table_of(dumped: Dumped, blobs: Any) -> pa.Table:
    return joined(blobs.read(ref) for ref in dumped.parts or ())


def test_a_filter_keeps_the_index(blobs: Any) -> None:
    frame = pd.DataFrame({"a": range(5)}, index=pd.date_range("2020", periods=5, name="d"))
    dumped = DataFrames().dump(frame, blobs)
    table = table_of(dumped, blobs)
    left = DataFrames().from_table(table.filter(pc.greater(table["a"], 2)), dumped)
    pd.testing.assert_frame_equal(left, frame[frame.a > 2], check_freq=False)


def test_a_filter_keeps_the_labels_of_a_default_index_when_rows_are_numbered(blobs: Any) -> None:
    frame = pd.DataFrame({"a": range(5)}, index=pd.RangeIndex(10, 20, 2))
    dumped = DataFrames().dump(frame, blobs)
    table = table_of(dumped, blobs)
    numbered = table.append_column(ROW_COLUMN, pa.array(range(5)))
    left = DataFrames().from_table(numbered.filter(pc.greater(numbered["a"], 2)), dumped)
    pd.testing.assert_frame_equal(left, frame[frame.a > 2])
    bare = DataFrames().from_table(table.filter(pc.greater(table["a"], 2)), dumped)
    assert list(bare.index) == [0, 1]


def test_appended_rows_continue_a_default_index(blobs: Any) -> None:
    first = DataFrames().dump(pd.DataFrame({"a": [1, 2]}), blobs)
    second = DataFrames().dump(pd.DataFrame({"a": [3]}), blobs)
    meta = {**second.kind_meta, "frame": {"rows": 3}}
    both = joined(blobs.read(ref) for ref in (*(first.parts or ()), *(second.parts or ())))
    back = DataFrames().from_table(both, Dumped("pandas.dfrows", meta))
    pd.testing.assert_frame_equal(back, pd.DataFrame({"a": [1, 2, 3]}))


@pytest.mark.parametrize("name", ["multi_columns", "integer_columns", "mixed_columns", "plain", "category_columns"])
def test_a_projection_keeps_labels(name: str, blobs: Any) -> None:
    frame = FRAMES[name]()
    dumped = DataFrames().dump(frame, blobs)
    table = table_of(dumped, blobs)
    back = DataFrames().from_table(table.select(table.column_names[::-1]), dumped)
    pd.testing.assert_frame_equal(back, frame.iloc[:, ::-1])


def test_a_projection_may_leave_out_the_index(blobs: Any) -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_arrays([["x", "y"], [3, 4]], names=["p", "q"]))
    dumped = DataFrames().dump(frame, blobs)
    table = table_of(dumped, blobs)
    assert DataFrames().index_columns(dumped) == ["p", "q"]
    assert DataFrames().from_table(table.select(["a"]), dumped).index.equals(pd.RangeIndex(2))
    assert list(DataFrames().from_table(table.select(["a", "q"]), dumped).index) == [3, 4]
    assert DataFrames().index_columns(DataFrames().dump(FRAMES["plain"](), blobs)) == []


def test_a_server_may_widen_types(blobs: Any) -> None:
    frame = pd.DataFrame(
        {
            "i": np.array([1, 2], "i2"),
            "t": pd.to_timedelta([1, None], unit="s"),
            "c": pd.Categorical(["a", None], categories=["b", "a"]),
            "when": pd.to_datetime(["2020", "2021"]).tz_localize("Europe/Berlin"),
            "n": pd.array([1, None], "Int16"),
        }
    )
    dumped = DataFrames().dump(frame, blobs)
    table = table_of(dumped, blobs)
    plain = pa.table(
        {
            "i": table["i"].cast(pa.int64()),
            "t": table["t"].cast(pa.int64()),
            "c": table["c"].cast(pa.string()),
            "when": table["when"].cast(pa.timestamp("us", "UTC")),
            "n": table["n"].cast(pa.int64()),
            "extra": pa.array([1.5, 2.5]),
        }
    )
    back = DataFrames().from_table(plain.select(["i", "t", "c", "when", "n"]), dumped)
    pd.testing.assert_frame_equal(back, frame)


def test_wide_descriptions_are_a_blob(blobs: Any) -> None:
    frame = pd.DataFrame([range(3000)], columns=[f"column {i}" if i % 2 else i for i in range(3000)])
    dumped = DataFrames().dump(frame, blobs)
    assert [ref.role for ref in dumped.blobs] == [META]
    assert len(json.dumps(dumped.kind_meta)) < 100
    pd.testing.assert_frame_equal(DataFrames().load(dumped, blobs), frame)
    with pytest.raises(BadInput):
        DataFrames().from_table(table_of(dumped, blobs), dumped)


def test_duplicate_columns_are_refused(blobs: Any) -> None:
    with pytest.raises(BadFrame, match="more than one column 'a'"):
        DataFrames().dump(pd.DataFrame([[1, 2]], columns=["a", "a"]), blobs)
    assert blobs.blobs == {}


@pytest.mark.parametrize(
    "cells", [[1, "a"], [{1}, 2], [object(), None], [[1], 2]], ids=["int-str", "set", "object", "list-int"]
)
def test_mixed_cells_are_refused_by_name(cells: list[Any], blobs: Any) -> None:
    with pytest.raises(BadFrame, match=r"column 'bad'.*astype\(str\)"):
        DataFrames().dump(pd.DataFrame({"good": [1, 2], "bad": pd.Series(cells, dtype=object)}), blobs)
    assert blobs.blobs == {}


def test_complex_numbers_are_refused(blobs: Any) -> None:
    with pytest.raises(BadFrame, match="complex"):
        DataFrames().dump(pd.DataFrame({"z": [1j]}), blobs)


def test_what_is_not_plain_is_refused_in_labels_and_attrs(blobs: Any) -> None:
    with pytest.raises(BadFrame, match="label"):
        DataFrames().dump(pd.DataFrame([[1]], columns=[print]), blobs)
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["f"] = print
    with pytest.raises(BadFrame, match="attrs"):
        DataFrames().dump(frame, blobs)


def test_blob_corrupted(blobs: Any) -> None:
    dumped = DataFrames().dump(FRAMES["plain"](), blobs)
    with pytest.raises(BlobCorrupted):
        joined([blobs.read((dumped.parts or ())[0])[:50]])
    with pytest.raises(BadFrame):
        joined([])


def test_parts_with_other_columns_are_refused(blobs: Any) -> None:
    parts = [DataFrames().dump(pd.DataFrame({"a": [value]}), blobs).parts or () for value in (1, "x")]
    with pytest.raises(BadFrame):
        joined(blobs.read(part[0]) for part in parts)


def test_the_kinds_tell_frames_from_series() -> None:
    frames, series = kinds()
    assert frames.supports(pd.DataFrame(), "x")
    assert not frames.supports(pd.Series(dtype=int), "x")
    assert series.supports(pd.Series(dtype=int), "x")
    assert isinstance(frames, FrameKind)
    assert PART == "part"


names = st.one_of(st.text(max_size=5), st.integers(-5, 5))
columns = st.lists(names, max_size=4, unique=True).flatmap(
    lambda labels: st.sampled_from([float, int, bool]).map(lambda dtype: hpd.columns(labels, dtype=dtype))
)
frames = st.one_of(
    columns.flatmap(lambda found: hpd.data_frames(found, index=hpd.range_indexes(max_size=6))),
    columns.flatmap(lambda found: hpd.data_frames(found, index=hpd.indexes(elements=st.integers(0, 9), max_size=6))),
    hpd.data_frames(
        [
            hpd.column("text", elements=st.one_of(st.none(), st.text(max_size=4)), dtype="str"),
            hpd.column("when", elements=st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)), dtype="M8[us]"),
            hpd.column("long", elements=st.timedeltas(dt.timedelta(-999), dt.timedelta(999)), dtype="m8[us]"),
            hpd.column("object", elements=st.binary(max_size=3), dtype=object),
        ],
        index=hpd.range_indexes(max_size=8),
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(frame=frames, part_rows=st.integers(1, 9))
def test_any_frame_comes_back_exactly(frame: pd.DataFrame, part_rows: int, new_blobs: Any) -> None:
    back = round_trip(frame, new_blobs(), part_rows=part_rows, threads=2)
    pd.testing.assert_frame_equal(back, frame)
