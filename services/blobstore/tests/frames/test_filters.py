"""Filters give what pandas masks give, whichever parts and row groups statistics skip."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega_blobstore.frames.blobfile import RangeFile
from omega_blobstore.frames.footers import assemble, read_footer
from omega_blobstore.frames.plan import plan_rows
from omega_blobstore.frames.scan import ipc_stream
from omegaproto.errors import BadFilter
from omegaproto.frames import ROW_COLUMN, FrameManifest, FramePart, FrameQuery
from omegaproto.objects import BlobRef

DAY = datetime(2020, 1, 1)
NUMBERS: list[Any] = [-3, -1, 0, 1, 2, 7]
REALS = [-math.inf, -1.5, -0.0, 0.0, 0.1, 1.0, 2.5, math.inf]
TEXTS = ["", "a", "ab", "abc", "b", "a.c", "é", "z" * 70, "z" * 63 + "\ud7ffx", "z" * 63 + "\U0010ffffx", "z" * 71]
TIMES = [DAY + timedelta(hours=6 * step) for step in range(8)]


class Case:
    """One kind of column: its Arrow type, its values, what filters compare it with, and pandas' view of it."""

    def __init__(
        self,
        arrow: pa.DataType,
        values: list[Any],
        operands: list[Any] | None = None,
        view: Callable[[list[Any]], pd.Series] | None = None,
        operand: Callable[[Any], Any] = lambda value: value,
        nan: bool = False,
    ) -> None:
        self.arrow, self.values, self.nan = arrow, values, nan
        self.operands = values if operands is None else operands
        self.view = view or (lambda held: pd.Series([np.nan if v is None else v for v in held], dtype="float64"))
        self.operand = operand


def as_text(held: list[Any]) -> pd.Series:
    return pd.Series(held, dtype="str")


def as_times(held: list[Any]) -> pd.Series:
    return pd.Series(pd.to_datetime(pd.Series(held, dtype=object)), dtype="datetime64[ns]")


def as_zoned(held: list[Any]) -> pd.Series:
    return pd.Series(pd.to_datetime(pd.Series(held, dtype=object), utc=True)).dt.tz_convert("Europe/Berlin")


ISO = [value.isoformat() for value in TIMES]
CASES = {
    "int8": Case(pa.int8(), [*NUMBERS, -128, 127], [*NUMBERS, 2.5, -1.5, 300, -300, math.inf, -math.inf]),
    "int64": Case(pa.int64(), [*NUMBERS, 2**40], [*NUMBERS, 2**40, 0.5, 2**70]),
    "uint64": Case(pa.uint64(), [0, 1, 7, 2**40], [0, -1, 1, 7.5, 2**40, 2**65]),
    "bool": Case(pa.bool_(), [True, False], [True, False, 1, 0]),
    "double": Case(pa.float64(), REALS, [*REALS, 1, 2], nan=True),
    "text": Case(pa.string(), TEXTS, view=as_text),
    "large text": Case(pa.large_string(), TEXTS, view=as_text),
    "category": Case(pa.dictionary(pa.int32(), pa.string()), TEXTS, view=as_text),
    "category of int": Case(pa.dictionary(pa.int8(), pa.int64()), NUMBERS),
    "timestamp ns": Case(pa.timestamp("ns"), TIMES, ISO, as_times, pd.Timestamp),
    "timestamp s": Case(pa.timestamp("s"), TIMES, [*ISO, "2020-01-01T06:00:00.5"], as_times, pd.Timestamp),
    "timestamp us, zone": Case(
        pa.timestamp("us", "Europe/Berlin"),
        [value.replace(tzinfo=UTC) for value in TIMES],
        [*(f"{value}Z" for value in ISO), "2020-01-01T13:00:00+01:00"],
        as_zoned,
        pd.Timestamp,
    ),
    "date": Case(
        pa.date32(),
        sorted({value.date() for value in TIMES}),
        ["2020-01-01", "2020-01-02", *ISO[1:3]],
        as_times,
        pd.Timestamp,
    ),
}


