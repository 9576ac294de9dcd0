"""How objects and revisions are kept: one document an object, with its newest revision inside.

A commit is one compare-and-set on that document. The revision it replaces is copied to the history before, so the
history holds committed revisions only; the copy of one that is still the newest is harmless: readers go by number.
An object has an incarnation: the history of a dropped object never meets that of a later one of the same name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from omegakit.docs import Collection, Cond, Doc, DocStore, Index, Page, Update
from omegaproto.errors import DuplicateKey
from omegaproto.objects import BlobRef, Metadata, ObjectKey, Revision, Store

OBJECTS = Collection("objects", indexes=(Index(("bucket", "store", "name")),), expires="expires_at")
HISTORY = Collection(
    "revisions",
    indexes=(
        Index(("incarnation", "number"), unique=True),
        Index(("incarnation", "idempotency_key"), unique=True),
    ),
)


def object_id(key: ObjectKey) -> str:
    """Give the document id of an object: a hash, since names may be long and hold anything."""
    return hashlib.sha256(f"{key.bucket}\0{key.store}\0{key.name}".encode()).hexdigest()[:32]


class ObjectRepository:
    """Objects and revisions as documents."""

    def __init__(self, docs: DocStore) -> None:
        self._docs = docs

    async def get(self, key: ObjectKey) -> Doc | None:
        """Give the object's document, or None."""
        return await self._docs.get(OBJECTS.name, object_id(key))

    async def create(self, doc: Doc) -> bool:
        """Add an object with its first revision; False when it exists by now."""
        try:
            await self._docs.insert(OBJECTS.name, doc)
        except DuplicateKey:
            return False
        return True

    async def archive_head(self, doc: Doc) -> None:
        """Copy the newest revision to the history; nothing happens when it is there already."""
        copy = {**doc["head"], "_id": doc["head"]["id"], "incarnation": doc["incarnation"], "object": doc["_id"]}
        await self._docs.insert_many(HISTORY.name, [copy])

    async def change(self, doc: Doc, fields: Doc) -> Doc | None:
        """Change the object while nobody else did since `doc` was read; None when somebody was first."""
        guard = (Cond("incarnation", "==", doc["incarnation"]), Cond("etag", "==", doc["etag"]))
        return await self._docs.update(OBJECTS.name, Update(doc["_id"], guard, set=fields, inc={"etag": 1}))

    async def drop(self, doc: Doc) -> bool:
        """Remove the object and then its history; False when somebody changed it since `doc` was read."""
        guard = (Cond("incarnation", "==", doc["incarnation"]), Cond("etag", "==", doc["etag"]))
        if not await self._docs.delete(OBJECTS.name, doc["_id"], guard):
            return False
        await self.drop_history(doc["incarnation"])
        return True

    async def drop_history(self, incarnation: str) -> None:
        """Remove the history of an object that is gone."""
        await self._docs.delete_where(HISTORY.name, [Cond("incarnation", "==", incarnation)])

    async def committed_with(self, doc: Doc, idempotency_key: str) -> Doc | None:
        """Give the revision of this object that was committed with that idempotency key, or None."""
        if doc["head"]["idempotency_key"] == idempotency_key:
            head: Doc = doc["head"]
            return head
        return await self._one(doc, Cond("idempotency_key", "==", idempotency_key))

    async def by_number(self, doc: Doc, number: int) -> Doc | None:
        """Give a revision of this object by its number, or None."""
        if doc["head"]["number"] == number:
            head: Doc = doc["head"]
            return head
        return await self._one(doc, Cond("number", "==", number))

    async def by_id(self, doc: Doc, revision_id: str) -> Doc | None:
        """Give a revision of this object by its id, or None."""
        if doc["head"]["id"] == revision_id:
            head: Doc = doc["head"]
            return head
        found = await self._docs.get(HISTORY.name, revision_id)
        return found if found and found["incarnation"] == doc["incarnation"] else None

    async def _one(self, doc: Doc, condition: Cond) -> Doc | None:
        page = await self._docs.find(HISTORY.name, [Cond("incarnation", "==", doc["incarnation"]), condition], limit=1)
        return page.items[0] if page.items else None

    async def older(self, doc: Doc, after: int, limit: int) -> list[Doc]:
        """Give revisions before the newest whose number is above `after`, oldest first."""
        where = [
            Cond("incarnation", "==", doc["incarnation"]),
            Cond("number", ">", after),
            Cond("number", "<", doc["head"]["number"]),
        ]
        page = await self._docs.find(HISTORY.name, where, sort=(("number", 1),), limit=limit)
        return page.items

    async def list(self, bucket: str, store: Store, prefix: str, after: str | None, limit: int) -> list[Doc]:
        """Give objects of a store in order of name, from after the name `after` on."""
        where = [Cond("bucket", "==", bucket), Cond("store", "==", str(store))]
        if prefix:
            where.append(Cond("name", "prefix", prefix))
        if after is not None:
            where.append(Cond("name", ">", after))
        page = await self._docs.find(OBJECTS.name, where, sort=(("name", 1),), limit=limit)
        return page.items

    async def buckets(self) -> Sequence[str]:
        """Give the names of all buckets that hold an object."""
        return await self._docs.distinct(OBJECTS.name, "bucket")

    async def page_objects(self, after: str | None, limit: int) -> Page:
        """Give objects of all buckets, in order of id."""
        return await self._docs.find(OBJECTS.name, limit=limit, after=after, fields=("head",))

    async def page_history(self, after: str | None, limit: int) -> Page:
        """Give older revisions of all objects, in order of id."""
        return await self._docs.find(HISTORY.name, limit=limit, after=after)

    async def living(self, docs: Sequence[Doc]) -> set[str]:
        """Give the incarnations among those of `docs` (of the history) whose object still exists."""
        ids = list({doc["object"] for doc in docs})
        found = await self._docs.get_many(OBJECTS.name, ids)
        return {doc["incarnation"] for doc in found if doc is not None}


