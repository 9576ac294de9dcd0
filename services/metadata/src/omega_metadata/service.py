"""What can be done with objects and revisions: commit, get, list, tag, drop. All guards are compare-and-set."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from omega_metadata.patterns import literal_prefix, name_matcher
from omega_metadata.repository import (
    ObjectRepository,
    new_object,
    tag_pairs,
    tags_of,
    to_metadata,
    to_revision,
)
from omegakit.clock import Clock
from omegakit.docs import Doc
from omegaproto.errors import Conflict, IdempotencyMismatch, ObjectNotFound, RevisionConflict, RevisionNotFound
from omegaproto.ids import new_id
from omegaproto.messages import MAX_MESSAGE_BYTES, Message
from omegaproto.names import check_path
from omegaproto.objects import (
    BlobRefPage,
    CommitRevision,
    GetObject,
    ListBlobRefs,
    ListObjects,
    ListRevisions,
    Metadata,
    ObjectKey,
    ObjectPage,
    Revision,
    RevisionPage,
    TagRevision,
    UpdateAttributes,
)

ItemT = TypeVar("ItemT", bound=Message)

PAGE_BYTES = MAX_MESSAGE_BYTES * 3 // 4
_HISTORY = "history:"
_CONTENT: dict[str, Any] = {
    "kind": True,
    "kind_meta": True,
    "attributes": True,
    "tags": True,
    "blobs": {"__all__": {"sha256", "length", "role"}},
}
"""What tells two puts under one key apart. Not the blobs' ids: bytes that are uploaded again get new ones."""


