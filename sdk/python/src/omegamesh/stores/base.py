"""What every store can do: list, look, drop; and the one way in which an object is put and got."""

from __future__ import annotations

import builtins
import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic_core import to_jsonable_python

from omegamesh.config import stored_bucket
from omegamesh.http import MeshClient, quoted
from omegamesh.transfer import HttpBlobs
from omegaproto.errors import ObjectNotFound, RevisionConflict
from omegaproto.ids import new_id
from omegaproto.names import NameRef, parse_name
from omegaproto.objects import BlobRef, Metadata, ObjectPage, Revision, RevisionPage, Store

if TYPE_CHECKING:
    from omegakinds.base import Dumped, Kind
    from omegakinds.registry import KindRegistry

_CONFLICT_TRIES = 20


class ObjectStore:
    """One store of one bucket."""

    store: ClassVar[Store]
    DoesNotExist = ObjectNotFound

    def __init__(self, client: MeshClient, kinds: KindRegistry) -> None:
        self._client = client
        self._kinds = kinds
        self._blobs = HttpBlobs(client)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} bucket={self._client.config.bucket}>"

    # Looking.

    def list(
        self,
        pattern: str | None = None,
        regexp: str | None = None,
        kind: str | None = None,
        raw: bool = False,
        hidden: bool | None = None,
        include_temp: bool = False,
        bucket: str | None = None,
    ) -> list[Any]:
        """Give the names of objects in order, or their Metadata when `raw`.

        `pattern` is a glob in which only ``*`` is special; `regexp` (RE2, unanchored) wins over it. Names with a
        segment that starts with ``.`` are hidden, names that start with ``_`` are temporary.
        """
        options = {"pattern": pattern, "regexp": regexp, "kind": kind, "hidden": hidden, "temp": include_temp}
        client = self._client if bucket is None else self._client.in_bucket(stored_bucket(bucket))
        found = list(_pages(client, self.store, options))
        return found if raw else [item.name for item in found]

    def exists(self, name: str, hidden: bool = False) -> bool:
        """Say whether an object of that name, or matching that pattern, exists."""
        return bool(self.list(name, hidden=hidden or None, include_temp=True))

    def metadata(self, name: str, version: int | str | None = None) -> Metadata | None:
        """Give what the mesh knows about an object, or None when there is none.

        Raises RevisionNotFound when the object exists, but not in that version.
        """
        return self._find(parse_name(name), version)

    def revisions(self, name: str, raw: bool = False) -> builtins.list[Any]:
        """Give an object's revisions, oldest first: ``name@tag`` or ``name@id``; Revision objects when `raw`.

        Raises ObjectNotFound.
        """
        path = parse_name(name).path
        found: builtins.list[Revision] = []
        after: int | None = 0
        while after is not None:
            answer = self._client.call("GET", f"/api/v1/revisions/{self.store}/{quoted(path)}", params={"after": after})
            page = RevisionPage.model_validate(answer)
            found += page.items
            after = page.next
        return found if raw else [f"{path}@{revision.tags[0] if revision.tags else revision.id}" for revision in found]

    def drop(self, name: str, force: bool = False, report: bool = False) -> Any:
        """Drop an object with all its revisions; a name with ``*`` drops every match. True when something was dropped.

        `report` gives ``{name: dropped}`` instead. Raises ObjectNotFound when there is none, unless `force`.
        """
        names = self.list(name, hidden=True, include_temp=True) if "*" in name else [parse_name(name).path]
        dropped = {found: self._drop(found) for found in names}
        if not any(dropped.values()) and not force:
            raise ObjectNotFound(f"There is nothing called {name!r} to drop.", action="Look with .list().", name=name)
        return dropped if report else any(dropped.values())

    def _drop(self, name: str) -> bool:
        try:
            self._client.call("DELETE", self._path(name))
        except ObjectNotFound:
            return False
        return True

    def set_attributes(self, name: str, **attributes: Any) -> Metadata:
        """Merge attributes into an object; None removes one. Raises ObjectNotFound."""
        answer = self._client.call("PATCH", self._path(parse_name(name).path), body={"attributes": attributes})
        return Metadata.model_validate(answer)

    # Putting and getting.

    def _path(self, name: str) -> str:
        return f"/api/v1/objects/{self.store}/{quoted(name)}"

    def _find(self, reference: NameRef, version: int | str | None = None) -> Metadata | None:
        params: dict[str, Any] = {"version": reference.version, "back": reference.back or None}
        if isinstance(version, str):
            params["version"] = version
        elif version is not None and version != -1:
            params["back" if version < 0 else "version"] = -version - 1 if version < 0 else version
        try:
            return Metadata.model_validate(self._client.call("GET", self._path(reference.path), params=params))
        except ObjectNotFound:
            return None

    def _commit(
        self,
        name: str,
        kind: Kind,
        dumped: Dumped,
        *,
        attributes: dict[str, Any] | None,
        append: bool = False,
        tags: tuple[str, ...] = (),
        idempotency_key: str | None = None,
        expires_at: datetime | None = None,
    ) -> Metadata:
        """Make what was dumped the object's newest revision; to `append`, after the bytes of the one before."""
        body: dict[str, Any] = {
            "kind": dumped.kind,
            "kind_meta": dumped.kind_meta,
            "attributes": attributes,
            "tags": tags,
            "idempotency_key": idempotency_key or new_id(),
            "expires_at": expires_at,
        }
        adds_blobs = append and dumped.parts is None
        reproducible = bool(getattr(kind, "reproducible", True))
        if adds_blobs or not reproducible:
            body["fingerprint"] = _fingerprint(body, dumped.blobs if reproducible else (), append=append)
        if dumped.parts is not None:
            parts = [part.id for part in dumped.parts]
            return self._put(name, body | {"blobs": dumped.blobs, "parts": parts, "append": append})
        if not adds_blobs:
            return self._put(name, body | {"blobs": dumped.blobs})
        return self._put_appended(name, body, dumped.blobs)

    def _put(self, name: str, body: dict[str, Any]) -> Metadata:
        return Metadata.model_validate(self._client.call("PUT", self._path(name), body=body))

    def _put_appended(self, name: str, body: dict[str, Any], blobs: tuple[BlobRef, ...]) -> Metadata:
        for _ in range(_CONFLICT_TRIES):
            found = self._find(NameRef(path=name))
            before = found.revision if found is not None and found.kind == body["kind"] else None
            body["expected_revision"] = "" if found is None else found.revision.id
            body["blobs"] = [*(before.blobs if before else ()), *blobs]
            try:
                return self._put(name, body)
            except RevisionConflict:
                continue
        raise RevisionConflict(f"Too many writers append to {name!r}.", action="Try again.")

    def _load(self, kind: Kind, metadata: Metadata, **options: Any) -> Any:
        return kind.load(metadata.revision, self._blobs, **options)


def _fingerprint(body: dict[str, Any], blobs: tuple[BlobRef, ...], *, append: bool) -> str:
    """Give what tells this put from another under the same key, whatever it is added to."""
    kept = [body[field] for field in ("kind", "kind_meta", "attributes", "tags")]
    content = [(blob.sha256, blob.length, blob.role) for blob in blobs]
    told = to_jsonable_python([kept, content, append], bytes_mode="base64")
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _pages(client: MeshClient, store: Store, options: dict[str, Any]) -> Iterator[Metadata]:
    after: str | None = None
    while True:
        answer = client.call("GET", f"/api/v1/objects/{store}", params={**options, "after": after})
        page = ObjectPage.model_validate(answer)
        yield from page.items
        after = page.next
        if after is None:
            return
