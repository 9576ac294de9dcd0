"""Statistics of Parquet footers as bounds that are never too narrow."""

from __future__ import annotations

import io
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_blobstore.frames.footers import read_footer
from omega_blobstore.frames.statistics import MAX_TEXT
from omegaproto.frames import ColumnStats


def stats(values: pa.Array, group: int = 2, **options: Any) -> ColumnStats:
    out = io.BytesIO()
    pq.write_table(pa.table({"x": values}), out, row_group_size=group, **options)
    data = out.getvalue()
    return read_footer("p", len(data), data, 1 << 30).stats["x"]


@pytest.mark.parametrize(
    ("values", "low", "high", "nulls"),
    [
        (pa.array([3, None, 1, 2]), 1, 3, 1),
        (pa.array([None, None, 1]), 1, 1, 2),
        (pa.array([None, None], pa.int64()), None, None, 2),
        (pa.array([], pa.int64()), None, None, 0),
        (pa.array([1, 2**64 - 1], pa.uint64()), 1, 2**64 - 1, 0),
        (pa.array([True, False]), False, True, 0),
        (pa.array([1.5, None, -2.0]), -2.0, 1.5, None),
        (pa.array([None, None], pa.float64()), None, None, 2),
        (pa.array([1.0, float("nan")]), 1.0, 1.0, None),
        (pa.array([float("nan"), float("nan"), 1.0]), None, None, None),
        (pa.array([1.0, float("inf")]), 1.0, None, None),
        (pa.array(["b", None, "a"]), "a", "b", 1),
        (pa.array(["b", "a"]).dictionary_encode(), "a", "b", 0),
        (pa.array([date(2020, 1, 2), date(1, 1, 1)]), "0001-01-01", "2020-01-02", 0),
        (
            pa.array([0, 10**9 + 1], pa.timestamp("ns")),
            "1970-01-01T00:00:00.000000000",
            "1970-01-01T00:00:01.000000001",
            0,
        ),
        (pa.array([-1], pa.timestamp("us", "Asia/Tokyo")), *["1969-12-31T23:59:59.999999Z"] * 2, 0),
        (pa.array([1], pa.timestamp("ms")), *["1970-01-01T00:00:00.001"] * 2, 0),
        (pa.array([2**62], pa.timestamp("ms")), None, None, 0),
        (pa.array([[1], None]), None, None, None),
        (pa.array([b"a", None]), None, None, 1),
    ],
)
def test_bounds(values: pa.Array, low: Any, high: Any, nulls: int | None) -> None:
    found = stats(values)
    assert (found.min, found.max, found.nulls) == (low, high, nulls)
    assert type(found.min) is type(low)
    assert ColumnStats.model_validate_json(found.model_dump_json()) == found


def test_a_file_without_statistics_has_none() -> None:
    assert stats(pa.array([1, 2]), write_statistics=False) == ColumnStats()


@given(st.lists(st.text(min_size=1, max_size=4).map(lambda text: text * 30), min_size=1, max_size=4))
def test_long_text_is_cut_outwards(values: list[str]) -> None:
    found = stats(pa.array(values))
    if found.min is not None:
        assert len(found.min) <= MAX_TEXT
        assert found.min <= min(values)
    if found.max is not None:
        assert len(found.max) <= MAX_TEXT
        assert found.max >= max(values)


@pytest.mark.parametrize(("last", "bound"), [("a", "b"), ("\ud7ff", "\ue000"), ("\U0010ffff", None)])
def test_the_upper_bound_of_cut_text(last: str, bound: str | None) -> None:
    found = stats(pa.array(["a" * (MAX_TEXT - 1) + last + "more"]))
    assert found.max == (None if bound is None else "a" * (MAX_TEXT - 1) + bound)