def manifest_of(tables: list[pa.Table], group: int) -> tuple[FrameManifest, dict[str, bytes]]:
    """Make a frame of parts in memory."""
    blobs, footers = {}, []
    for at, table in enumerate(tables):
        out = io.BytesIO()
        pq.write_table(table, out, row_group_size=group, store_schema=True)
        data = out.getvalue()
        blobs[str(at)] = data
        ref = BlobRef(id=str(at), sha256="", length=len(data))
        footers.append((ref, read_footer(str(at), len(data), data[-3000:] if len(data) > 3000 else data, 1 << 30)))
    return assemble("f", "b", None, footers), blobs


def answer(manifest: FrameManifest, blobs: dict[str, bytes], query: FrameQuery) -> tuple[pa.Table, list[str]]:
    """Give the rows of a query, and the parts that were opened."""
    opened: list[str] = []

    def open_part(part: FramePart) -> RangeFile:
        opened.append(part.blob.id)
        data = blobs[part.blob.id]
        return RangeFile(len(data), lambda start, stop: data[start:stop])

    stream = b"".join(ipc_stream(plan_rows(manifest, query), open_part))
    return pa.ipc.open_stream(stream).read_all(), opened


def expected_mask(series: pd.Series, op: str, value: Any) -> pd.Series:
    """Give the mask as pandas has it; NaN and null are both null."""

    def members() -> pd.Series:
        held = [each for each in value if each is not None]
        found = series.isin(held)
        return found | series.isna() if None in value else found

    masks: dict[str, Callable[[], pd.Series]] = {
        "eq": lambda: series == value,
        "ne": lambda: series != value,
        "gt": lambda: series > value,
        "gte": lambda: series >= value,
        "lt": lambda: series < value,
        "lte": lambda: series <= value,
        "between": lambda: (series >= value[0]) & (series <= value[1]),
        "in": members,
        "nin": lambda: ~members(),
        "isnull": lambda: series.isna() == value,
        "contains": lambda: series.str.contains(value, regex=False, na=False),
        "startswith": lambda: series.str.startswith(value, na=False),
        "endswith": lambda: series.str.endswith(value, na=False),
        "regex": lambda: series.str.contains(value, regex=True, na=False),
    }
    return masks[op]().fillna(op == "ne").astype(bool)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_filter_gives_what_pandas_gives(data: st.DataObject) -> None:
    case = CASES[data.draw(st.sampled_from(sorted(CASES)), label="column")]
    nulls: list[Any] = [None, None, math.nan] if case.nan else [None]
    pool = st.one_of(st.sampled_from(case.values), st.sampled_from(nulls))
    parts = data.draw(st.lists(st.lists(pool, max_size=6), min_size=1, max_size=4), label="parts")
    clustered = data.draw(st.booleans())
    if clustered:  # so that statistics have something to skip
        parts = [[value] * max(len(part), 1) for part in parts for value in part[:1]] or parts
    arrays = [pa.array(part, case.arrow, from_pandas=False) for part in parts]
    tables = [pa.table({"x": array, "n": pa.array(range(len(array)), pa.int64())}) for array in arrays]
    manifest, blobs = manifest_of(tables, data.draw(st.integers(1, 4), label="group"))

    operands = st.sampled_from(case.operands)
    text = {"contains", "startswith", "endswith", "regex"} if case.view is as_text else set()
    op = data.draw(
        st.sampled_from(sorted({"eq", "ne", "gt", "gte", "lt", "lte", "between", "in", "nin", "isnull", *text})),
        label="op",
    )
    value: Any
    if op == "isnull":
        value = given_value = data.draw(st.booleans())
    elif op in {"in", "nin"}:
        value = data.draw(st.lists(st.one_of(operands, st.none()), max_size=3), label="value")
        given_value = [None if each is None else case.operand(each) for each in value]
    elif op == "between":
        value = data.draw(st.lists(operands, min_size=2, max_size=2), label="value")
        given_value = [case.operand(each) for each in value]
    elif op == "regex":
        value = given_value = data.draw(st.sampled_from(["a", "^a", "b$", "a.c", "a|é", "z{3,}"]), label="value")
    else:
        value = data.draw(operands, label="value")
        given_value = case.operand(value)

    table, opened = answer(manifest, blobs, FrameQuery(where=((f"x__{op}", value),)))
    series = case.view([value for part in parts for value in part])
    mask = expected_mask(series, op, given_value)
    assert table.column(ROW_COLUMN).to_pylist() == np.flatnonzero(mask.to_numpy()).tolist()
    held = {
        str(at) for at, part in enumerate(parts) for row in range(len(part)) if mask[sum(map(len, parts[:at])) + row]
    }
    assert held <= set(opened)


