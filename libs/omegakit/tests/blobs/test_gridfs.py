"""What only GridFS does: other tools can read it, and what died half-way is swept."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import gridfs
import pytest
from bson import ObjectId
from pymongo import MongoClient

from omegakit.blobs import open_blobs
from omegaproto.errors import BlobCorrupted, OmegaError, Unavailable

pytestmark = pytest.mark.servers
A = "a" * 32
DATA = bytes(range(256)) * 12_000


async def chunks() -> AsyncIterator[bytes]:
    yield DATA


async def test_other_tools_read_the_blobs(mongo_url: str) -> None:
    blobs = open_blobs(f"gridfs+{mongo_url}")
    await blobs.start()
    await blobs.put(A, "b", chunks())
    with MongoClient[dict[str, Any]](mongo_url) as client:
        assert gridfs.GridFSBucket(client.get_default_database()).open_download_stream_by_name(A).read() == DATA
    await blobs.close()


async def test_missing_chunks_are_seen_in_ranges_too(mongo_url: str) -> None:
    blobs = open_blobs(mongo_url)
    await blobs.start()
    await blobs.put(A, "b", chunks())
    with MongoClient[dict[str, Any]](mongo_url) as client:
        client.get_default_database()["fs.chunks"].delete_one({"n": 1})
    with pytest.raises(BlobCorrupted):
        await anext(blobs.get(A, 255 * 1024 - 10, 255 * 1024 + 10))
    await blobs.close()


async def test_uploads_that_died_are_swept_after_an_hour(mongo_url: str) -> None:
    now = datetime.now(UTC)
    old, new, done = ObjectId(), ObjectId(), ObjectId()
    with MongoClient[dict[str, Any]](mongo_url) as client:
        base = client.get_default_database()
        for key in (old, new, done):
            base["fs.chunks"].insert_one({"files_id": key, "n": 0, "data": b"abc"})
        base["fs.files"].insert_one({"_id": done, "filename": A, "uploadDate": now})
        ages = {old: 61, new: 59, done: 61}
        base["fs.pending"].insert_many([{"_id": key, "at": now - timedelta(minutes=age)} for key, age in ages.items()])
        blobs = open_blobs(mongo_url)
        await blobs.start()
        await blobs.close()
        assert {each["files_id"] for each in base["fs.chunks"].find()} == {new, done}
        assert [each["_id"] for each in base["fs.pending"].find()] == [new]


async def test_a_server_that_is_down_is_unavailable() -> None:
    blobs = open_blobs("mongodb://127.0.0.1:1/db?serverSelectionTimeoutMS=100")
    with pytest.raises(Unavailable):
        await blobs.start()
    await blobs.close()


async def test_an_upload_that_the_server_refuses_leaves_nothing(mongo_url: str) -> None:
    blobs = open_blobs(mongo_url)
    await blobs.start()
    with MongoClient[dict[str, Any]](mongo_url) as client:
        base = client.get_default_database()
        base.command("collMod", "fs.chunks", validator={"n": {"$lt": 3}})
        with pytest.raises(OmegaError, match="validation"):
            await blobs.put(A, "b", chunks())
        assert base["fs.chunks"].count_documents({}) == base["fs.files"].count_documents({}) == 0
    await blobs.close()
