"""Manifests of frames as documents. A manifest is written once and never changed.

A frame is one document, and more of them when its list of parts is long: the first (number 0) is written last, so a
frame is there whole or not at all. Parts are kept as JSON text: it is written and read in one go.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime

from pydantic import TypeAdapter

from omega_blobstore.blobs import no_blob
from omegakit.docs import Collection, Cond, Doc, DocStore, Index
from omegaproto.frames import FrameInfo, FrameManifest, FramePart

FRAMES = Collection("frames", (Index(("frame", "number")),))
MAX_PARTS = 2000
"""Parts in one document."""
MAX_BYTES = 4 * 1024 * 1024
"""Bytes of parts in one document; MongoDB allows 16 MiB."""
_PAGE = 1000
_PARTS = TypeAdapter(tuple[FramePart, ...])


class ManifestRepository:
    """The frames' documents."""

    def __init__(self, docs: DocStore) -> None:
        self._docs = docs

    async def add(self, manifest: FrameManifest, created: datetime) -> None:
        """Keep a manifest."""
        documents = await asyncio.to_thread(lambda: list(_documents(manifest, created)))
        for document in reversed(documents):
            await self._docs.insert(FRAMES.name, document)

    async def get(self, bucket: str, frame_id: str) -> FrameManifest:
        """Give a manifest. Raises BlobNotFound, for a frame of another bucket too."""
        first = await self._docs.get(FRAMES.name, frame_id)
        if first is None or first["number"] != 0 or first["bucket"] != bucket:
            raise no_blob(frame_id)
        rest = await self._docs.get_many(
            FRAMES.name, [_id(frame_id, number) for number in range(1, first["documents"])]
        )
        if None in rest:
            raise no_blob(frame_id)  # A sweep is removing it at this moment.
        return await asyncio.to_thread(_manifest, [first, *(doc for doc in rest if doc)])

    async def older_than(self, when: datetime) -> AsyncIterator[tuple[str, str, bool]]:
        """Give (document id, frame id, is it the first) of documents made before `when`, in order of id."""
        fields, where = ("frame", "number"), (Cond("created", "<", when),)
        async for doc in self._pages(where, fields):
            yield doc["_id"], doc["frame"], doc["number"] == 0

    async def blob_ids(self) -> AsyncIterator[list[str]]:
        """Give the blobs of every frame there is, some at a time."""
        async for doc in self._pages((), ("blob_ids",)):
            yield doc["blob_ids"]

    async def delete(self, document_id: str) -> bool:
        """Delete one document of a frame."""
        return await self._docs.delete(FRAMES.name, document_id)

    async def _pages(self, where: tuple[Cond, ...], fields: tuple[str, ...]) -> AsyncIterator[Doc]:
        after = None
        while True:
            page = await self._docs.find(FRAMES.name, where, limit=_PAGE, after=after, fields=fields)
            for doc in page.items:
                yield doc
            if page.next is None:
                return
            after = page.next


def _id(frame_id: str, number: int) -> str:
    return f"{frame_id}-{number:05d}" if number else frame_id


def _documents(manifest: FrameManifest, created: datetime) -> Iterator[Doc]:
    frame_id = manifest.info.frame_id
    groups = list(_groups(manifest.parts))
    for number, group in enumerate(groups):
        document: Doc = {
            "_id": _id(frame_id, number),
            "frame": frame_id,
            "number": number,
            "bucket": manifest.bucket,
            "created": created,
            "blob_ids": [part.blob.id for part, _ in group],
            "parts": "[" + ",".join(text for _, text in group) + "]",
        }
        if number == 0:
            document |= {
                "documents": len(groups),
                "info": manifest.info.model_dump_json(),
                "schema": manifest.arrow_schema,
            }
        yield document


def _groups(parts: Iterable[FramePart]) -> Iterator[list[tuple[FramePart, str]]]:
    """Give the parts with their JSON, in groups that fit into a document; one group at least."""
    group: list[tuple[FramePart, str]] = []
    size = 0
    for part in parts:
        text = part.model_dump_json(exclude_defaults=True)
        if group and (len(group) == MAX_PARTS or size + len(text) > MAX_BYTES):
            yield group
            group, size = [], 0
        group.append((part, text))
        size += len(text)
    yield group


def _manifest(documents: list[Doc]) -> FrameManifest:
    first = documents[0]
    return FrameManifest(
        info=FrameInfo.model_validate(json.loads(first["info"])),
        bucket=first["bucket"],
        arrow_schema=first["schema"],
        parts=tuple(part for document in documents for part in _PARTS.validate_json(document["parts"])),
    )