def test_parts_that_statistics_rule_out_are_not_opened() -> None:
    tables = [pa.table({"x": list(range(at * 10, at * 10 + 10))}) for at in range(10)]
    manifest, blobs = manifest_of(tables, 5)
    for where, parts in {
        ("x__eq", 35): ["3"],
        ("x__in", (5, 95)): ["0", "9"],
        ("x__gt", 89): ["9"],
        ("x__between", (28.5, 31)): ["2", "3"],
        ("x__lt", 0): [],
        ("x__isnull", True): [],
    }.items():
        key, value = where
        table, opened = answer(
            manifest, blobs, FrameQuery(where=((key, list(value) if isinstance(value, tuple) else value),))
        )
        assert opened == parts
        assert table.schema.names == ["x", ROW_COLUMN]


def test_row_groups_that_statistics_rule_out_are_not_read() -> None:
    manifest, blobs = manifest_of([pa.table({"x": list(range(100_000)), "y": ["text"] * 100_000})], 10_000)
    ranges: list[tuple[int, int]] = []

    def read(start: int, stop: int) -> bytes:
        ranges.append((start, stop))
        return blobs["0"][start:stop]

    plan = plan_rows(manifest, FrameQuery(where=(("x__eq", 55_000),)))
    assert b"".join(ipc_stream(plan, lambda part: RangeFile(part.blob.length, read)))
    footer = 64 * 1024
    data = sum(stop - start for start, stop in ranges if stop < len(blobs["0"]) - footer)
    assert 0 < data < len(blobs["0"]) / 5


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    start=st.none() | st.integers(0, 40),
    stop=st.none() | st.integers(0, 40),
    least=st.none() | st.integers(0, 40),
    group=st.integers(1, 4),
)
def test_a_slice_cuts_the_rows_that_pass(
    sizes: list[int], start: int | None, stop: int | None, least: int | None, group: int
) -> None:
    values = [(number * 7) % 31 for number in range(sum(sizes))]
    ends = np.cumsum(sizes)
    tables = [
        pa.table({"x": pa.array(values[end - size : end], pa.int64())}) for end, size in zip(ends, sizes, strict=True)
    ]
    manifest, blobs = manifest_of(tables, group)
    where = () if least is None else (("x__gte", least),)
    table, _ = answer(manifest, blobs, FrameQuery(where=where, start=start, stop=stop))
    frame = pd.DataFrame({"x": values}, dtype="int64")
    wanted = (frame if least is None else frame[frame.x >= least]).iloc[start:stop]
    assert table.column("x").to_pylist() == wanted.x.tolist()
    if where or start is not None or stop is not None:
        assert table.column(ROW_COLUMN).to_pylist() == wanted.index.tolist()
    else:
        assert table.schema.names == ["x"]


@pytest.mark.parametrize(
    ("column", "where"),
    [
        ("int64", ("x__gt", "5")),
        ("int64", ("x__gt", None)),
        ("int64", ("x__eq", [1])),
        ("int64", ("x", [1])),
        ("int64", ("x__contains", "1")),
        ("text", ("x__eq", 5)),
        ("text", ("x__regex", "(?=a)")),
        ("text", ("x__regex", "(")),
        ("text", ("x__eq", "\ud800")),
        ("double", ("x__gt", math.nan)),
        ("double", ("x__gt", 10**400)),
        ("timestamp ns", ("x__gt", "yesterday")),
        ("timestamp ns", ("x__gt", "2020-02-31")),
        ("timestamp ns", ("x__gt", 5)),
        ("timestamp ns", ("x__gt", "2020-01-01T00:00:00Z")),
        ("timestamp us, zone", ("x__gt", "0001-01-01T00:00:00+12:00")),
        ("bool", ("x__eq", "true")),
        ("int64", ("x__median", 5)),
    ],
)
def test_a_value_that_does_not_fit_is_refused_before_reading(column: str, where: tuple[str, Any]) -> None:
    case = CASES[column]
    manifest, _ = manifest_of([pa.table({"x": pa.array([None, *case.values], case.arrow)})], 4)
    with pytest.raises(BadFilter) as caught:
        plan_rows(manifest, FrameQuery.model_construct(where=(where,)))
    assert caught.value.message