class ObjectService:
    """Objects, revisions and their guards."""

    def __init__(self, repository: ObjectRepository, clock: Clock, *, commit_attempts: int) -> None:
        self._objects = repository
        self._clock = clock
        self._attempts = commit_attempts

    async def commit(self, request: CommitRevision, userid: str) -> tuple[Metadata, bool]:
        """Commit a revision; gives the metadata, and whether anything changed (False for a repeated request).

        Raises:
            RevisionConflict: the object is not at the revision that the caller expected.
            IdempotencyMismatch: the idempotency key was used for another revision of this object.
            BadName: the name breaks the grammar.
        """
        check_path(request.name)
        head = self._new_head(request, userid)
        for attempt in range(self._attempts):
            doc = await self._objects.get(request)
            if doc is not None and (done := await self._already_committed(doc, head)):
                return done, False
            _check_expected(doc, request)
            committed = await (self._create(request, head) if doc is None else self._replace(doc, request, head))
            if committed is not None:
                return to_metadata(committed), True
            await asyncio.sleep(random.uniform(0, 0.002 * min(attempt, 10)))  # noqa: S311 - spreads competing writers
        raise Conflict(f"Too many writers commit to {request.name!r}.", action="Try again.")

    def _new_head(self, request: CommitRevision, userid: str) -> Doc:
        content = request.model_dump_json(include=_CONTENT)
        return {
            "id": new_id(),
            "number": 1,
            "kind": request.kind,
            "kind_meta": request.kind_meta,
            "blobs": [blob.model_dump() for blob in request.blobs],
            "created": self._clock.now(),
            "created_by": userid,
            "idempotency_key": request.idempotency_key,
            "fingerprint": request.fingerprint or hashlib.sha256(content.encode()).hexdigest(),
        }

    async def _already_committed(self, doc: Doc, head: Doc) -> Metadata | None:
        found = await self._objects.committed_with(doc, head["idempotency_key"])
        if found is None:
            return None
        if found["fingerprint"] != head["fingerprint"]:
            raise IdempotencyMismatch(
                f"The idempotency key {head['idempotency_key']!r} was used for another revision of {doc['name']!r}.",
                action="Use a new idempotency key for each put.",
            )
        return to_metadata(doc, found)

    async def _create(self, request: CommitRevision, head: Doc) -> Doc | None:
        doc = new_object(request, new_id(), head, head["created"])
        doc["attributes"] = _merged({}, request.attributes or {})
        doc["tags"] = tag_pairs(dict.fromkeys(request.tags, str(head["id"])))
        doc["expires_at"] = request.expires_at
        return doc if await self._objects.create(doc) else None

    async def _replace(self, doc: Doc, request: CommitRevision, head: Doc) -> Doc | None:
        await self._objects.archive_head(doc)
        tags = tags_of(doc) | dict.fromkeys(request.tags, str(head["id"]))
        fields = {
            "head": head | {"number": doc["head"]["number"] + 1},
            "tags": tag_pairs(tags),
            "modified": head["created"],
            "expires_at": request.expires_at,
        }
        if request.attributes is not None:
            fields["attributes"] = _merged(doc["attributes"], request.attributes) if request.attributes else {}
        return await self._objects.change(doc, fields)

    async def get(self, request: GetObject) -> Metadata:
        """Give an object as of one of its revisions. Raises ObjectNotFound, RevisionNotFound."""
        doc = await self._require(request)
        if request.tag is None and request.offset == 0:
            return to_metadata(doc)
        return to_metadata(doc, await self._select(doc, request.tag, request.offset))

    async def _select(self, doc: Doc, version: str | None, offset: int) -> Doc:
        found: Doc | None
        if version is None:
            found = await self._objects.by_number(doc, doc["head"]["number"] - offset)
        elif target := tags_of(doc).get(version) or (doc["head"]["id"] if version == "latest" else None):
            found = await self._objects.by_id(doc, target)
        elif version.isdecimal() and len(version) < 10:
            found = await self._objects.by_number(doc, int(version))
        else:
            found = await self._objects.by_id(doc, version)
        if found is None:
            wanted = f"version {version!r}" if version is not None else f"revision {offset} before the newest"
            raise RevisionNotFound(
                f"{doc['name']!r} has no {wanted}.",
                action=f"It has {doc['head']['number']} revisions and the tags: {', '.join(tags_of(doc)) or 'none'}.",
            )
        return found

    async def _require(self, key: ObjectKey) -> Doc:
        doc = await self._objects.get(key)
        if doc is None:
            raise ObjectNotFound(
                f"There is no {str(key.store).removesuffix('s')} {key.name!r} in bucket {key.bucket!r}.",
                action=f"List what is there: om.{key.store}.list().",
                name=key.name,
            )
        return doc

    async def list(self, request: ListObjects) -> ObjectPage:
        """List objects by name. Raises BadFilter when `regexp` is not a regular expression."""
        matches = name_matcher(
            request.pattern, request.regexp, hidden=request.hidden, include_temp=request.include_temp
        )
        prefix = "" if request.regexp else literal_prefix(request.pattern)
        page: _BoundedPage[Metadata] = _BoundedPage(request.limit)
        after = request.after
        while docs := await self._objects.list(request.bucket, request.store, prefix, after, 500):
            for doc in docs:
                shown = matches(doc["name"]) and request.kind in {None, doc["head"]["kind"]}
                if shown and not page.add(to_metadata(doc)):
                    return ObjectPage(items=tuple(page.items), next=after)
                after = doc["name"]
        return ObjectPage(items=tuple(page.items))

    async def revisions(self, request: ListRevisions) -> RevisionPage:
        """List the revisions of an object, oldest first. Raises ObjectNotFound."""
        doc = await self._require(request)
        tags, after = tags_of(doc), request.after
        page: _BoundedPage[Revision] = _BoundedPage(request.limit)
        older = await self._objects.older(doc, after, request.limit)
        newest = [doc["head"]] if len(older) < request.limit and doc["head"]["number"] > after else []
        for found in older + newest:
            revision = to_revision(found, tags)
            if not page.add(revision):
                return RevisionPage(items=tuple(page.items), next=after)
            after = revision.number
        return RevisionPage(items=tuple(page.items), next=None if after >= doc["head"]["number"] else after)

    async def update_attributes(self, request: UpdateAttributes) -> Metadata:
        """Merge attributes. Raises ObjectNotFound, Conflict when `etag` is given and the object has moved on."""
        while True:
            doc = await self._require(request)
            if request.etag is not None and request.etag != doc["etag"]:
                raise Conflict(
                    f"{request.name!r} changed since it was read (etag {doc['etag']}, not {request.etag}).",
                    action="Read it again and repeat the change.",
                )
            attributes = _merged(doc["attributes"], request.attributes)
            changed = await self._objects.change(doc, {"attributes": attributes, "modified": self._clock.now()})
            if changed is not None:
                return to_metadata(changed)

    async def tag(self, request: TagRevision) -> Metadata:
        """Move a tag to a revision. Raises ObjectNotFound, RevisionNotFound."""
        while True:
            doc = await self._require(request)
            target = await self._select(doc, request.revision_id, 0)
            tags = tags_of(doc) | {request.tag: target["id"]}
            changed = await self._objects.change(doc, {"tags": tag_pairs(tags), "modified": self._clock.now()})
            if changed is not None:
                return to_metadata(changed)

    async def drop(self, key: ObjectKey) -> None:
        """Drop an object with its revisions. Raises ObjectNotFound."""
        while not await self._objects.drop(await self._require(key)):
            pass

    async def buckets(self) -> Sequence[str]:
        """Give the names of all buckets that hold an object."""
        return await self._objects.buckets()

    async def blob_refs(self, request: ListBlobRefs) -> BlobRefPage:
        """Give a page of everything that revisions refer to; histories that a crash left are removed."""
        if request.after is None or not request.after.startswith(_HISTORY):
            page = await self._objects.page_objects(request.after, request.limit)
            heads = [doc["head"] for doc in page.items]
            return _refs(heads, page.next or _HISTORY)
        page = await self._objects.page_history(request.after.removeprefix(_HISTORY) or None, request.limit)
        living = await self._objects.living(page.items)
        for incarnation in {doc["incarnation"] for doc in page.items} - living:
            await self._objects.drop_history(incarnation)
        kept = [doc for doc in page.items if doc["incarnation"] in living]
        return _refs(kept, f"{_HISTORY}{page.next}" if page.next else None)


class _BoundedPage(Generic[ItemT]):
    """Collects items until a page is full by count or by bytes; a page holds one item at least."""

    def __init__(self, limit: int) -> None:
        self.items: list[ItemT] = []
        self._limit = limit
        self._left = PAGE_BYTES

    def add(self, item: ItemT) -> bool:
        """Add an item, or say that the page is full."""
        size = len(item.model_dump_json())
        if self.items and (len(self.items) >= self._limit or size > self._left):
            return False
        self.items.append(item)
        self._left -= size
        return True


def _check_expected(doc: Doc | None, request: CommitRevision) -> None:
    expected = request.expected_revision
    current = "" if doc is None else doc["head"]["id"]
    if expected is not None and expected != current:
        raise RevisionConflict(
            f"{request.name!r} is at revision {current or 'none'}, not at {expected or 'none'}.",
            action="Read it again and repeat the put.",
            current=current,
        )


def _merged(old: Doc, new: Doc) -> Doc:
    return {key: value for key, value in (old | new).items() if value is not None}


def _refs(revisions: list[Doc], following: str | None) -> BlobRefPage:
    frames = (revision["kind_meta"].get("frame") for revision in revisions)
    return BlobRefPage(
        blob_ids=tuple(blob["id"] for revision in revisions for blob in revision["blobs"]),
        frame_ids=tuple(frame["frame_id"] for frame in frames if frame),
        next=following,
    )
