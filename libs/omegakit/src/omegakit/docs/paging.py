"""Pure paging: the full order of a find, and the cursor that says after which document the next page begins.

A cursor holds the last document's sort values and _id, so that documents inserted or deleted in between shift nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from omegakit.docs.jsontext import decoded, encoded
from omegakit.docs.port import Doc, Page
from omegakit.docs.values import path_of, projected, value_at
from omegaproto.errors import BadFilter

Direction = Literal[1, -1]
Order = tuple[tuple[str, Direction], ...]


@dataclass(frozen=True, slots=True)
class Paging:
    """What a find returns of what it matches: in which full order, after which values, how many, which fields."""

    order: Order
    after: tuple[Any, ...] | None
    limit: int
    fields: tuple[str, ...] | None

    def page(self, docs: list[Doc]) -> Page:
        """Give the page from up to `limit` + 1 documents in order: the last of them says that there is a next page."""
        items = docs[: self.limit]
        more = len(docs) > self.limit
        return Page(
            [projected(doc, self.fields) for doc in items], cursor_after(items[-1], self.order) if more else None
        )


def paging(
    sort: Sequence[tuple[str, Direction]], limit: int, after: str | None, fields: Sequence[str] | None
) -> Paging:
    """Check a find's arguments. Raises BadFilter for a bad field, a limit below 1, or a cursor of another sort."""
    if limit < 1:
        raise BadFilter(f"A page of {limit} documents is asked for.", action="Use a limit of 1 or more.")
    for field in (*(name for name, _ in sort), *(fields or ())):
        path_of(field)
    order = full_order(sort)
    cursor = None if after is None else values_after(after, order)
    return Paging(order, cursor, limit, None if fields is None else tuple(fields))


def full_order(sort: Sequence[tuple[str, Direction]]) -> Order:
    """Give the order with ties broken by _id, in the last field's direction so that one index serves both ways."""
    order: list[tuple[str, Direction]] = []
    for field, direction in sort:
        if all(field != name for name, _ in order):
            order.append((field, direction))
        if field == "_id":
            return tuple(order)
    return (*order, ("_id", order[-1][1] if order else 1))


def cursor_after(doc: Doc, order: Order) -> str:
    """Give the cursor of what follows `doc`."""
    state = [
        [f"{field} {direction}" for field, direction in order],
        [encoded(value_at(doc, name)) for name, _ in order],
    ]
    return base64.urlsafe_b64encode(json.dumps(state, separators=(",", ":")).encode()).decode()


def values_after(cursor: str, order: Order) -> tuple[Any, ...]:
    """Give the sort values after which to go on. Raises BadFilter for text that is no cursor of this order."""
    try:
        names, values = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
        known = names == [f"{field} {direction}" for field, direction in order] and len(values) == len(names)
    except (ValueError, TypeError, binascii.Error):
        known = False
    if not known:
        raise BadFilter(
            "The cursor does not belong to this query.", action="Pass the `next` of a page found with the same sort."
        )
    return tuple(decoded(each) for each in values)
