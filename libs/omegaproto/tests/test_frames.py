"""Filters over frames: how keys are read, and that statistics never skip a part that holds a matching row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omegaproto.errors import BadFilter, UnknownColumn
from omegaproto.frames import OPERATORS, ColumnStats, FramePart, FrameQuery, Predicate, may_match, parse_predicates
from omegaproto.objects import BlobRef

COLUMNS = ["x", "a__b", "a", "x__gt"]


def one(key: str, value: Any = 1) -> Predicate:
    (found,) = parse_predicates([(key, value)], COLUMNS)
    return found


@pytest.mark.parametrize(
    ("key", "column", "op"),
    [
        ("x", "x", "eq"),
        ("x__lt", "x", "lt"),
        ("a__b", "a__b", "eq"),
        ("a__b__gte", "a__b", "gte"),
        ("x__gt", "x__gt", "eq"),
        ("x__gt__gt", "x__gt", "gt"),
        ("a__ne", "a", "ne"),
    ],
)
def test_a_key_is_a_column_and_an_operator(key: str, column: str, op: str) -> None:
    assert one(key) == Predicate(column=column, op=op, value=1)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("x__median", 1, "no filter operator 'median'"),
        ("x__in", 1, "needs a list"),
        ("x__nin", "ab", "needs a list"),
        ("x__between", [1], "needs two values"),
        ("x__between", 5, "needs two values"),
        ("x__contains", 5, "needs text"),
        ("x__regex", "(", "not a regular expression"),
        ("x__isnull", 1, "needs True or False"),
    ],
)
def test_an_operator_that_is_unknown_or_misused_is_refused(key: str, value: Any, said: str) -> None:
    with pytest.raises(BadFilter, match=said) as caught:
        one(key, value)
    assert caught.value.action


@pytest.mark.parametrize(("key", "name"), [("y", "y"), ("y__gt", "y"), ("y__z", "y__z"), ("__gt", ""), ("", "")])
def test_a_column_that_is_unknown_is_named(key: str, name: str) -> None:
    with pytest.raises(UnknownColumn) as caught:
        one(key)
    assert caught.value.details["column"] == name


def test_a_query_survives_json() -> None:
    query = FrameQuery(where=(("x__in", [1, None, "a"]), ("y__isnull", True)), start=1, keep=("i",))
    assert FrameQuery.model_validate_json(query.model_dump_json()) == query


def holds(op: str, cell: Any, value: Any) -> bool:
    """Say whether one cell satisfies a condition: the meaning of each operator."""
    if op == "isnull":
        return (cell is None) == value
    if op in {"eq", "in"}:
        return cell in (value if op == "in" else [value])
    if op in {"ne", "nin"}:
        return cell not in (value if op == "nin" else [value])
    if cell is None:
        return False
    results = {
        "gt": lambda: cell > value,
        "gte": lambda: cell >= value,
        "lt": lambda: cell < value,
        "lte": lambda: cell <= value,
        "between": lambda: value[0] <= cell <= value[1],
        "contains": lambda: value in cell,
        "startswith": lambda: cell.startswith(value),
        "endswith": lambda: cell.endswith(value),
        "regex": lambda: value in cell,
    }
    return results[op]()


@st.composite
def parts_and_conditions(draw: st.DrawFn) -> tuple[list[Any], FramePart, Predicate]:
    """Draw cells of one type, statistics of them that may be too wide or unknown, and a condition."""
    values: Any = draw(
        st.sampled_from([st.integers(-3, 3), st.floats(-2, 2, width=16), st.text("abc", max_size=3), st.booleans()])
    )
    cells = draw(st.lists(st.one_of(values, st.none()), max_size=5))
    held = [cell for cell in cells if cell is not None]
    low = min([*held, *draw(st.lists(values, max_size=1))], default=None)
    high = max([*held, *draw(st.lists(values, max_size=1))], default=None)
    stats = ColumnStats(
        min=draw(st.sampled_from([low, None])),
        max=draw(st.sampled_from([high, None])),
        nulls=draw(st.sampled_from([cells.count(None), None])),
    )
    text = {"regex", "contains", "startswith", "endswith"}
    op = draw(st.sampled_from(sorted(set(OPERATORS) - (text if not isinstance(low, str) else set()))))
    value: Any
    if op == "isnull":
        value = draw(st.booleans())
    elif op == "between":
        value = draw(st.lists(values, min_size=2, max_size=2))
    elif op in {"in", "nin"}:
        value = draw(st.lists(st.one_of(values, st.none()), max_size=3))
    elif op in {"eq", "ne"}:
        value = draw(st.one_of(values, st.none()))
    else:
        value = draw(values)
    known = {"x": stats} if draw(st.booleans()) or held else {}
    part = FramePart(blob=BlobRef(id="p", sha256="", length=0), rows=len(cells), stats=known)
    return cells, part, Predicate(column="x", op=op, value=value)


@given(parts_and_conditions())
def test_no_part_with_a_matching_row_is_skipped(drawn: tuple[list[Any], FramePart, Predicate]) -> None:
    cells, part, predicate = drawn
    if any(holds(predicate.op, cell, predicate.value) for cell in cells):
        assert may_match(part, predicate)


@pytest.mark.parametrize(
    ("op", "value"),
    [
        ("eq", 9), ("eq", 21), ("gt", 20), ("gte", 21), ("lt", 10), ("lte", 9), ("between", [0, 9]),
        ("between", [21, 30]), ("in", []), ("in", [9, 21]), ("isnull", True),
    ],
)  # fmt: skip
def test_what_the_statistics_rule_out_is_skipped(op: str, value: Any) -> None:
    part = FramePart(
        blob=BlobRef(id="p", sha256="", length=0), rows=3, stats={"x": ColumnStats(min=10, max=20, nulls=0)}
    )
    assert not may_match(part, Predicate(column="x", op=op, value=value))
    assert may_match(part, Predicate(column="y", op=op, value=value))


def test_a_part_of_one_value_is_skipped_by_ne() -> None:
    part = FramePart(blob=BlobRef(id="p", sha256="", length=0), rows=3, stats={"x": ColumnStats(min=1, max=1, nulls=0)})
    assert not may_match(part, Predicate(column="x", op="ne", value=1))
    assert not may_match(part, Predicate(column="x", op="nin", value=[2, 1]))
    assert may_match(part, Predicate(column="x", op="ne", value=True))


@pytest.mark.parametrize(
    ("op", "value", "expected"),
    [
        ("eq", None, True),
        ("in", [1, None], True),
        ("in", [1], False),
        ("gt", 1, False),
        ("ne", 1, True),
        ("ne", None, False),
    ],
)
def test_a_part_of_nulls(op: str, value: Any, expected: bool) -> None:
    part = FramePart(blob=BlobRef(id="p", sha256="", length=0), rows=2, stats={"x": ColumnStats(nulls=2)})
    assert may_match(part, Predicate(column="x", op=op, value=value)) is expected


@pytest.mark.parametrize("op", ["eq", "gt", "gte", "lt", "lte"])
def test_a_value_of_another_type_skips_nothing(op: str) -> None:
    part = FramePart(blob=BlobRef(id="p", sha256="", length=0), rows=2, stats={"x": ColumnStats(min=1, max=2, nulls=0)})
    assert may_match(part, Predicate(column="x", op=op, value="text"))
