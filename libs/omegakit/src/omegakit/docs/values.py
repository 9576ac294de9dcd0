"""Pure rules that every adapter shares: what a document may hold, paths, conditions, changes, and the order of values.

`matches` and `changed` are the meaning of `Cond` and `Update`; the adapters' query languages must agree with them.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any

from omegakit.docs.port import Cond, Doc, Update
from omegaproto.errors import BadBody, BadFilter, DuplicateKey

MAX_DOC_BYTES = 16 * 1024 * 1024
_BAD_PATH = re.compile(r'["\\\x00-\x1f]')
_RANKS: tuple[tuple[type | tuple[type, ...], int], ...] = (
    (bool, 6),
    ((int, float), 1),
    (str, 2),
    (dict, 3),
    (list, 4),
    (bytes, 5),
    (datetime, 7),
)
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@lru_cache(4096)
def path_of(field: str) -> tuple[str, ...]:
    """Give the steps of a dotted path. Raises BadFilter for an empty step, a quote, backslash or control character."""
    steps = field.split(".")
    if _BAD_PATH.search(field) or not all(steps) or any(step.startswith("$") for step in steps):
        raise BadFilter(
            f"The field {field!r} cannot be looked up.",
            action="Use dotted names without quotes, backslashes, control characters or a leading dollar sign.",
        )
    return tuple(steps)


def value_at(doc: Doc, field: str) -> Any:
    """Give the value at a dotted path that leads through dicts; None when there is none."""
    found: Any = doc
    for step in path_of(field):
        if not isinstance(found, dict):
            return None
        found = found.get(step)
    return found


def rank(value: Any) -> int:
    """Give the place of a value's type in the order: None, numbers, text, dicts, lists, bytes, bools, times."""
    return next((place for kind, place in _RANKS if isinstance(value, kind)), 0)


def order_key(value: Any) -> tuple[int, Any]:
    """Give a sort key that orders values of all types; bytes by length first, as MongoDB has them."""
    place = rank(value)
    if place == 0:
        return 0, 0
    if place == 5:
        return 5, (len(value), value)
    return place, repr(value) if place in (3, 4) else value


def matches(doc: Doc, where: Iterable[Cond]) -> bool:
    """Tell whether a document fulfils all conditions."""
    return all(_holds(value_at(doc, cond.field), cond) for cond in where)


def _holds(value: Any, cond: Cond) -> bool:
    match cond.op:
        case "==":
            return _same(value, cond.value)
        case "!=":
            return not _same(value, cond.value)
        case "in":
            return any(_same(value, each) for each in cond.value)
        case "contains":
            return isinstance(value, list) and any(_same(each, cond.value) for each in value)
        case "prefix":
            return isinstance(value, str) and value.startswith(cond.value)
        case _:
            here, there = order_key(value), order_key(cond.value)
            return here[0] == there[0] != 0 and _ORDERS[cond.op](here[1], there[1])


def _same(left: Any, right: Any) -> bool:
    return rank(left) == rank(right) and bool(left == right)


def check_conditions(where: Iterable[Cond]) -> None:
    """Raise BadFilter for a condition that no adapter can answer."""
    for cond in where:
        path_of(cond.field)
        if cond.op in _ORDERS and rank(cond.value) in (3, 4):
            raise BadFilter(
                f"The field {cond.field!r} is compared with a list or dict.", action="Compare with a single value."
            )
        if cond.op == "prefix" and not isinstance(cond.value, str):
            raise BadFilter(f"The prefix for {cond.field!r} is not text.", action="Give the prefix as text.")


def check_doc(doc: Doc) -> None:
    """Raise BadBody unless `_id` is text; values are checked where they are encoded."""
    if not isinstance(doc.get("_id"), str):
        raise BadBody("A document has no text _id.", action="Give every document an _id of type str.")