def test_a_time_without_a_zone_is_in_the_columns_zone() -> None:
    times = pa.array([datetime(2020, 6, 1, hour, tzinfo=UTC) for hour in range(24)], pa.timestamp("s", "Europe/Berlin"))
    manifest, blobs = manifest_of([pa.table({"x": times})], 100)
    for value in ("2020-06-01T12:00", "2020-06-01 12:00:00", "2020-06-01T10:00:00Z", "2020-06-01T05:30-0430"):
        table, _ = answer(manifest, blobs, FrameQuery(where=(("x", value),)))
        assert table.column(ROW_COLUMN).to_pylist() == [10]


@pytest.mark.parametrize("zero", [0.0, -0.0, 0])
def test_both_zeros_are_zero(zero: float) -> None:
    manifest, blobs = manifest_of([pa.table({"x": [0.0, -0.0, 1.0]})], 1)
    for op, rows in {"eq": [0, 1], "ne": [2], "lte": [0, 1], "gt": [2]}.items():
        table, _ = answer(manifest, blobs, FrameQuery(where=((f"x__{op}", zero),)))
        assert table.column(ROW_COLUMN).to_pylist() == rows


def test_nanoseconds_are_exact() -> None:
    manifest, blobs = manifest_of([pa.table({"x": pa.array([1, 2, 3], pa.int64()).cast(pa.timestamp("ns"))})], 1)
    table, _ = answer(manifest, blobs, FrameQuery(where=(("x__gt", "1970-01-01T00:00:00.000000001"),)))
    assert table.column(ROW_COLUMN).to_pylist() == [1, 2]


def test_unusual_columns_can_be_filtered_or_say_that_they_cannot() -> None:
    from decimal import Decimal

    columns = {
        "float": pa.array([0.1, 0.2, None], pa.float32()),
        "half": pa.array([np.float16(0.5), np.float16(1), None], pa.float16()),
        "decimal": pa.array([Decimal("1.10"), Decimal("2.20"), None], pa.decimal128(10, 2)),
        "view": pa.array(["a", "b", None], pa.string_view()),
        "day ms": pa.array([date(2020, 1, 1), date(2020, 1, 2), None], pa.date64()),
        "list": pa.array([[1], [2], None]),
        "bytes": pa.array([b"a", b"b", None]),
        "old": pa.array([date(1, 1, 1), date(9999, 12, 31), None]),
    }
    manifest, blobs = manifest_of([pa.table(columns)], 2)
    for where, rows in {
        ("float", 0.1): [0],
        ("float__gt", 0.1): [1],
        ("half__lte", 0.5): [0],
        ("decimal", "1.1"): [0],
        ("decimal__gt", 1.5): [1],
        ("decimal__in", (2.2, None)): [1, 2],
        ("view__startswith", "b"): [1],
        ("view__nin", ("a",)): [1, 2],
        ("day ms__gt", "2020-01-01T12:00"): [1],
        ("list__isnull", True): [2],
        ("list", None): [2],
        ("list__ne", None): [0, 1],
        ("bytes__isnull", False): [0, 1],
        ("old__lt", "0001-01-02"): [0],
    }.items():
        key, value = where
        query = FrameQuery(where=((key, list(value) if isinstance(value, tuple) else value),))
        assert answer(manifest, blobs, query)[0].column(ROW_COLUMN).to_pylist() == rows, where
    for key, value in (
        ("list", 1),
        ("bytes__gt", "a"),
        ("decimal", "x"),
        ("decimal", "NaN"),
        ("decimal__gt", math.inf),
    ):
        with pytest.raises(BadFilter):
            plan_rows(manifest, FrameQuery.model_construct(where=((key, value),)))
