"""``om.datasets``: frames, series, arrays, Python data and files."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from omegakinds.base import FrameKind, Kind
from omegamesh.frames import FrameReader
from omegamesh.stores.base import ObjectStore
from omegaproto.errors import BadName, UnknownKind
from omegaproto.frames import FrameQuery
from omegaproto.names import NameRef, parse_name
from omegaproto.objects import Metadata, Store


class Datasets(ObjectStore):
    """The datasets of a bucket."""

    store: ClassVar[Store] = Store.datasets

    def put(
        self,
        obj: Any,
        name: str,
        attributes: dict[str, Any] | None = None,
        kind: str | None = None,
        replace: bool = False,
        append: bool | None = None,
        tag: str | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Metadata | None:
        """Store an object as a new revision of `name`, and give its Metadata.

        `append` True adds to what is there, False replaces it, None adds and warns when there was something. `replace`
        also clears the attributes. An empty frame is not stored: a warning, and None.

        Raises:
            UnknownKind: no kind supports the object (it is a TypeError too).
            BadFrame: a frame cannot be stored as columns, or does not match the one that it is added to.
        """
        reference = _plain(name)
        chosen = self._kinds.for_object(obj, reference, self.store, kind=kind, **options)
        if isinstance(chosen, FrameKind) and len(obj) == 0:
            warnings.warn(f"{name!r} was not stored: the frame is empty.", stacklevel=2)
            return None
        appends = _adds_up(chosen) and not replace and append is not False
        if appends and append is None and self._find(NameRef(path=reference)) is not None:
            warnings.warn(f"{name!r} exists and was appended to; say append=True or append=False.", stacklevel=2)
        dumped = chosen.dump(obj, self._blobs, **options)
        return self._commit(
            reference,
            chosen,
            dumped,
            attributes=_attributes(attributes, replace=replace),
            append=appends,
            tags=(tag,) if tag else (),
            idempotency_key=idempotency_key,
        )

    def get(
        self,
        name: str,
        version: int | str | None = None,
        columns: list[str] | None = None,
        filter: dict[str, Any] | None = None,
        chunksize: int | None = None,
        **options: Any,
    ) -> Any:
        """Give a stored object, or None when there is none of that name.

        For frames, `columns` or ``name[cols]`` choose columns, and ``column__operator=value`` (or `filter`) rows;
        `chunksize` gives an iterator of frames of that many rows. For other kinds, keyword
        arguments are options of the kind.

        Raises:
            UnknownColumn, BadFilter: the frame has no such column, or there is no such operator.
            UnknownKind: what is to come in chunks is no frame.
            RevisionNotFound: the object exists, but not in that version.
            BlobCorrupted: what is stored is not what was put.
        """
        reference = parse_name(name)
        metadata = self._find(reference, version)
        if metadata is None:
            return None
        kind = self._kinds.by_name(metadata.kind)
        if not isinstance(kind, FrameKind):
            self._refuse_parts(reference, metadata, chunksize)
            return self._load_all(kind, metadata, **options, **(filter or {}))
        reader = FrameReader(self._client, kind, metadata)
        query = FrameQuery(columns=_columns(reference, columns), where=_where({**(filter or {}), **options}))
        return reader.chunks(query, chunksize) if chunksize else reader.read(query)

    def _load_all(self, kind: Kind, metadata: Metadata, **options: Any) -> Any:
        if not getattr(kind, "collects", False):
            return self._load(kind, metadata, **options)
        each = (metadata.revision.model_copy(update={"blobs": (blob,)}) for blob in metadata.revision.blobs)
        return [kind.load(revision, self._blobs, **options) for revision in each]

    @staticmethod
    def _refuse_parts(reference: NameRef, metadata: Metadata, chunksize: int | None) -> None:
        if reference.columns is not None:
            raise BadName(
                f"{reference.path!r} is {metadata.kind}, which has no columns to choose.",
                action="Leave out the [].",
            )
        if chunksize:
            raise UnknownKind(f"{reference.path!r} is {metadata.kind}, not a frame.", action="Leave out chunksize.")


def _adds_up(kind: Kind) -> bool:
    return isinstance(kind, FrameKind) or bool(getattr(kind, "collects", False))


def _plain(name: str) -> str:
    reference = parse_name(name)
    if str(reference) != reference.path:
        raise BadName(
            f"{name!r} names a part or a version of an object; a put needs its plain name.",
            action=f"Use {reference.path!r}.",
        )
    return reference.path


def _attributes(attributes: dict[str, Any] | None, *, replace: bool) -> dict[str, Any] | None:
    return attributes or {} if replace else attributes


def _columns(reference: NameRef, columns: list[str] | None) -> Any:
    if columns is None:
        return reference.columns
    from omegaproto.names import ColumnItem, Columns

    return Columns(items=tuple(ColumnItem(start=name) for name in columns))


def _where(filters: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    from pydantic_core import to_jsonable_python

    def plain(value: Any) -> Any:
        listed = list(value) if isinstance(value, tuple | set | range) else value
        listed = listed.tolist() if hasattr(listed, "tolist") else listed
        return to_jsonable_python(listed)

    return tuple((key, plain(value)) for key, value in filters.items())
