"""Documents in SQLite, as text of SQL: tables, indexes and conditions. Pure; `sqlite` runs what this compiles.

A table holds documents as JSON text. A field is the expression `ifnull(json_extract(doc, path), -9e999)`: None is below
every number, so that equality, sorting and paging need no cases for it, and an index on the expression serves all.
"""

# ruff: noqa: S608 - names and paths are checked here; values are always parameters.

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from omegakit.docs.jsontext import BOOL, BYTES, NUMBER, TAG, TIME, encoded_text, scalar
from omegakit.docs.paging import Order
from omegakit.docs.port import Collection, Cond, Index
from omegakit.docs.values import check_conditions, path_of
from omegaproto.errors import BadName

NONE = "-9e999"
_NONE_VALUE = float("-inf")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_SIGNS = {1: ">", -1: "<"}
_TAGS = (BYTES, BOOL, TIME, NUMBER)

Sql = tuple[str, list[Any]]


def table(collection: str) -> str:
    """Give the quoted table of a collection. Raises BadName for a name that is not plain."""
    if not _NAME.fullmatch(collection):
        raise BadName(
            f"{collection!r} is no collection name.", action="Use letters, digits, dots, dashes, underscores."
        )
    return f'"{collection}"'


def expression(field: str) -> str:
    """Give the SQL expression of a field's value."""
    return "id" if field == "_id" else f"ifnull(json_extract(doc,{json_path(field)}),{NONE})"


def json_path(field: str) -> str:
    """Give the field's JSON path as a SQL literal."""
    path = "".join(f'."{encoded_text(step)}"' for step in path_of(field))
    return "'$" + path.replace("'", "''") + "'"


def index_name(collection: str, index: Index) -> str:
    """Give the name of an index, which tells its fields and whether it is unique."""
    return f"{collection}:{','.join(index.fields)}:{'unique' if index.unique else 'order'}"


def schema(collection: Collection) -> list[str]:
    """Give the statements that make a collection's table and indexes where they are missing."""
    name = table(collection.name)
    indexes = [*collection.indexes, *([Index((collection.expires,))] if collection.expires else [])]
    return [
        f"CREATE TABLE IF NOT EXISTS {name} (id TEXT PRIMARY KEY NOT NULL, doc TEXT NOT NULL)",
        *(_index(collection.name, index) for index in indexes),
    ]


def _index(collection: str, index: Index) -> str:
    fields = [expression(field) for field in index.fields]
    # With the last field None the _id joins the key, so that such documents are left out of the unique rule.
    fields.append(f"iif({fields[-1]}={NONE},id,0)" if index.unique else "id")
    name = index_name(collection, index).replace('"', '""')
    unique = "UNIQUE " if index.unique else ""
    return f'CREATE {unique}INDEX IF NOT EXISTS "{name}" ON {table(collection)} ({",".join(fields)})'


def conditions(where: Iterable[Cond]) -> Sql:
    """Give conditions as SQL with parameters. Raises BadFilter for one that cannot be answered."""
    where = tuple(where)
    check_conditions(where)
    parts = [_condition(cond) for cond in where]
    return " AND ".join(text for text, _ in parts) or "1", [each for _, values in parts for each in values]


def _condition(cond: Cond) -> Sql:
    match cond.op:
        case "==":
            return _equal(cond.field, cond.value)
        case "!=":
            text, values = _equal(cond.field, cond.value)
            return f"NOT {text}", values
        case "in":
            return _member(cond)
        case "prefix":
            start = encoded_text(cond.value)
            field = expression(cond.field)
            return f"({field}>=? AND {field}<?{_only_text(cond.field)})", [start, above(start)]
        case "contains":
            return _contains(cond)
        case _ if cond.value is None:
            return "0", []
        case _:
            return _compared(cond)


def _compared(cond: Cond) -> Sql:
    field, value = expression(cond.field), _value(cond.value)
    low, high = _kin(value)
    guard = _only_text(cond.field) if isinstance(cond.value, str) else ""
    return f"({field}{cond.op}? AND {field}>? AND {field}<?{guard})", [value, low, high]


def _equal(field: str, value: Any) -> Sql:
    guard = f" AND {_kind(field)}{_is_kind(value)}" if _ambiguous(value) and field != "_id" else ""
    return f"({expression(field)}=?{guard})", [_value(value)]


def _member(cond: Cond) -> Sql:
    plain = [_value(each) for each in cond.value if not _ambiguous(each)]
    parts = [(f"{expression(cond.field)} IN ({','.join('?' * len(plain))})", plain)]
    parts += [_equal(cond.field, each) for each in cond.value if _ambiguous(each)]
    return f"({' OR '.join(text for text, _ in parts)})", [each for _, values in parts for each in values]


def _contains(cond: Cond) -> Sql:
    path = json_path(cond.field)
    guard = f" AND type{_is_kind(cond.value)}" if _ambiguous(cond.value) else ""
    elements = f"SELECT 1 FROM json_each(doc,{path}) WHERE ifnull(value,{NONE})=?{guard}"
    return f"({_kind(cond.field)}='array' AND EXISTS ({elements}))", [_value(cond.value)]


def _ambiguous(value: Any) -> bool:
    """Tell whether SQLite shows another value in the same way: lists and dicts come out as text."""
    return isinstance(value, list | tuple | dict) or (isinstance(value, str) and value.startswith(("[", "{")))


def _kind(field: str) -> str:
    return f"json_type(doc,{json_path(field)})"


def _is_kind(value: Any) -> str:
    return "='text'" if isinstance(value, str) else " IN ('array','object')"


def _only_text(field: str) -> str:
    return "" if field == "_id" else f" AND {_kind(field)}='text'"


def _value(value: Any) -> Any:
    return _NONE_VALUE if value is None else scalar(value)


def _kin(value: Any) -> tuple[Any, Any]:
    """Give exclusive bounds of the values of the same type, since SQLite would compare across types."""
    if not isinstance(value, str):
        return _NONE_VALUE, ""
    tag = next((each for each in _TAGS if value.startswith(each)), None)
    return (tag, f"{tag}{TAG}") if tag else (float("inf"), TAG)


def above(prefix: str) -> str:
    """Give the least text above all text that starts with `prefix`, in the order of UTF-8."""
    kept = prefix.rstrip(TAG)
    if not kept:
        return TAG
    code = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if code == 0xD800 else code)


def following(order: Order, values: Sequence[Any]) -> Sql:
    """Give the condition for what comes after the document with these sort values."""
    fields = [expression(field) for field, _ in order]
    bound = [_value(value) for value in values]
    directions = {direction for _, direction in order}
    if len(directions) == 1:
        sign = _SIGNS[directions.pop()]
        return f"({','.join(fields)}){sign}({','.join('?' * len(fields))})", bound
    parts, parameters = [], []
    for at, (_, direction) in enumerate(order):
        equal = [f"{field}=?" for field in fields[:at]]
        beyond = f"{fields[at]}{_SIGNS[direction]}?"
        parts.append(f"({' AND '.join([*equal, beyond])})")
        parameters += bound[: at + 1]
    return f"({' OR '.join(parts)})", parameters


def ordering(order: Order) -> str:
    """Give the ORDER BY terms."""
    return ",".join(f"{expression(field)} {'ASC' if direction == 1 else 'DESC'}" for field, direction in order)