def check_update(update: Update) -> None:
    """Raise BadBody for an update that touches a path twice or changes the _id, BadFilter for a bad condition."""
    check_conditions(update.expect)
    paths = sorted(path_of(field) for field in (*update.set, *update.inc, *update.unset))
    for path, following in pairwise(paths):
        if following[: len(path)] == path:
            raise BadBody(
                f"An update changes {'.'.join(path)} and {'.'.join(following)} at once.",
                action="Change each field once.",
            )
    if any(path[0] == "_id" for path in paths):
        raise BadBody("An update changes the _id.", action="Insert a new document instead.")


def changed(doc: Doc, update: Update) -> Doc:
    """Give the document after an update. Raises BadBody when a path leads through a value, or adds to a non-number.

    What is not changed is shared with `doc`: only the dicts on the way to a changed field are copied.
    """
    after = doc.copy()
    for field, value in update.set.items():
        parent, last = _parent(after, field, make=True)
        parent[last] = value
    for field, amount in update.inc.items():
        parent, last = _parent(after, field, make=True)
        before = parent.get(last, 0)
        if rank(before) != 1:
            raise BadBody(f"The field {field!r} holds no number to add to.", action="Set the field to a number first.")
        parent[last] = before + amount
    for field in update.unset:
        parent, last = _parent(after, field, make=False)
        parent.pop(last, None)
    return after


def _parent(doc: Doc, field: str, *, make: bool) -> tuple[Doc, str]:
    *steps, last = path_of(field)
    found = doc
    for step in steps:
        inner = found.get(step, {})
        if not isinstance(inner, dict):
            if not make:
                return {}, last
            raise BadBody(f"{step!r} in {field!r} is no dict.", action="Set the whole field instead of a part of it.")
        if not make and step not in found:
            return {}, last
        found[step] = found = inner.copy()
    return found, last


def projected(doc: Doc, fields: Sequence[str] | None) -> Doc:
    """Give the document with only the dotted `fields` and its _id; all of it for None."""
    if fields is None:
        return doc
    kept: Doc = {"_id": doc["_id"]}
    for field in outermost(fields):
        *steps, last = path_of(field)
        source, target = doc, kept
        for step in steps:
            inner = source.get(step)
            if not isinstance(inner, dict):
                break
            source, target = inner, target.setdefault(step, {})
        else:
            if last in source:
                target[last] = source[last]
    return kept


def outermost(fields: Iterable[str]) -> list[str]:
    """Give the fields without those that lie within another one."""
    kept: list[str] = []
    for field in sorted(set(fields), key=path_of):
        if not kept or not field.startswith(f"{kept[-1]}."):
            kept.append(field)
    return kept


def utc(value: datetime) -> datetime:
    """Give an aware datetime in UTC. Raises BadBody for a naive one, whose instant nobody knows."""
    if value.tzinfo is None:
        raise BadBody(f"The datetime {value.isoformat()} has no time zone.", action="Use datetime.now(UTC).")
    return value.astimezone(UTC)


def check_int(value: int) -> int:
    """Give the integer. Raises BadBody when it does not fit 64 bits, which is what stores and indexes hold."""
    if not -(2**63) <= value < 2**63:
        raise BadBody(f"The integer {value} does not fit 64 bits.", action="Store it as text.")
    return value


def check_key(key: object) -> str:
    """Give a key of a dict. Raises BadBody unless it is text without NUL."""
    if not isinstance(key, str) or "\x00" in key:
        raise BadBody(f"The key {key!r} of a dict is not text, or contains NUL.", action="Use text keys.")
    return key


def unsupported(value: object) -> BadBody:
    """Give the error for a value of a type that no store keeps."""
    return BadBody(
        f"A document holds a value of type {type(value).__name__}.",
        action="Use None, bool, int, float, str, bytes, aware datetimes, lists and dicts.",
    )


def duplicate(collection: str, key: list[str]) -> DuplicateKey:
    """Give the error for a document whose unique key is taken."""
    return DuplicateKey(
        f"A document with the same {', '.join(key)} exists in {collection}.",
        action="Read the existing one, or use another key.",
        key=key,
    )
