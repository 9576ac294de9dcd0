"""Every test of `blobs` runs on every adapter; times come from a clock that the test holds."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pymongo import MongoClient

from omegakit.blobs import BlobStore, open_blobs
from omegakit.clock import ManualClock

ADAPTERS = [
    "files",
    pytest.param("gridfs-motor", marks=pytest.mark.servers),
    pytest.param("gridfs-pymongo", marks=pytest.mark.servers),
]

StoreFactory = Callable[[], Awaitable[BlobStore]]


@dataclass(frozen=True)
class Disk:
    """What lies under a blob store, to look at and to damage."""

    url: str

    @property
    def root(self) -> Path | None:
        return Path(self.url.removeprefix("file://")) if self.url.startswith("file://") else None

    def leftovers(self) -> int:
        """Count the files of a folder, or the chunks and notes of GridFS."""
        if self.root is not None:
            return sum(each.is_file() for each in self.root.rglob("*"))
        with MongoClient[dict[str, Any]](self.url) as client:
            base = client.get_default_database()
            return sum(base[name].count_documents({}) for name in ("fs.files", "fs.chunks", "fs.pending"))

    def flip(self, id: str, at: int) -> None:
        """Flip the bits of one stored byte."""
        if self.root is not None:
            file = self.root / id[:2] / id[2:]
            file.write_bytes(flipped(file.read_bytes(), at))
            return
        with MongoClient[dict[str, Any]](self.url) as client:
            base = client.get_default_database()
            stored = base["fs.files"].find_one({"filename": id})
            assert stored is not None
            number, offset = divmod(at, stored["chunkSize"])
            chunk = base["fs.chunks"].find_one({"files_id": stored["_id"], "n": number})
            assert chunk is not None
            base["fs.chunks"].update_one({"_id": chunk["_id"]}, {"$set": {"data": flipped(chunk["data"], offset)}})


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime.now(UTC))


@pytest.fixture(params=ADAPTERS)
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    if request.param == "files":
        return Disk(f"file://{tmp_path / 'blobs'}")
    monkeypatch.setenv("OMEGA_MONGO_DRIVER", request.param.removeprefix("gridfs-"))
    return Disk(request.getfixturevalue("mongo_url"))


@pytest_asyncio.fixture
async def open_store(disk: Disk, clock: ManualClock) -> AsyncIterator[StoreFactory]:
    async with AsyncExitStack() as stack:

        async def opened() -> BlobStore:
            store = open_blobs(disk.url, clock=clock)
            stack.push_async_callback(store.close)
            await store.start()
            return store

        yield opened


@pytest_asyncio.fixture
async def blobs(open_store: StoreFactory) -> BlobStore:
    return await open_store()
