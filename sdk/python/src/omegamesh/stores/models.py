"""``om.models``: estimators and what else has verbs such as fit and predict. Every put makes a version."""

from __future__ import annotations

from typing import Any, ClassVar

from omegakinds.base import ModelKind
from omegamesh.http import quoted
from omegamesh.stores.base import ObjectStore
from omegaproto.errors import BadName, ObjectNotFound, UnknownAction
from omegaproto.names import NameRef, parse_name
from omegaproto.objects import Metadata, Store


class Models(ObjectStore):
    """The models of a bucket."""

    store: ClassVar[Store] = Store.models

    def put(
        self,
        obj: Any,
        name: str,
        attributes: dict[str, Any] | None = None,
        kind: str | None = None,
        replace: bool = False,
        tag: str | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Metadata:
        """Store a model as a new version of `name`, tagged `tag` if given, and give its Metadata.

        Raises UnknownKind when no kind supports the object (it is a TypeError too).
        """
        reference = parse_name(name)
        if reference.columns is not None or reference.op is not None or reference.back:
            raise BadName(f"{name!r} is not the name of a model to store.", action=f"Use {reference.path!r}.")
        chosen = self._kinds.for_object(obj, reference.path, self.store, kind=kind, **options)
        tags = tuple(filter(None, (tag, reference.version)))
        return self._commit(
            reference.path,
            chosen,
            chosen.dump(obj, self._blobs, **options),
            attributes=attributes or {} if replace else attributes,
            tags=tags,
            idempotency_key=idempotency_key,
        )

    def get(self, name: str, version: int | str | None = None, tag: str | None = None, **options: Any) -> Any:
        """Give a model, or None when there is none of that name.

        ``name@tag``, ``name^`` (the one before), `tag`, or `version` (-1 newest, -2 the one before, or a tag) choose a
        version.

        Raises RevisionNotFound when the model exists, but not in that version.
        """
        metadata = self._find(_with_old_tag(name), tag or version)
        if metadata is None:
            return None
        return self._load(self._kinds.by_name(metadata.kind), metadata, trusted=True, **options)

    def tag(self, name: str, tag: str) -> Metadata:
        """Move `tag` to the version that `name` chooses (``m``, ``m^``, ``m@3``).

        Raises ObjectNotFound, RevisionNotFound.
        """
        reference = _with_old_tag(name)
        metadata = self._find(reference)
        if metadata is None:
            raise ObjectNotFound(f"There is no model {name!r}.", action="Look with om.models.list().", name=name)
        params = {"tag": tag, "revision_id": metadata.revision.id}
        path = f"/api/v1/tags/{self.store}/{quoted(reference.path)}"
        return Metadata.model_validate(self._client.call("PUT", path, params=params))

    def load(self, name: str) -> tuple[Metadata, ModelKind, Any]:
        """Give a model with its metadata and kind. Raises ObjectNotFound, UnknownAction when its kind has no verbs."""
        metadata = self._find(_with_old_tag(name))
        if metadata is None:
            raise ObjectNotFound(f"There is no model {name!r}.", action="Look with om.models.list().", name=name)
        kind = self._kinds.by_name(metadata.kind)
        if not isinstance(kind, ModelKind):
            raise UnknownAction(f"{name!r} is {metadata.kind}, which cannot be run.", action="Name a model.")
        return metadata, kind, self._load(kind, metadata, trusted=True)


def _with_old_tag(name: str) -> NameRef:
    """Read ``name#tag``, the older spelling of ``name@tag``."""
    reference = parse_name(name)
    if reference.op and reference.version is None:
        return reference.model_copy(update={"version": reference.op, "op": None})
    return reference
