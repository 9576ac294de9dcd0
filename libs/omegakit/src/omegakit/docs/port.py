"""What a document store offers: inserts with unique keys, guarded updates, ordered pages.

Every write is durable when it returns (MongoDB: w majority, j true; SQLite: synchronous FULL).
Documents are JSON-like dicts with a text ``_id``; values are None, bool, int, float, str, bytes, aware datetimes (UTC,
microseconds), lists and dicts. Field names in conditions may be dotted paths; they lead through dicts, not into lists.
Values compare and sort within their type, None before all; bytes by length first, and finite floats only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Doc = dict[str, Any]
Op = Literal["==", "!=", "<", "<=", ">", ">=", "in", "prefix", "contains"]


@dataclass(frozen=True, slots=True)
class Cond:
    """One condition on one field. ``prefix`` matches the start of text, ``contains`` an element of a list.

    A missing field equals None. Order comparisons with None, or with a value of another type, never match. All but
    ``contains`` take a list as a whole.
    """

    field: str
    op: Op
    value: Any


Where = Sequence[Cond]


@dataclass(frozen=True, slots=True)
class Index:
    """An index over fields in order. A unique one refuses a second document with equal values.

    A document in which the last field is None or missing is left out of a unique index.
    """

    fields: tuple[str, ...]
    unique: bool = False


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of documents, its indexes, and the datetime field after which a document deletes itself."""

    name: str
    indexes: tuple[Index, ...] = ()
    expires: str | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """One guarded change of one document: applied only while every condition of `expect` holds.

    `set` replaces (dotted) fields, `inc` adds to numbers (a missing field counts as 0), `unset` removes fields.
    """

    id: str
    expect: tuple[Cond, ...] = ()
    set: Doc = field(default_factory=dict)
    inc: dict[str, int] = field(default_factory=dict)
    unset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Some documents in order, and the cursor of the next page (None at the end)."""

    items: list[Doc]
    next: str | None = None


class DocStore(Protocol):
    """Documents with guarded writes. All methods raise Unavailable when the store cannot be reached."""

    async def start(self, collections: Sequence[Collection]) -> None:
        """Connect, and make collections and indexes that are missing."""
        ...

    async def close(self) -> None:
        """Finish what is under way and close."""
        ...

    async def ping(self) -> None:
        """Return when the store answers."""
        ...

    async def insert(self, collection: str, doc: Doc) -> None:
        """Add a document. Raises DuplicateKey (details: key = list of fields) when its _id or a unique key exists."""
        ...

    async def insert_many(self, collection: str, docs: Sequence[Doc]) -> list[bool]:
        """Add documents in one go; False for each that was refused by a unique key or its _id."""
        ...

    async def get(self, collection: str, id: str) -> Doc | None:
        """Give a document by its _id."""
        ...

    async def get_many(self, collection: str, ids: Sequence[str]) -> list[Doc | None]:
        """Give documents by _id, in the order asked for."""
        ...

    async def find(
        self,
        collection: str,
        where: Where = (),
        *,
        sort: Sequence[tuple[str, Literal[1, -1]]] = (("_id", 1),),
        limit: int = 100,
        after: str | None = None,
        fields: Sequence[str] | None = None,
    ) -> Page:
        """Give matching documents in order, from the cursor `after` of an earlier page on.

        Ties are broken by _id, in the direction of the last sort field. `fields` limits what is read; _id is always in.
        """
        ...

    async def update(self, collection: str, update: Update) -> Doc | None:
        """Apply one guarded update and give the document after it; None when it is missing or a condition fails.

        Raises DuplicateKey when the change would break a unique key.
        """
        ...

    async def update_many(self, collection: str, updates: Sequence[Update]) -> list[Doc | None]:
        """Apply guarded updates of different documents in one go; each is atomic by itself, results in order.

        None for each that is missing, that a condition refused, or that would break a unique key.
        """
        ...

    async def delete(self, collection: str, id: str, expect: Where = ()) -> bool:
        """Delete a document while `expect` holds; False when it is missing or a condition fails."""
        ...

    async def delete_where(self, collection: str, where: Where) -> int:
        """Delete every matching document; gives how many."""
        ...

    async def distinct(self, collection: str, field: str, where: Where = ()) -> list[Any]:
        """Give the distinct values of a field, sorted; a list counts by its elements, None does not count."""
        ...
