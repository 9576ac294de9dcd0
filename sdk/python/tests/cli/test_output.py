"""How results look: text when piped, JSON when asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from omegamesh.cli.output import show_json, show_table, show_value, text_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("<Metadata: …>", "<Metadata: …>"),
        (np.arange(3), "[0, 1, 2]"),
        (np.float64(0.5), "0.5"),
        ([1, "a"], '[1, "a"]'),
        (None, "null"),
        ({1, 2}, "{1, 2}"),
        (pd.DataFrame({"a": [1]}), "   a\n0  1"),
    ],
)
def test_a_result_as_text(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_many_values_are_not_abbreviated() -> None:
    assert text_of(np.zeros(5000)).count("0.0") == 5000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.arange(2), "[\n  0,\n  1\n]\n"),
        (pd.Series([1.5], name="a"), '{\n  "0": 1.5\n}\n'),
        (object, "\"<class 'object'>\"\n"),
        ({"a": None}, '{\n  "a": null\n}\n'),
    ],
)
def test_a_result_as_json(capsys: pytest.CaptureFixture[str], value: Any, text: str) -> None:
    show_json(value)
    show_value(value, as_json=True)
    assert capsys.readouterr().out == text * 2


def test_a_table_is_plain_lines_when_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("a", "b"), [(1, 2)], ["one"])
    assert capsys.readouterr().out == "one\n"


def test_a_table_has_a_head_in_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_table(("name", "kind"), [("sample", "pandas.dfrows")], ["sample"])
    shown = capsys.readouterr().out
    assert "name" in shown
    assert "pandas.dfrows" in shown
