"""What the words of a command line stand for: options as key=value, X and Y, the format of a file. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Literal

import typer

Format = Literal["csv", "parquet", "image", "binary"]

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_PYTHON = {"True": True, "False": False, "None": None}
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".png": "image",
    ".jpg": "image",
    ".jpeg": "image",
    ".gif": "image",
    ".bmp": "image",
    ".tif": "image",
    ".tiff": "image",
}


def parse_value(text: str) -> Any:
    r"""Give what an option's value stands for: JSON, True, False, None, or the text itself (``\t`` is a tab)."""
    if text in _PYTHON:
        return _PYTHON[text]
    try:
        return json.loads(text)
    except ValueError:
        return text.replace(r"\t", "\t")


def parse_pairs(texts: Iterable[str], option: str) -> dict[str, Any]:
    """Give ``key=value`` texts as a dict, the last of each key. Raises BadParameter for other texts."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{text!r} is not key=value.", param_hint=option)
        found[key] = parse_value(value)
    return found


def parse_input(text: str, argument: str) -> Any:
    """Give X or Y: a number, JSON in brackets, or the text, which then names a dataset.

    A number is one row of one feature as X, one target otherwise. Raises BadParameter when the JSON is not whole.
    """
    if _NUMBER.fullmatch(text):
        number = float(text) if set(text) & set(".eE") else int(text)
        return [[number]] if argument == "X" else [number]
    if text[:1] not in {"[", "{"}:
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not JSON: {error}.", param_hint=argument) from error


def format_of(path: str) -> Format:
    """Give the format that a path's ending stands for; whatever is not known is binary."""
    return next((known for ending, known in _SUFFIXES.items() if path.lower().endswith(ending)), "binary")
