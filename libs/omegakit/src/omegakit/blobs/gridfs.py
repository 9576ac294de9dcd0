"""The BlobStore on MongoDB's GridFS: any GridFS tool can read what it writes (a file's name is the blob's id).

The file's document is written last, so that a half upload is invisible. Every upload and delete first leaves a note in
`fs.pending`; notes older than an hour at `start()` are of those that died, and their chunks go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from omegakit import mongo
from omegakit.blobs.checks import Span, blob_exists, check_id, checked, corrupted, no_blob, span
from omegakit.blobs.port import StoredBlob
from omegakit.blobs.streams import Digest, cut, each_of, in_flight, one_ahead, pieces, verified
from omegakit.clock import Clock, SystemClock
from omegakit.mongo import Mongo, mongo_errors
from omegaproto.errors import Unavailable

# Measured on 64 MB: larger chunks are no faster in either direction, and a short range costs more. GridFS's own size.
CHUNK = 255 * 1024
_BATCH = 8  # chunks inserted in one command
_GATHER = 1024 * 1024
_INSERTS = 3  # commands under way at once: an upload holds about 6 MiB
_READ = 16 * CHUNK  # bytes asked for at once; twice that is held
_LEFTOVER = timedelta(hours=1)


class GridFsBlobs:
    """Blobs in the GridFS bucket `fs` of the database that `url` names."""

    def __init__(self, url: str, *, clock: Clock | None = None, driver: mongo.Driver | None = None) -> None:
        self._url = url
        self._driver = driver
        self._clock = clock or SystemClock()
        self._mongo: Mongo | None = None

    async def start(self) -> None:
        """Connect, make indexes, and remove what died half-way more than an hour ago."""
        self._mongo = self._mongo or Mongo(self._url, driver=self._driver)
        await self._mongo.ping()
        with mongo_errors():
            await self._files.create_indexes(
                [
                    mongo.IndexModel([("filename", 1), ("uploadDate", 1)]),
                    mongo.IndexModel([("filename", 1)], unique=True),
                ]
            )
            await self._chunks.create_indexes([mongo.IndexModel([("files_id", 1), ("n", 1)], unique=True)])
        await self._sweep()

    async def close(self) -> None:
        """Close all connections."""
        if self._mongo is not None:
            closing, self._mongo = self._mongo, None
            await closing.close()

    async def ping(self) -> None:
        """Return when the primary answers. Raises Unavailable."""
        await self._open().ping()

    async def put(
        self,
        id: str,
        bucket: str,
        chunks: AsyncIterator[bytes],
        *,
        sha256: str | None = None,
        length: int | None = None,
    ) -> StoredBlob:
        """Store a blob. Raises ChecksumMismatch, IncompleteUpload, DuplicateKey; nothing stays behind then."""
        check_id(id)
        with mongo_errors():
            if await self._files.find_one({"filename": id}, ["_id"]) is not None:
                raise blob_exists(id)
            key = await self._note()
            try:
                digest = Digest()
                async with aclosing(pieces(chunks, length, _GATHER)) as stream:
                    await self._store(key, stream, digest)
                blob = checked(StoredBlob(id, bucket, digest.sha256, digest.length, self._now()), sha256, length)
                await self._files.insert_one(_file(key, blob))
            except BaseException as error:
                await asyncio.shield(self._discard(key))
                if isinstance(error, mongo.DuplicateKeyError):
                    raise blob_exists(id) from None
                raise
            await self._forget(key)
        return blob

    async def stat(self, id: str) -> StoredBlob:
        """Describe a blob. Raises BlobNotFound."""
        return _blob(await self._find(id))

    async def get(self, id: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Stream the bytes from `start` up to and without `stop`; a whole blob is checked before its last chunk."""
        file = await self._find(id)
        blob = _blob(file)
        wanted = span(blob, start, stop)
        async with aclosing(self._pieces_of(file, wanted)) as stream:
            async for piece in verified(stream, blob) if wanted.whole else each_of(stream):
                yield piece

    async def delete(self, id: str) -> bool:
        """Delete a blob; False when there is none."""
        check_id(id)
        with mongo_errors():
            file = await self._files.find_one({"filename": id}, ["_id"])
            if file is None:
                return False
            await self._note(file["_id"])
            gone = await self._files.delete_one({"_id": file["_id"]})
            await self._discard(file["_id"])
        return gone.deleted_count == 1

    async def list(self, *, older_than: datetime | None = None) -> AsyncIterator[StoredBlob]:
        """Give all blobs (created before `older_than`), in order of id."""
        with mongo_errors():
            async for file in self._files.find({}).sort("filename", 1):
                blob = _blob(file)
                if older_than is None or blob.created < older_than:
                    yield blob

    def _open(self) -> Mongo:
        if self._mongo is None:
            raise Unavailable("The blob store is not open.", action="Call start() first.")
        return self._mongo

    @property
    def _files(self) -> mongo.Collection:
        return self._open().collection("fs.files")

    @property
    def _chunks(self) -> mongo.Collection:
        return self._open().collection("fs.chunks")

    @property
    def _pending(self) -> mongo.Collection:
        return self._open().collection("fs.pending")

    def _now(self) -> datetime:
        now = self._clock.now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)  # as a BSON date holds it

    async def _find(self, id: str) -> dict[str, Any]:
        check_id(id)
        with mongo_errors():
            file = await self._files.find_one({"filename": id})
        if file is None:
            raise no_blob(id)
        return file

    async def _note(self, key: mongo.ObjectId | None = None) -> mongo.ObjectId:
        key = key or mongo.ObjectId()
        await self._pending.replace_one({"_id": key}, {"at": self._clock.now()}, upsert=True)
        return key

    async def _forget(self, key: mongo.ObjectId) -> None:
        # A note that a crash brings back does no harm: the sweep sees that the file is there.
        await self._pending.with_options(write_concern=mongo.WriteConcern(w=1)).delete_one({"_id": key})

    async def _discard(self, key: mongo.ObjectId) -> None:
        await self._chunks.delete_many({"files_id": key})
        await self._forget(key)

    async def _sweep(self) -> None:
        with mongo_errors():
            async for note in self._pending.find({"at": {"$lt": self._clock.now() - _LEFTOVER}}):
                if await self._files.find_one({"_id": note["_id"]}, ["_id"]) is None:
                    await self._discard(note["_id"])
                else:
                    await self._forget(note["_id"])

    async def _store(self, key: mongo.ObjectId, stream: AsyncIterator[Sequence[bytes]], digest: Digest) -> None:
        """Hash and insert the chunks, a few at once."""
        async with in_flight(_INSERTS) as start, aclosing(_even(stream)) as chunks:
            number = 0
            async for batch in chunks:
                await asyncio.to_thread(digest.update, *batch)
                documents = [{"files_id": key, "n": number + at, "data": data} for at, data in enumerate(batch)]
                await start(self._insert(documents))
                number += len(batch)

    async def _insert(self, documents: Sequence[dict[str, Any]]) -> None:
        try:
            await self._chunks.insert_many(documents, ordered=False)
        except mongo.BulkWriteError as error:
            raise mongo.bulk_failure(error) from error

    def _pieces_of(self, file: dict[str, Any], wanted: Span) -> AsyncGenerator[Sequence[bytes], None]:
        step = max(1, _READ // file["chunkSize"]) * file["chunkSize"]
        first = wanted.start - wanted.start % step
        bounds = ((max(at, wanted.start), min(at + step, wanted.stop)) for at in range(first, wanted.stop, step))
        return one_ahead(partial(self._read, file, start, stop) for start, stop in bounds if start < stop)

    async def _read(self, file: dict[str, Any], start: int, stop: int) -> Sequence[bytes]:
        """Give the chunks from `start` to `stop`, as they come: joining them would cost as much as fetching them."""
        size: int = file["chunkSize"]
        numbers = {"$gte": start // size, "$lte": (stop - 1) // size}
        with mongo_errors():
            query = self._chunks.find({"files_id": file["_id"], "n": numbers}, {"_id": 0, "data": 1})
            found = await query.sort("n", 1).to_list(None)
        chunks = cut([each["data"] for each in found], start - start // size * size, stop - start)
        if sum(map(len, chunks)) != stop - start:
            raise corrupted(file["filename"], "chunks are missing")
        return chunks


async def _even(stream: AsyncIterator[Sequence[bytes]]) -> AsyncGenerator[Sequence[bytes], None]:
    """Give the same bytes as batches of chunks of one size, as GridFS wants them; only the last is smaller."""
    rest = b""
    async for piece in stream:
        data = b"".join([rest, *piece])
        whole = len(data) - len(data) % (CHUNK * _BATCH)
        for at in range(0, whole, CHUNK * _BATCH):
            yield _chunks(data[at : at + CHUNK * _BATCH])
        rest = data[whole:]
    if rest:
        yield _chunks(rest)


def _chunks(data: bytes) -> Sequence[bytes]:
    return [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]


def _file(key: mongo.ObjectId, blob: StoredBlob) -> dict[str, Any]:
    return {
        "_id": key,
        "filename": blob.id,
        "length": blob.length,
        "chunkSize": CHUNK,
        "uploadDate": blob.created,
        "metadata": {"bucket": blob.bucket, "sha256": blob.sha256},
    }


def _blob(file: dict[str, Any]) -> StoredBlob:
    about = file["metadata"]
    return StoredBlob(file["filename"], about["bucket"], about["sha256"], file["length"], file["uploadDate"])
