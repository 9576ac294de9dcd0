"""The DocStore on a SQLite file: one writer thread with group commit, a few readers beside it (WAL).

Every write is on disk when it returns (synchronous FULL). Several processes may open the same file.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from omegakit.clock import Clock, SystemClock
from omegakit.docs import rows
from omegakit.docs.paging import paging
from omegakit.docs.port import Collection, Cond, Doc, Page, Update, Where
from omegakit.docs.writer import Writer, unavailable
from omegaproto.errors import OmegaError, Unavailable

T = TypeVar("T")
_READERS = 4
_BUSY_SECONDS = 10.0


class SqliteDocs:
    """Documents in a SQLite file at `path`; folders on the way to it are made."""

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._tables: dict[str, rows.Table] = {}
        self._writer: Writer | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()

    async def start(self, collections: Sequence[Collection]) -> None:
        """Open the file, and make collections and indexes that are missing. May be called again with more of them."""
        if self._writer is None:
            self._threads = ThreadPoolExecutor(_READERS, "omega-sqlite-reader")
            self._writer = await asyncio.get_running_loop().run_in_executor(self._threads, self._open)
        tables = {each.name: rows.Table(each, self._clock) for each in collections}
        await self._writer.run(partial(rows.make, tuple(tables.values())))
        self._tables |= tables

    async def close(self) -> None:
        """Finish what is under way and close the file."""
        if self._writer is None or self._threads is None:
            return
        writer, threads, self._writer, self._threads = self._writer, self._threads, None, None
        await asyncio.get_running_loop().run_in_executor(threads, writer.close)
        await asyncio.to_thread(threads.shutdown)
        while not self._readers.empty():
            self._readers.get().close()

    async def ping(self) -> None:
        """Return when the file can be read."""
        await self._read(lambda connection: connection.execute("SELECT count(*) FROM sqlite_schema").fetchone())

    async def insert(self, collection: str, doc: Doc) -> None:
        """Add a document. Raises DuplicateKey when its _id or a unique key exists."""
        await self._write(partial(self._table(collection).insert, doc))

    async def insert_many(self, collection: str, docs: Sequence[Doc]) -> list[bool]:
        """Add documents in one go; False for each that was refused by a unique key or its _id."""
        return await self._write(partial(self._table(collection).insert_many, tuple(docs)))

    async def get(self, collection: str, id: str) -> Doc | None:
        """Give a document by its _id."""
        return (await self.get_many(collection, [id]))[0]

    async def get_many(self, collection: str, ids: Sequence[str]) -> list[Doc | None]:
        """Give documents by _id, in the order asked for."""
        return await self._read(partial(self._table(collection).get_many, tuple(ids)))

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
        """Give matching documents in order, from the cursor `after` of an earlier page on."""
        asked = paging(sort, limit, after, fields)
        return await self._read(partial(self._table(collection).find, tuple(where), asked))

    async def update(self, collection: str, update: Update) -> Doc | None:
        """Apply one guarded update and give the document after it; None when it is missing or a condition fails."""
        return await self._write(partial(self._table(collection).update, update))

    async def update_many(self, collection: str, updates: Sequence[Update]) -> list[Doc | None]:
        """Apply guarded updates in one go, results in order; None for each that was not applied."""
        return await self._write(partial(self._table(collection).update_many, tuple(updates)))

    async def delete(self, collection: str, id: str, expect: Where = ()) -> bool:
        """Delete a document while `expect` holds."""
        return await self.delete_where(collection, [Cond("_id", "==", id), *expect]) == 1

    async def delete_where(self, collection: str, where: Where) -> int:
        """Delete every matching document; gives how many."""
        return await self._write(partial(self._table(collection).delete, tuple(where)))

    async def distinct(self, collection: str, field: str, where: Where = ()) -> list[Any]:
        """Give the distinct values of a field, sorted."""
        return await self._read(partial(self._table(collection).distinct, field, tuple(where)))

    def _table(self, collection: str) -> rows.Table:
        if self._writer is None:
            raise Unavailable("The document store is not open.", action="Call start() first.")
        if collection not in self._tables:
            raise OmegaError(f"The collection {collection!r} is unknown.", action="Name it at start().")
        return self._tables[collection]

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._writer is None:
            raise Unavailable("The document store is not open.", action="Call start() first.")
        return await self._writer.run(work)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._threads is None:
            raise Unavailable("The document store is not open.", action="Call start() first.")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._with_reader, work)

    def _with_reader(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection = self._reader()
            try:
                return work(connection)
            finally:
                self._readers.put(connection)
        except sqlite3.Error as error:
            raise unavailable(error) from error

    def _reader(self) -> sqlite3.Connection:
        try:
            return self._readers.get_nowait()
        except queue.Empty:
            return self._connect()

    def _open(self) -> Writer:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = self._connect()
            connection.execute("PRAGMA journal_mode=WAL")
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(
                f"The document store {self._path} cannot be opened: {error}.", action="Check the path and its rights."
            ) from error
        return Writer(connection, self._path.with_name(f"{self._path.name}.lock"))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        connection.execute("PRAGMA synchronous=FULL")
        return connection
