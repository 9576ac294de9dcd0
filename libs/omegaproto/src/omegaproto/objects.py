"""Objects, revisions and the blobs behind them, and the requests that metadata answers about them.

An object is (bucket, store, name) with attributes and a pointer to its newest revision. A revision is immutable.
A put writes blobs first, then commits the revision by one compare-and-set on the pointer.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from omegaproto.messages import Empty, Event, Message, Request
from omegaproto.names import MAX_NAME_LENGTH


class Store(StrEnum):
    """The five stores of a bucket."""

    datasets = "datasets"
    models = "models"
    jobs = "jobs"
    scripts = "scripts"
    streams = "streams"


class BlobRef(Message):
    """An immutable run of bytes: its id, its sha256 in hexadecimal, its length in bytes, and its role in a revision."""

    id: str
    sha256: str
    length: int
    role: str = "data"


class Revision(Message):
    """One immutable state of an object."""

    id: str
    number: int
    """1 for the first revision of the object, then counting up by one."""
    kind: str
    kind_meta: dict[str, Any] = Field(default_factory=dict)
    blobs: tuple[BlobRef, ...] = ()
    tags: tuple[str, ...] = ()
    created: datetime
    created_by: str


class Metadata(Message):
    """What the mesh knows about an object, as of one of its revisions (the newest unless another was asked for)."""

    bucket: str
    store: Store
    name: str
    kind: str
    kind_meta: dict[str, Any] = Field(default_factory=dict)
    attributes: dict[str, Any] = Field(default_factory=dict)
    created: datetime
    modified: datetime
    etag: int
    """Counts every change of the object document; the guard of the next change."""
    revision: Revision

    @property
    def prefix(self) -> str:
        """Give the store as the older API spells it, with a slash at its end."""
        return {"datasets": "data"}.get(self.store, str(self.store)) + "/"

    def __repr__(self) -> str:
        return (
            f"<Metadata: Metadata(name={self.name},bucket={self.bucket},prefix={self.prefix},"
            f"kind={self.kind},created={self.created.isoformat()})>"
        )

    def __str__(self) -> str:
        return repr(self)


class ObjectKey(Message):
    """The fields that name one object."""

    bucket: str = Field(min_length=1, max_length=128)
    store: Store
    name: str = Field(min_length=1, max_length=MAX_NAME_LENGTH)


class NewRevision(ObjectKey):
    """What a put commits, once its blobs are durable."""

    kind: str = Field(min_length=1, max_length=128)
    kind_meta: dict[str, Any] = Field(default_factory=dict)
    blobs: tuple[BlobRef, ...] = Field(default=(), max_length=10_000)
    attributes: dict[str, Any] | None = None
    """None keeps the attributes; a dict is merged into them; an empty dict clears them."""
    tags: tuple[str, ...] = Field(default=(), max_length=64)
    expected_revision: str | None = None
    """The revision that this one replaces. None: whichever is newest. An empty string: the object must be new."""
    idempotency_key: str = Field(min_length=1, max_length=128)
    expires_at: datetime | None = None
    """When the object drops itself (temporary inputs of tasks); None for never."""


class CommitRevision(NewRevision, Request[Metadata], subject="metadata.commit_revision", operation="object.write"):
    """Make a new revision visible. Repeating it with the same idempotency key gives the first answer again."""

    fingerprint: str | None = Field(default=None, max_length=128)
    """What tells a repetition from another put under the same key.

    None: kind, kind_meta, attributes, tags, and of each blob its sha256, length and role. Given when these differ in a
    repetition, as the kind_meta of a frame does, which is made anew each time, or the bytes of a kind that is not
    reproducible.
    """


class GetObject(ObjectKey, Request[Metadata], subject="metadata.get_object", operation="object.read"):
    """Give the object, as of the newest revision or of the one that `tag`, `revision_id` or `offset` selects.

    Raises ObjectNotFound, RevisionNotFound.
    """

    tag: str | None = None
    """A tag, or the first eight or more digits of a revision id, or a revision number."""
    offset: int = 0
    """0 for the newest, 1 for the one before it, and so on."""


class ObjectPage(Message):
    """Some objects in order of their names, and where the next page starts (None at the end)."""

    items: tuple[Metadata, ...] = ()
    next: str | None = None


class ListObjects(Request[ObjectPage], subject="metadata.list_objects", operation="object.list"):
    """List objects of a store by name.

    `pattern` is a glob in which only ``*`` is special, anchored at both ends; `regexp` is unanchored and wins.
    Names with a segment that starts with ``.`` are hidden, names that start with ``_`` are temporary.
    """

    bucket: str
    store: Store
    pattern: str | None = Field(default=None, max_length=MAX_NAME_LENGTH)
    regexp: str | None = Field(default=None, max_length=MAX_NAME_LENGTH)
    kind: str | None = None
    hidden: bool = False
    include_temp: bool = False
    limit: int = Field(default=500, ge=1, le=1000)
    after: str | None = None


class RevisionPage(Message):
    """Revisions of an object, oldest first, and where the next page starts (None at the end)."""

    items: tuple[Revision, ...] = ()
    next: int | None = None


class ListRevisions(ObjectKey, Request[RevisionPage], subject="metadata.list_revisions", operation="object.read"):
    """List the revisions of an object, oldest first. Raises ObjectNotFound."""

    limit: int = Field(default=500, ge=1, le=1000)
    after: int = 0


class UpdateAttributes(ObjectKey, Request[Metadata], subject="metadata.update_attributes", operation="object.write"):
    """Merge attributes into the object (a None value removes its key); guarded by `etag` when one is given."""

    attributes: dict[str, Any]
    etag: int | None = None


class TagRevision(ObjectKey, Request[Metadata], subject="metadata.tag_revision", operation="object.write"):
    """Move `tag` to the revision `revision_id`. Raises ObjectNotFound, RevisionNotFound."""

    tag: str = Field(min_length=1, max_length=128)
    revision_id: str


class DropObject(ObjectKey, Request[Empty], subject="metadata.drop_object", operation="object.drop"):
    """Drop the object with all its revisions; its blobs are swept later. Raises ObjectNotFound."""


class BucketList(Message):
    """The names of buckets that hold at least one object."""

    items: tuple[str, ...] = ()


class ListBuckets(Request[BucketList], subject="metadata.list_buckets", operation="mesh.internal"):
    """List all buckets; the gateway shows each caller those that it has a role in."""

    bucket: str = "*"


class BlobRefPage(Message):
    """Ids of blobs and frames that some committed revision refers to, and where the next page starts."""

    blob_ids: tuple[str, ...] = ()
    frame_ids: tuple[str, ...] = ()
    next: str | None = None


class ListBlobRefs(Request[BlobRefPage], subject="metadata.list_blob_refs", operation="mesh.internal"):
    """Page through everything that revisions refer to: the mark phase of blobstore's mark-and-sweep."""

    bucket: str = "*"
    after: str | None = None
    limit: int = Field(default=1000, ge=1, le=1000)


class RevisionCommitted(Event, subject="metadata.revision_committed"):
    """An object has a new newest revision, or other attributes or tags."""

    bucket: str
    store: Store
    name: str
    revision_id: str


class ObjectDropped(Event, subject="metadata.object_dropped"):
    """An object is gone."""

    bucket: str
    store: Store
    name: str
