"""Plain values come back as they were, and what is not plain is named by its path."""

from __future__ import annotations

import math
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omegakinds import plain
from omegakinds.python import PythonData
from omegaproto.errors import UnknownKind

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.dates(),
    st.datetimes(timezones=st.one_of(st.none(), st.just(UTC), st.timezones())), st.timedeltas(), st.times(),
    st.decimals(allow_nan=False), st.uuids(), st.complex_numbers(allow_nan=False),
)  # fmt: skip
keys = st.one_of(st.text(), st.just(plain.TAG), st.integers(), st.tuples(st.integers(), st.text()))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(st.integers(), max_size=3),
        st.frozensets(st.text(), max_size=3),
    ),
    max_leaves=12,
)


@given(values)
def test_any_value_comes_back(value: Any) -> None:
    back = plain.loads(plain.dumps(value))
    assert back == value
    assert repr(back) == repr(value) or isinstance(value, set | frozenset | list | tuple | dict)


@pytest.mark.parametrize(
    "value",
    [
        math.inf,
        -0.0,
        bytearray(b"x"),
        {plain.TAG: 1},
        datetime(2020, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
        datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        time(1, 2, 3, tzinfo=UTC),
        date(2020, 1, 1),
        Decimal("1.10"),
        UUID(int=5),
        np.float32(1.5),
        np.int64(7),
        np.str_("a"),
        np.datetime64("2020-01-01"),
        pd.Timestamp("2020-01-01", tz="Europe/Berlin").as_unit("ns"),
        pd.Timestamp("2020-01-01 00:00:00.123456789"),
        pd.Timedelta("1s"),
        pd.NA,
        pd.NaT,
    ],
    ids=repr,
)
def test_special_values_come_back(value: Any) -> None:
    assert plain.is_plain(value)
    back = plain.loads(plain.dumps(value))
    assert (type(back), repr(back)) == (type(value), repr(value))


def test_nan_comes_back() -> None:
    assert math.isnan(plain.loads(plain.dumps(float("nan"))))


def test_arrays_inside_come_back_writable() -> None:
    back = plain.loads(plain.dumps([np.arange(6).reshape(2, 3)]))[0]
    back[0, 0] = 9
    assert back.tolist() == [[9, 1, 2], [3, 4, 5]]


Point = namedtuple("Point", "x")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, print]}, "value['a'][1]"),
        ({"a": Point(1)}, "value['a']"),
        ([OrderedDict()], "value[0]"),
        ([pd.DataFrame()], "value[0]"),
        ([np.array([object()])], "value[0]"),
        ({print: 1}, "value key"),
    ],
    ids=["function", "namedtuple", "ordered", "frame", "objects", "key"],
)
def test_what_is_not_plain_is_named_by_its_path(value: Any, path: str) -> None:
    with pytest.raises(UnknownKind) as caught:
        plain.dumps(value)
    assert caught.value.message.startswith(path)


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UnknownKind, match="holds itself"):
        plain.dumps(loop)


@pytest.mark.parametrize(
    "value", [np.arange(2), pd.DataFrame(), object(), Point(1)], ids=["array", "frame", "object", "nt"]
)
def test_not_plain(value: Any) -> None:
    assert not plain.is_plain(value)


def test_the_kind_stores_plain_data(blobs: Any) -> None:
    kind = PythonData()
    assert kind.supports({"a": 1}, "x")
    dumped = kind.dump({"a": (1, 2)}, blobs)
    assert kind.load(dumped, blobs) == {"a": (1, 2)}


def test_equal_sets_are_written_alike() -> None:
    """Their order depends on the process; what is stored must not, or a repeated put would look like another one."""
    words = [f"word{number}" for number in range(50)]
    there, back = set(words), {*words[::-1]}
    back.discard("word7")
    back.add("word7")
    assert plain.dumps(there) == plain.dumps(back)
    assert plain.loads(plain.dumps({1, "1", (2, frozenset({3}))})) == {1, "1", (2, frozenset({3}))}
