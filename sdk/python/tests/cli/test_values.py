"""What the words of a command line stand for."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from omegamesh.cli.values import format_of, parse_input, parse_pairs, parse_value

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_json_stands_for_itself(value: Any) -> None:
    assert parse_value(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("True", True), ("None", None), (";", ";"), (r"\t", "\t"), ("utf-8", "utf-8"), ("", ""), ('"1"', "1")],
)
def test_other_values(text: str, value: Any) -> None:
    assert parse_value(text) == value


def test_pairs_split_at_the_first_equals_sign() -> None:
    assert parse_pairs(["sep==", "nrows=3", "nrows=4"], "--csv") == {"sep": "=", "nrows": 4}


@pytest.mark.parametrize("text", ["", "sep", "=x"])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="not key=value"):
        parse_pairs([text], "--csv")


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_one_row_of_x_and_one_target_of_y(number: float) -> None:
    assert parse_input(str(number), "X") == [[number]]
    assert parse_input(str(number), "Y") == [number]


@given(st.lists(st.lists(st.integers(), min_size=1), min_size=1))
def test_brackets_are_data(rows: list[list[int]]) -> None:
    assert parse_input(json.dumps(rows), "X") == rows


@pytest.mark.parametrize("name", ["sales", "sales[^y]", "sales[x,y]@v1", "a/b^", "nan", "inf", "1_000", "1e", "0x1"])
def test_everything_else_names_a_dataset(name: str) -> None:
    assert parse_input(name, "X") == name


def test_json_that_is_cut_off_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="not JSON"):
        parse_input("[[1, 2]", "X")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.csv", "csv"),
        ("A.CSV", "csv"),
        ("a.csv.gz", "csv"),
        ("a.parquet", "parquet"),
        ("a.b.PNG", "image"),
        ("a.zip", "binary"),
        ("csv", "binary"),
    ],
)
def test_the_format_by_a_paths_ending(path: str, expected: str) -> None:
    assert format_of(path) == expected
