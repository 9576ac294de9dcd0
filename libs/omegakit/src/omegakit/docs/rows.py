"""One collection as a table: the statements of each operation, run on a connection that somebody else owns. Blocks."""

# ruff: noqa: S608 - names and paths are checked in `sql`; values are always parameters.

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from omegakit.clock import Clock
from omegakit.docs import sql
from omegakit.docs.jsontext import decoded, dumps, encoded_text, loads, scalar
from omegakit.docs.paging import Paging
from omegakit.docs.port import Collection, Cond, Doc, Page, Update
from omegakit.docs.values import changed, check_doc, check_update, duplicate, order_key
from omegaproto.errors import DuplicateKey

Where = tuple[Cond, ...]
_IDS_A_QUERY = 1_000


def make(tables: Iterable[Table], connection: sqlite3.Connection) -> None:
    """Make tables and indexes that are missing, and drop what has expired."""
    for table in tables:
        for statement in sql.schema(table.collection):
            connection.execute(statement)
        table.purge(connection)


@dataclass(frozen=True, slots=True)
class Table:
    """The operations on one collection; a document past its expiry does not exist for any of them."""

    collection: Collection
    clock: Clock

    @property
    def name(self) -> str:
        """The quoted table."""
        return sql.table(self.collection.name)

    def purge(self, connection: sqlite3.Connection) -> None:
        """Delete what has expired. Writes do it first, so that the dead neither pile up nor block a unique key."""
        if self.collection.expires is not None:
            text, values = sql.conditions([Cond(self.collection.expires, "<=", self.clock.now())])
            connection.execute(f"DELETE FROM {self.name} WHERE {text}", values)

    def insert(self, doc: Doc, connection: sqlite3.Connection) -> None:
        """Add a document. Raises DuplicateKey."""
        self.purge(connection)
        self._add(connection, doc)

    def insert_many(self, docs: Sequence[Doc], connection: sqlite3.Connection) -> list[bool]:
        """Add documents; False for each that a key refused."""
        self.purge(connection)
        return [self._added(connection, doc) for doc in docs]

    def get_many(self, ids: Sequence[str], connection: sqlite3.Connection) -> list[Doc | None]:
        """Give documents by _id, in the order asked for."""
        found: dict[str, Doc] = {}
        for at in range(0, len(ids), _IDS_A_QUERY):
            where = (Cond("_id", "in", ids[at : at + _IDS_A_QUERY]),)
            found |= {doc["_id"]: doc for doc in self._select(connection, where)}
        return [found.get(id) for id in ids]

    def find(self, where: Where, asked: Paging, connection: sqlite3.Connection) -> Page:
        """Give a page of matching documents."""
        more = sql.following(asked.order, asked.after) if asked.after is not None else ("1", [])
        tail = f"ORDER BY {sql.ordering(asked.order)} LIMIT {asked.limit + 1:d}"
        return asked.page(self._select(connection, where, more, tail))

    def update(self, update: Update, connection: sqlite3.Connection) -> Doc | None:
        """Apply one guarded update. Raises DuplicateKey."""
        self.purge(connection)
        return self._update(update, connection)

    def _update(self, update: Update, connection: sqlite3.Connection) -> Doc | None:
        check_update(update)
        found = self._select(connection, (Cond("_id", "==", update.id), *update.expect))
        if not found:
            return None
        after = changed(found[0], update)
        try:
            connection.execute(f"UPDATE {self.name} SET doc=? WHERE id=?", [dumps(after), encoded_text(update.id)])
        except sqlite3.IntegrityError as error:
            raise self._duplicate(error) from None
        return after

    def update_many(self, updates: Sequence[Update], connection: sqlite3.Connection) -> list[Doc | None]:
        """Apply guarded updates; None for each that was not applied."""
        self.purge(connection)
        return [self._updated(connection, update) for update in updates]

    def delete(self, where: Where, connection: sqlite3.Connection) -> int:
        """Delete every matching document; gives how many."""
        self.purge(connection)
        text, values = sql.conditions(where)
        return connection.execute(f"DELETE FROM {self.name} WHERE {text}", values).rowcount

    def distinct(self, field: str, where: Where, connection: sqlite3.Connection) -> list[Any]:
        """Give the distinct values, sorted; a list counts by its elements, None does not count."""
        text, values = self._alive(where)
        value = "json_quote(id)" if field == "_id" else f"doc -> {sql.json_path(field)}"
        found: dict[Any, Any] = {}
        for (each,) in connection.execute(f"SELECT DISTINCT {value} FROM {self.name} WHERE {text}", values):
            for item in _elements(None if each is None else json.loads(each)):
                found[scalar(decoded(item))] = decoded(item)
        return sorted(found.values(), key=order_key)

    def _select(
        self, connection: sqlite3.Connection, where: Where, more: sql.Sql = ("1", []), tail: str = ""
    ) -> list[Doc]:
        text, values = self._alive(where)
        query = f"SELECT doc FROM {self.name} WHERE {text} AND {more[0]} {tail}"
        return [loads(doc) for (doc,) in connection.execute(query, [*values, *more[1]])]

    def _alive(self, where: Where) -> sql.Sql:
        text, values = sql.conditions(where)
        if self.collection.expires is None:
            return text, values
        past, moment = sql.conditions([Cond(self.collection.expires, "<=", self.clock.now())])
        return f"{text} AND NOT {past}", [*values, *moment]

    def _add(self, connection: sqlite3.Connection, doc: Doc) -> None:
        check_doc(doc)
        row = [encoded_text(doc["_id"]), dumps(doc)]
        try:
            connection.execute(f"INSERT INTO {self.name} (id, doc) VALUES (?, ?)", row)
        except sqlite3.IntegrityError as error:
            raise self._duplicate(error) from None

    def _added(self, connection: sqlite3.Connection, doc: Doc) -> bool:
        try:
            self._add(connection, doc)
        except DuplicateKey:
            return False
        return True

    def _updated(self, connection: sqlite3.Connection, update: Update) -> Doc | None:
        try:
            return self._update(update, connection)
        except DuplicateKey:
            return None

    def _duplicate(self, error: sqlite3.IntegrityError) -> DuplicateKey:
        names = {sql.index_name(self.collection.name, each): each.fields for each in self.collection.indexes}
        key = next((list(fields) for name, fields in names.items() if f"'{name}'" in str(error)), ["_id"])
        return duplicate(self.collection.name, key)


def _elements(value: Any) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if each is not None]
