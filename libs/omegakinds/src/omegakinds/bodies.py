"""Request bodies as rows: what a caller may send to a model, parsed and checked without the model.

Accepted are ``{"data": rows}`` with optional ``columns`` and ``shape``, where rows are lists, dicts, or a dict of
columns, and KServe's ``{"instances": rows}``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from omegaproto.errors import BadBody, BadInput

_HELP = 'Send {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}.'


@dataclass(frozen=True)
class Rows:
    """The rows of one request, and the names of their columns when the request gave them."""

    rows: list[Any]
    names: tuple[str, ...] | None = None


def parse_body(body: str | bytes, features: int | None = None, *, table: bool = True) -> Rows:
    """Parse one body. A flat list is one row when it has as many values as `features`, else one column.

    With `table` False (models that read texts or dicts) the items are taken as they are.

    Raises:
        BadBody: it is not JSON, or not of an accepted form.
        BadInput: rows and columns do not fit together.
    """
    try:
        found = from_json(body)
    except ValueError as error:
        raise BadBody(f"The body is not JSON: {error}.", action=_HELP) from error
    if type(found) is not dict or ("data" not in found and "instances" not in found):
        raise BadBody("The body has neither data nor instances.", action=_HELP)
    data = found["data"] if "data" in found else found["instances"]
    names = _names(found.get("columns"))
    if type(data) is list and found.get("shape") is None:
        if not table:
            return Rows(data)
        if data and type(data[0]) is list:
            return _checked(data, names)
    return _other_form(data, names, found.get("shape"), features)


def _names(columns: Any) -> tuple[str, ...] | None:
    if columns is None:
        return None
    if type(columns) is not list or not all(type(name) is str for name in columns):
        raise BadBody("columns is not a list of texts.", action=_HELP)
    return tuple(columns)


def _checked(rows: list[Any], names: tuple[str, ...] | None) -> Rows:
    width = len(rows[0]) if names is None else len(names)
    for row in rows:
        if type(row) is not list or len(row) != width:
            raise BadInput(f"A row has not {width} values.", action="Give every row one value for each column.")
    return Rows(rows, names)


def _other_form(data: Any, names: tuple[str, ...] | None, shape: Any, features: int | None) -> Rows:
    if type(data) is dict:
        return _from_columns(data, names)
    if type(data) is not list:
        raise BadBody("data is neither a list nor an object.", action=_HELP)
    if shape is not None:
        return _checked(_reshape(data, shape), names)
    if not data:
        raise BadInput("There are no rows.", action=_HELP)
    if type(data[0]) is dict:
        return _from_dicts(data, names)
    width = features if names is None else len(names)
    if width is not None and width != 1 and len(data) == width:
        return _checked([data], names)
    return _checked([[value] for value in data], names)


def _from_columns(data: dict[str, Any], names: tuple[str, ...] | None) -> Rows:
    columns = tuple(data)
    if not columns or (names is not None and set(names) != set(columns)):
        raise BadInput("columns and the names in data differ.", action=_HELP)
    columns = names or columns
    values = [data[name] if type(data[name]) is list else [data[name]] for name in columns]
    if len({len(column) for column in values}) != 1:
        raise BadInput("The columns in data differ in length.", action="Give every column one value for each row.")
    return _nonempty([list(row) for row in zip(*values, strict=True)], columns)


def _from_dicts(data: list[Any], names: tuple[str, ...] | None) -> Rows:
    columns = tuple(data[0]) if names is None else names
    rows = []
    for row in data:
        if type(row) is not dict or len(row) != len(columns) or any(name not in row for name in columns):
            raise BadInput(
                "The rows in data differ in their names.", action=f"Give every row the names {', '.join(columns)}."
            )
        rows.append([row[name] for name in columns])
    return Rows(rows, columns)


def _nonempty(rows: list[Any], names: tuple[str, ...]) -> Rows:
    if not rows:
        raise BadInput("There are no rows.", action=_HELP)
    return Rows(rows, names)


def _reshape(data: list[Any], shape: Any) -> list[Any]:
    flat = data
    while flat and type(flat[0]) is list:
        flat = [value for row in flat for value in row]
    if type(shape) is not list or len(shape) != 2 or not all(type(side) is int and side > 0 for side in shape):
        raise BadInput("shape is not two whole numbers, rows and columns.", action='Send "shape": [2, 4].')
    if math.prod(shape) != len(flat):
        raise BadInput(f"The shape {shape} does not hold {len(flat)} values.", action="Correct shape or data.")
    return [flat[start : start + shape[1]] for start in range(0, len(flat), shape[1])]
