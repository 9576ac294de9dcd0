"""Every documented form of a body gives the same rows; every other one a clear error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omegakinds.bodies import Rows, parse_body
from omegaproto.errors import BadBody, BadInput, OmegaError

NAMED = Rows([[1, 2], [3, 4]], ("a", "b"))
BARE = Rows([[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        ({"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}, NAMED),
        ({"data": [{"a": 1, "b": 2}, {"b": 4, "a": 3}]}, NAMED),
        ({"columns": ["a", "b"], "data": [{"b": 2, "a": 1}, {"a": 3, "b": 4}]}, NAMED),
        ({"data": {"a": [1, 3], "b": [2, 4]}}, NAMED),
        ({"columns": ["a", "b"], "data": {"b": [2, 4], "a": [1, 3]}}, NAMED),
        ({"columns": ["a", "b"], "data": [1, 2, 3, 4], "shape": [2, 2]}, NAMED),
        ({"data": [[1, 2], [3, 4]]}, BARE),
        ({"data": [[1, 2, 3, 4]], "shape": [2, 2]}, BARE),
        ({"instances": [[1, 2], [3, 4]]}, BARE),
        ({"data": [1, 2]}, Rows([[1, 2]])),
        ({"data": [1, 2, 3]}, Rows([[1], [2], [3]])),
        ({"columns": ["a"], "data": [1, 2]}, Rows([[1], [2]], ("a",))),
        ({"data": {"a": 1, "b": 2}}, Rows([[1, 2]], ("a", "b"))),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_documented_forms(body: Any, rows: Rows) -> None:
    assert parse_body(json.dumps(body), features=2) == rows
    assert parse_body(json.dumps(body).encode(), features=2) == rows


def test_texts_are_taken_as_they_are() -> None:
    assert parse_body('{"data": ["good day"]}', table=False) == Rows(["good day"])


@pytest.mark.parametrize(
    "body", ["", "{", "[1]", "5", "{}", '{"data": 5}', '{"data": "x"}', '{"columns": "a", "data": [[1]]}', b"\xff"]
)
def test_bad_bodies(body: Any) -> None:
    with pytest.raises(BadBody):
        parse_body(body)


@pytest.mark.parametrize(
    "body",
    [
        {"data": []},
        {"data": {}},
        {"data": {"a": []}},
        {"data": [[1, 2], [3]]},
        {"data": [[1, 2], 3]},
        {"columns": ["a"], "data": [[1, 2]]},
        {"data": [{"a": 1}, {"b": 1}]},
        {"data": [{"a": 1}, 5]},
        {"data": {"a": [1], "b": [1, 2]}},
        {"columns": ["a"], "data": {"b": [1]}},
        {"data": [1, 2, 3], "shape": [2, 2]},
        {"data": [1], "shape": [1]},
        {"data": [1], "shape": [0, 1]},
        {"data": [1], "shape": "x"},
    ],
    ids=json.dumps,
)
def test_bad_rows(body: Any) -> None:
    with pytest.raises(BadInput):
        parse_body(json.dumps(body), features=2)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["data", "columns", "shape", "instances", "a"]), inner, max_size=4),
    ),
    max_leaves=8,
)


@given(json_values, st.one_of(st.none(), st.integers(1, 3)))
def test_any_body_is_rows_or_a_typed_error(body: Any, features: int | None) -> None:
    try:
        rows = parse_body(json.dumps(body), features)
    except OmegaError:
        return
    assert rows.rows
    assert all(len(row) == len(rows.rows[0]) for row in rows.rows)