def to_revision(doc: Doc, tags: dict[str, str]) -> Revision:
    """Give the revision that a document stands for; `tags` maps the object's tags to revision ids."""
    return Revision(
        id=doc["id"],
        number=doc["number"],
        kind=doc["kind"],
        kind_meta=doc["kind_meta"],
        blobs=tuple(BlobRef.model_validate(blob) for blob in doc["blobs"]),
        tags=tuple(sorted(tag for tag, target in tags.items() if target == doc["id"])),
        created=doc["created"],
        created_by=doc["created_by"],
    )


def to_metadata(doc: Doc, revision: Doc | None = None) -> Metadata:
    """Give the metadata that an object's document stands for, as of its newest or another revision."""
    shown = revision or doc["head"]
    return Metadata(
        bucket=doc["bucket"],
        store=doc["store"],
        name=doc["name"],
        kind=shown["kind"],
        kind_meta=shown["kind_meta"],
        attributes=doc["attributes"],
        created=doc["created"],
        modified=doc["modified"],
        etag=doc["etag"],
        revision=to_revision(shown, tags_of(doc)),
    )


def tags_of(doc: Doc) -> dict[str, str]:
    """Give an object's tags: revision id by tag. Kept as pairs, since a tag may hold dots."""
    return dict(doc["tags"])


def tag_pairs(tags: dict[str, str]) -> list[list[str]]:
    """Give tags as they are kept."""
    return [[tag, target] for tag, target in sorted(tags.items())]


def new_object(key: ObjectKey, incarnation: str, head: dict[str, Any], now: datetime) -> Doc:
    """Give the document of an object that is made by its first revision."""
    return {
        "_id": object_id(key),
        "incarnation": incarnation,
        "bucket": key.bucket,
        "store": str(key.store),
        "name": key.name,
        "attributes": {},
        "tags": [],
        "created": now,
        "modified": now,
        "etag": 1,
        "expires_at": None,
        "head": head,
    }
