"""Objects: list, get, put, change, tag and drop them. A put never makes anything half visible."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import Field

from omega_gateway.access import (
    Caller,
    DropsObjects,
    ListsBuckets,
    ListsObjects,
    ReadsObjects,
    WritesObjects,
    reply,
    scoped_router,
)
from omega_gateway.puts import Put, put_object
from omega_gateway.routes.params import After, Limit, ObjectName, StoreName, key_of, store_of
from omegaproto.ids import new_id
from omegaproto.messages import Message
from omegaproto.names import MAX_NAME_LENGTH
from omegaproto.objects import (
    BlobRef,
    BucketList,
    DropObject,
    GetObject,
    ListBuckets,
    ListObjects,
    ListRevisions,
    Metadata,
    ObjectPage,
    RevisionPage,
    Store,
    TagRevision,
    UpdateAttributes,
)
from omegaproto.scopes import allows

router = scoped_router("objects")


class ObjectPut(Message):
    """A new revision of an object: the blobs that were uploaded for it, or the parts of a frame."""

    kind: str = Field(min_length=1, max_length=128)
    kind_meta: dict[str, Any] = Field(default_factory=dict)
    blobs: tuple[BlobRef, ...] = Field(default=(), max_length=10_000)
    parts: tuple[str, ...] | None = Field(default=None, max_length=10_000)
    """Ids of Parquet blobs in row order, when the object is a frame."""
    append: bool = False
    """Put the parts after those of the newest revision (frames only)."""
    attributes: dict[str, Any] | None = None
    """None keeps the attributes; a dict is merged into them; an empty dict clears them."""
    tags: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = Field(default=(), max_length=64)
    expected_revision: str | None = Field(default=None, max_length=128)
    """The revision that this one replaces. None: whichever is newest. An empty string: the object must be new."""
    idempotency_key: str = Field(default_factory=new_id, min_length=1, max_length=128)
    """The same for each repetition of one put: it makes one revision, however often it is sent."""
    fingerprint: str | None = Field(default=None, min_length=1, max_length=128)
    """What tells a repetition from another put under the same key. None: what is put, its bytes by their sha256."""
    expires_at: datetime | None = None


class AttributesPatch(Message):
    """Attributes to merge into an object; a null removes its key."""

    attributes: dict[str, Any]
    etag: int | None = None
    """When given, the change is refused unless the object still has this etag."""


@router.get("/objects/{store}", response_model=ObjectPage)
async def list_objects(
    caller: ListsObjects,
    store: StoreName,
    pattern: Annotated[str | None, Query(max_length=MAX_NAME_LENGTH, description="Glob; only * is special.")] = None,
    regexp: Annotated[str | None, Query(max_length=MAX_NAME_LENGTH, description="Unanchored; wins.")] = None,
    kind: Annotated[str | None, Query(max_length=128)] = None,
    hidden: bool = False,
    temp: bool = False,
    limit: Limit = 500,
    after: After = None,
) -> Response:
    """List objects of a store in order of their names."""
    request = ListObjects(
        bucket=caller.bucket,
        store=store_of(store),
        pattern=pattern,
        regexp=regexp,
        kind=kind,
        hidden=hidden,
        include_temp=temp,
        limit=limit,
        after=after,
    )
    return reply(await caller.call(request))


@router.get("/objects/{store}/{name:path}", response_model=Metadata)
async def get_object(
    caller: ReadsObjects,
    store: StoreName,
    name: ObjectName,
    version: Annotated[str | None, Query(max_length=128, description="Tag, revision id or number.")] = None,
    back: Annotated[int, Query(ge=0, le=1_000_000, description="Revisions before the newest.")] = 0,
) -> Response:
    """Describe an object as of one of its revisions."""
    key = key_of(caller.bucket, store, name)
    return reply(await caller.call(GetObject(**key, tag=version, offset=back)))


@router.put("/objects/{store}/{name:path}", response_model=Metadata)
async def put(caller: WritesObjects, store: StoreName, name: ObjectName, body: ObjectPut) -> Response:
    """Make uploaded blobs the newest revision of an object."""
    key = key_of(caller.bucket, store, name)
    given = Put(key, body.model_dump(exclude={"parts", "append", "v"}), body.blobs, body.parts, body.append)
    metadata = await put_object(caller, given, attempts=caller.parts.options.commit_attempts)
    _forget(caller, metadata)
    return reply(metadata)


@router.patch("/objects/{store}/{name:path}", response_model=Metadata)
async def patch(caller: WritesObjects, store: StoreName, name: ObjectName, body: AttributesPatch) -> Response:
    """Merge attributes into an object."""
    key = key_of(caller.bucket, store, name)
    metadata = await caller.call(UpdateAttributes(**key, attributes=body.attributes, etag=body.etag))
    _forget(caller, metadata)
    return reply(metadata)


@router.delete("/objects/{store}/{name:path}", status_code=204)
async def drop(caller: DropsObjects, store: StoreName, name: ObjectName) -> Response:
    """Drop an object with all its revisions."""
    key = key_of(caller.bucket, store, name)
    await caller.call(DropObject(**key))
    if key["store"] is Store.models:
        caller.parts.predictor.forget(caller.bucket, name)
    return Response(status_code=204)


@router.put("/tags/{store}/{name:path}", response_model=Metadata)
async def tag_revision(
    caller: WritesObjects,
    store: StoreName,
    name: ObjectName,
    tag: Annotated[str, Query(min_length=1, max_length=128)],
    revision_id: Annotated[str, Query(min_length=1, max_length=128)],
) -> Response:
    """Move a tag to a revision."""
    metadata = await caller.call(TagRevision(**key_of(caller.bucket, store, name), tag=tag, revision_id=revision_id))
    _forget(caller, metadata)
    return reply(metadata)


@router.get("/revisions/{store}/{name:path}", response_model=RevisionPage)
async def list_revisions(
    caller: ReadsObjects,
    store: StoreName,
    name: ObjectName,
    limit: Limit = 500,
    after: Annotated[int, Query(ge=0, le=2**53, description="`next` of the page before.")] = 0,
) -> Response:
    """List the revisions of an object, oldest first."""
    return reply(await caller.call(ListRevisions(**key_of(caller.bucket, store, name), limit=limit, after=after)))


@router.get("/buckets", response_model=BucketList)
async def list_buckets(caller: ListsBuckets) -> Response:
    """List the buckets that hold something and that the caller has a role in."""
    found = await caller.call_as_mesh(ListBuckets())
    shown = [bucket for bucket in found.items if allows(caller.principal.role_in(bucket), "bucket.list")]
    return reply(BucketList(items=tuple(shown)))


def _forget(caller: Caller, metadata: Metadata) -> None:
    if metadata.store is Store.models:
        caller.parts.predictor.forget(metadata.bucket, metadata.name)
