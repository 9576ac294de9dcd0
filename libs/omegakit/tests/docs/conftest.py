"""Every test of `docs` runs on every adapter; times come from a clock that the test holds."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from omegakit.clock import ManualClock
from omegakit.docs import Collection, DocStore, Index, open_docs

ADAPTERS = [
    "sqlite",
    pytest.param("mongodb-motor", marks=pytest.mark.servers),
    pytest.param("mongodb-pymongo", marks=pytest.mark.servers),
]
THINGS = Collection(
    "things",
    indexes=(Index(("bucket", "key"), unique=True), Index(("bucket", "n")), Index(("label",))),
    expires="expires",
)
PLAIN = Collection("plain")

StoreFactory = Callable[[], Awaitable[DocStore]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime.now(UTC))


@pytest.fixture(params=ADAPTERS)
def docs_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'folder' / 'docs.sqlite3'}"
    monkeypatch.setenv("OMEGA_MONGO_DRIVER", request.param.removeprefix("mongodb-"))
    url: str = request.getfixturevalue("mongo_url")
    return url


@pytest_asyncio.fixture
async def open_store(docs_url: str, clock: ManualClock) -> AsyncIterator[StoreFactory]:
    async with AsyncExitStack() as stack:

        async def opened() -> DocStore:
            store = open_docs(docs_url, clock=clock)
            stack.push_async_callback(store.close)
            await store.start([THINGS, PLAIN])
            return store

        yield opened


@pytest_asyncio.fixture
async def docs(open_store: StoreFactory) -> DocStore:
    return await open_store()
