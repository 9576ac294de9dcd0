"""The DocStore on MongoDB. Durable when a write returns: w majority, j true (`omegakit.mongo`).

One guarded update is one findAndModify. Many are one transaction: read them, decide in `values` which guards hold,
write those; a writer in between makes the driver repeat it, so that every answer is exact.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from omegakit import mongo
from omegakit.clock import Clock, SystemClock
from omegakit.docs import filters
from omegakit.docs.bsondoc import from_bson, from_value, to_bson
from omegakit.docs.filters import Filter
from omegakit.docs.paging import Paging, paging
from omegakit.docs.port import Collection, Cond, Doc, Index, Page, Update, Where
from omegakit.docs.values import changed, check_doc, check_update, duplicate, matches, order_key, outermost, path_of
from omegakit.mongo import Mongo, mongo_errors
from omegaproto.errors import DuplicateKey, OmegaError, Unavailable


class MongoDocs:
    """Documents in the database that `url` names."""

    def __init__(self, url: str, *, clock: Clock | None = None, driver: mongo.Driver | None = None) -> None:
        self._url = url
        self._driver = driver
        self._clock = clock or SystemClock()
        self._mongo: Mongo | None = None
        self._collections: dict[str, Collection] = {}

    async def start(self, collections: Sequence[Collection]) -> None:
        """Connect, and make collections and indexes that are missing. May be called again with more of them."""
        self._mongo = self._mongo or Mongo(self._url, driver=self._driver)
        await self._mongo.ping()
        with mongo_errors():
            await asyncio.gather(*(self._make(self._mongo, each) for each in collections))
        self._collections |= {each.name: each for each in collections}

    async def close(self) -> None:
        """Close all connections."""
        if self._mongo is not None:
            closing, self._mongo = self._mongo, None
            await closing.close()

    async def ping(self) -> None:
        """Return when the primary answers."""
        await self._open().ping()

    async def insert(self, collection: str, doc: Doc) -> None:
        """Add a document. Raises DuplicateKey when its _id or a unique key exists."""
        check_doc(doc)
        try:
            await self._insert(collection, to_bson(doc))
        except mongo.DuplicateKeyError as error:
            raise _duplicate(collection, error) from None

    async def insert_many(self, collection: str, docs: Sequence[Doc]) -> list[bool]:
        """Add documents in one go; False for each that was refused by a unique key or its _id."""
        for doc in docs:
            check_doc(doc)
        stored = [to_bson(doc) for doc in docs]
        refused = await self._refused(collection, stored)
        if refused and await self._purge(collection):
            again = sorted(refused)
            still = await self._refused(collection, [stored[at] for at in again])
            refused = {again[at] for at in still}
        return [at not in refused for at in range(len(docs))]

    async def get(self, collection: str, id: str) -> Doc | None:
        """Give a document by its _id."""
        target, known = self._collection(collection)
        with mongo_errors():
            found = await target.find_one(self._filter(known, [Cond("_id", "==", id)]))
        return None if found is None else from_bson(found)

    async def get_many(self, collection: str, ids: Sequence[str]) -> list[Doc | None]:
        """Give documents by _id, in the order asked for."""
        target, known = self._collection(collection)
        with mongo_errors():
            found = await target.find(self._filter(known, [Cond("_id", "in", list(ids))])).to_list(None)
        docs = {doc["_id"]: from_bson(doc) for doc in found}
        return [docs.get(id) for id in ids]

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
        target, known = self._collection(collection)
        asked = paging(sort, limit, after, fields)
        more = [] if asked.after is None else [filters.following(asked.order, asked.after)]
        with mongo_errors():
            cursor = target.find(self._filter(known, where, *more), _projection(asked))
            found = await cursor.sort(list(asked.order)).limit(limit + 1).to_list(None)
        return asked.page([from_bson(doc) for doc in found])

    async def update(self, collection: str, update: Update) -> Doc | None:
        """Apply one guarded update and give the document after it; None when it is missing or a condition fails."""
        check_update(update)
        try:
            return await self._update(collection, update)
        except mongo.DuplicateKeyError as error:
            if not await self._purge(collection):
                raise _duplicate(collection, error) from None
        try:
            return await self._update(collection, update)
        except mongo.DuplicateKeyError as error:
            raise _duplicate(collection, error) from None

    async def update_many(self, collection: str, updates: Sequence[Update]) -> list[Doc | None]:
        """Apply guarded updates in one go, results in order; None for each that was not applied."""
        for update in updates:
            check_update(update)
        if len(updates) > 1 and len({update.id for update in updates}) == len(updates):
            try:
                with mongo_errors():
                    return await self._update_together(collection, updates)
            except (mongo.BulkWriteError, mongo.DuplicateKeyError):
                pass  # a unique key is in the way of one of them, which undid all: one by one, then
        return [await self._update_alone(collection, update) for update in updates]

    async def delete(self, collection: str, id: str, expect: Where = ()) -> bool:
        """Delete a document while `expect` holds."""
        target, known = self._collection(collection)
        with mongo_errors():
            gone = await target.delete_one(self._filter(known, [Cond("_id", "==", id), *expect]))
        return gone.deleted_count == 1

    async def delete_where(self, collection: str, where: Where) -> int:
        """Delete every matching document; gives how many."""
        target, known = self._collection(collection)
        with mongo_errors():
            return (await target.delete_many(self._filter(known, where))).deleted_count

    async def distinct(self, collection: str, field: str, where: Where = ()) -> list[Any]:
        """Give the distinct values of a field, sorted; a list counts by its elements, None does not count."""
        path_of(field)
        target, known = self._collection(collection)
        with mongo_errors():
            found = await target.distinct(field, self._filter(known, where))
        return sorted((from_value(each) for each in found if each is not None), key=order_key)

    def _open(self) -> Mongo:
        if self._mongo is None:
            raise Unavailable("The document store is not open.", action="Call start() first.")
        return self._mongo

    def _collection(self, name: str) -> tuple[mongo.Collection, Collection]:
        open_ = self._open()
        if name not in self._collections:
            raise OmegaError(f"The collection {name!r} is unknown.", action="Name it at start().")
        return open_.collection(name), self._collections[name]

    def _filter(self, known: Collection, where: Where, *more: Filter) -> Filter:
        return filters.every([*filters.conditions(where), *more, *filters.alive(known, self._clock.now())])

    async def _make(self, open_: Mongo, collection: Collection) -> None:
        target = open_.collection(collection.name)
        await target.create_indexes([mongo.IndexModel([("_id", 1)]), *_indexes(collection)])

    async def _insert(self, collection: str, doc: Doc) -> None:
        target, _ = self._collection(collection)
        with mongo_errors():
            try:
                await target.insert_one(doc)
            except mongo.DuplicateKeyError:
                if not await self._purge(collection):
                    raise
                await target.insert_one(doc)

    async def _refused(self, collection: str, docs: Sequence[Doc]) -> set[int]:
        target, _ = self._collection(collection)
        if not docs:
            return set()
        try:
            with mongo_errors():
                if len(docs) == 1:
                    await target.insert_one(docs[0])
                else:
                    await target.insert_many(docs, ordered=False)
        except mongo.BulkWriteError as error:
            return mongo.duplicates(error)
        except mongo.DuplicateKeyError:
            return {0}
        return set()

    async def _purge(self, collection: str) -> int:
        """Delete what has expired, for the server's own sweep comes once a minute and a dead key blocks a new one."""
        target, known = self._collection(collection)
        if known.expires is None:
            return 0
        with mongo_errors():
            return (await target.delete_many(filters.expired(known.expires, self._clock.now()))).deleted_count

    async def _update(self, collection: str, update: Update) -> Doc | None:
        target, known = self._collection(collection)
        guard = self._filter(known, [Cond("_id", "==", update.id), *update.expect])
        change = filters.change(update)
        with mongo_errors():
            if change:
                after = mongo.ReturnDocument.AFTER
                found = await target.find_one_and_update(guard, change, return_document=after)
            else:
                found = await target.find_one(guard)
        return None if found is None else from_bson(found)

    async def _update_alone(self, collection: str, update: Update) -> Doc | None:
        try:
            return await self.update(collection, update)
        except DuplicateKey:
            return None

    async def _update_together(self, collection: str, updates: Sequence[Update]) -> list[Doc | None]:
        target, known = self._collection(collection)
        wanted = self._filter(known, [Cond("_id", "in", [update.id for update in updates])])

        async def work(session: mongo.Session) -> list[Doc | None]:
            found = await target.find(wanted, session=session).to_list(None)
            docs = {doc["_id"]: from_bson(doc) for doc in found}
            results = [_decided(docs.get(update.id), update) for update in updates]
            writes = [
                mongo.UpdateOne({"_id": update.id}, change)
                for update, result in zip(updates, results, strict=True)
                if result is not None and (change := filters.change(update))
            ]
            if writes:
                await target.bulk_write(writes, ordered=False, session=session)
            return results

        return await self._open().transaction(work)


def _decided(doc: Doc | None, update: Update) -> Doc | None:
    return changed(doc, update) if doc is not None and matches(doc, update.expect) else None


def _indexes(collection: Collection) -> list[mongo.IndexModel]:
    made = []
    for index in collection.indexes:
        # A partial index serves no find that does not repeat its rule, so a unique one has a plain one beside it.
        made.append(mongo.IndexModel(filters.index_keys(index)))
        if index.unique:
            keys, rule = filters.unique_rule(index)
            made.append(mongo.IndexModel(keys, unique=True, partialFilterExpression=rule))
    if collection.expires is not None:
        made.append(mongo.IndexModel([(filters.expiry_key(collection.expires), 1)], expireAfterSeconds=0))
        made.append(mongo.IndexModel(filters.index_keys(Index((collection.expires,)))))
    return made


def _projection(asked: Paging) -> list[str] | None:
    if asked.fields is None:
        return None
    return outermost(["_id", *asked.fields, *(name for name, _ in asked.order)])


def _duplicate(collection: str, error: mongo.DuplicateKeyError) -> DuplicateKey:
    details = error.details or {}
    return duplicate(collection, list(details.get("keyPattern", {"_id": 1})))
