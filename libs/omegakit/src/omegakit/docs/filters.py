"""Conditions, orders and indexes as MongoDB has them. Pure; `mongodb` sends what this compiles.

MongoDB lets a condition on a list hold for any of its elements; the port does not, hence the guards against lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from omegakit.docs.bsondoc import DATE, to_value
from omegakit.docs.paging import Order
from omegakit.docs.port import Collection, Cond, Index, Update
from omegakit.docs.values import check_conditions, rank

Filter = dict[str, Any]

NOTHING: Filter = {"_id": {"$in": []}}
_NO_LIST: Filter = {"$type": "array"}
_ORDERS = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
# The types of values in MongoDB's order; times are stored as objects.
_TYPES: tuple[tuple[str, ...], ...] = (("number",), ("string",), ("object",), ("array",), ("binData",), ("bool",))
_NOT_NULL: Filter = {"$type": [name for names in _TYPES for name in names]}


def index_keys(index: Index) -> list[tuple[str, int]]:
    """Give the keys of an index for finds: the _id comes last, since it breaks ties."""
    fields = [*index.fields, *([] if "_id" in index.fields else ["_id"])]
    return [(field, 1) for field in fields]


def unique_rule(index: Index) -> tuple[list[tuple[str, int]], Filter]:
    """Give the keys of a unique index, and which documents are in it: those whose last field is not None."""
    return [(field, 1) for field in index.fields], {index.fields[-1]: _NOT_NULL}


def expiry_key(field: str) -> str:
    """Give the path of the date that a TTL index watches."""
    return f"{field}.{DATE}"


def alive(collection: Collection, now: datetime) -> list[Filter]:
    """Give the filters that leave out what has expired."""
    if collection.expires is None:
        return []
    return [{collection.expires: {"$not": {"$lte": to_value(now)}}}]


def expired(field: str, now: datetime) -> Filter:
    """Give the filter of what has expired."""
    return {field: {"$lte": to_value(now)}}


def every(filters: Sequence[Filter]) -> Filter:
    """Give one filter for all."""
    if len(filters) == 1:
        return filters[0]
    return {"$and": list(filters)} if filters else {}


def conditions(where: Iterable[Cond]) -> list[Filter]:
    """Give conditions as filters. Raises BadFilter for one that cannot be answered."""
    where = tuple(where)
    check_conditions(where)
    return [_condition(cond) for cond in where]


def _condition(cond: Cond) -> Filter:
    field = cond.field
    match cond.op:
        case "==":
            return {field: _alone(cond, {"$eq": to_value(cond.value)})}
        case "!=":
            return _unequal(cond)
        case "in":
            return {field: _alone(cond, {"$in": [to_value(each) for each in cond.value]})}
        case "contains":
            return {field: {"$elemMatch": {"$eq": to_value(cond.value)}}}
        case "prefix":
            return {field: _alone(cond, _from(cond.value))}
        case _ if cond.value is None:
            return NOTHING
        case _:
            return {field: _alone(cond, {_ORDERS[cond.op]: to_value(cond.value)})}


def _alone(cond: Cond, test: Filter) -> Filter:
    values = cond.value if cond.op == "in" else [cond.value]
    if cond.field == "_id" or any(isinstance(each, list) for each in values):
        return test
    return {**test, "$not": _NO_LIST}


def _unequal(cond: Cond) -> Filter:
    test = {cond.field: {"$ne": to_value(cond.value)}}
    if cond.field == "_id" or isinstance(cond.value, list):
        return test
    return {"$or": [test, {cond.field: _NO_LIST}]}


def _from(prefix: str) -> Filter:
    above = _above(prefix)
    return {"$gte": to_value(prefix), **({} if above is None else {"$lt": above})}


def _above(prefix: str) -> str | None:
    """Give the least text above all that starts with `prefix`; None when there is none."""
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return None
    code = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if code == 0xD800 else code)


def following(order: Order, values: Sequence[Any]) -> Filter:
    """Give the filter for what comes after the document with these sort values, over all types."""
    branches = []
    for at, (field, direction) in enumerate(order):
        equal = [{name: to_value(value)} for (name, _), value in zip(order[:at], values[:at], strict=True)]
        branches += [every([*equal, each]) for each in _beyond(field, direction, values[at])]
    return {"$or": branches} if branches else NOTHING


def _beyond(field: str, direction: int, value: Any) -> list[Filter]:
    place = _place(value)
    same = [] if value is None else [{field: {"$gt" if direction == 1 else "$lt": to_value(value)}}]
    if field == "_id":
        return same
    others = _TYPES[place:] if direction == 1 else _TYPES[: max(0, place - 1)]
    types = [name for names in others for name in names]
    typed = [{field: {"$type": types}}] if types else []
    none = [{field: None}] if direction == -1 and value is not None else []
    return [*same, *typed, *none]


def _place(value: Any) -> int:
    return 3 if isinstance(value, datetime) else rank(value)


def change(update: Update) -> Filter:
    """Give an update's operators."""
    change: Filter = {}
    if update.set:
        change["$set"] = {field: to_value(value) for field, value in update.set.items()}
    if update.inc:
        change["$inc"] = dict(update.inc)
    if update.unset:
        change["$unset"] = dict.fromkeys(update.unset, "")
    return change
