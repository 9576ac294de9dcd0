"""A blobstore on real stores behind a real server on a Unix socket, and a metadata service that knows revisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from omega_blobstore.app import BlobstoreService, create
from omega_blobstore.settings import BlobstoreOptions, BlobstoreSettings
from omegakit.bus.connect import open_bus
from omegakit.bus.memory import MemoryBroker
from omegakit.http import AsyncClient, open_client
from omegakit.server import hosted
from omegakit.service import Kit, make_kit
from omegakit.settings import AuthSettings, BlobsSettings, DocsSettings, HttpSettings
from omegaproto.errors import Unavailable
from omegaproto.objects import BlobRef, BlobRefPage, ListBlobRefs
from omegaproto.scopes import Principal, Role
from omegaproto.tasks import ListTaskBlobRefs

BUCKET = "omegaml"
SECRET = "s" * 48


@dataclass
class References:
    """What revisions refer to, as the metadata service of these tests answers, two ids a page."""

    blob_ids: list[str] = field(default_factory=list)
    frame_ids: list[str] = field(default_factory=list)
    fails_at: int | None = None
    """The page that cannot be read."""
    pages: int = 0
    task_blob_ids: list[str] = field(default_factory=list)
    scheduler_is_away: bool = False

    async def answer(self, request: ListBlobRefs, _caller: Principal) -> BlobRefPage:
        at = int(request.after or 0)
        self.pages += 1
        if self.fails_at is not None and at >= self.fails_at:
            raise Unavailable("The store of metadata is down.")
        more = at + 2 < max(len(self.blob_ids), len(self.frame_ids))
        return BlobRefPage(
            blob_ids=tuple(self.blob_ids[at : at + 2]),
            frame_ids=tuple(self.frame_ids[at : at + 2]),
            next=str(at + 2) if more else None,
        )

    async def answer_for_tasks(self, _request: ListTaskBlobRefs, _caller: Principal) -> BlobRefPage:
        """Answer as the scheduler of these tests."""
        if self.scheduler_is_away:
            raise Unavailable("The scheduler is away.")
        return BlobRefPage(blob_ids=tuple(self.task_blob_ids))


@dataclass
class Store:
    """A running blobstore, as its callers reach it."""

    kit: Kit
    service: BlobstoreService
    http: AsyncClient
    references: References
    socket: Path
    folder: Path

    def token(self, role: Role = Role.writer, bucket: str = BUCKET) -> str:
        return self.kit.tokens.acting_for(Principal(userid="jo", grants={bucket: role}), bucket)

    def headers(self, role: Role = Role.writer, bucket: str = BUCKET) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(role, bucket)}"}

    async def upload(self, data: bytes, bucket: str = BUCKET) -> BlobRef:
        response = await self.http.post(
            "/v1/blobs", params={"bucket": bucket}, content=data, headers=self.headers(bucket=bucket)
        )
        assert response.status_code == 201, response.text
        return BlobRef.model_validate_json(response.content)

    async def call(self, request: Any, role: Role = Role.writer) -> Any:
        return await self.kit.bus.call(request, token=self.token(role, request.bucket))

    def metric(self, name: str) -> float:
        found = self.kit.metrics.registry.get_sample_value(name)
        assert found is not None, name
        return found


OpenStore = Callable[..., Awaitable[Store]]


@pytest.fixture(params=["files", pytest.param("gridfs", marks=pytest.mark.servers)])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """URLs of documents and blobs: SQLite and files, or MongoDB and GridFS."""
    if request.param == "files":
        return f"sqlite:///{tmp_path}/mesh.sqlite3", f"file://{tmp_path}/blobs"
    url = request.getfixturevalue("mongo_url")
    return url, url


@pytest.fixture
def local_stores(tmp_path: Path) -> tuple[str, str]:
    """URLs of documents in SQLite and blobs in files."""
    return f"sqlite:///{tmp_path}/mesh.sqlite3", f"file://{tmp_path}/blobs"


@pytest_asyncio.fixture
async def open_store(tmp_path: Path) -> AsyncIterator[OpenStore]:
    """A factory of running blobstores: `store = await open_store(urls, max_blob_bytes=…)`."""
    async with AsyncExitStack() as stack:

        async def start(urls: tuple[str, str], clock: Any = None, **options: Any) -> Store:
            auth = AuthSettings(secret=SecretStr(SECRET))
            settings = BlobstoreSettings(
                auth=auth,
                docs=DocsSettings(url=urls[0]),
                blobs=BlobsSettings(url=urls[1]),
                blobstore=BlobstoreOptions(**options),
            )
            bus = open_bus("memory://", MemoryBroker())
            await bus.start()
            stack.push_async_callback(bus.close)
            kit = make_kit("blobstore", settings, bus, clock)
            references = References()
            rpc = kit.rpc()
            await rpc.serve(ListBlobRefs, references.answer)
            await rpc.serve(ListTaskBlobRefs, references.answer_for_tasks)
            stack.push_async_callback(rpc.stop)
            service = create(kit, settings)
            socket = tmp_path / "s"
            server = await stack.enter_async_context(hosted(service, HttpSettings(uds=socket)))
            http = await stack.enter_async_context(open_client(server.url))
            return Store(kit, service, http, references, socket, tmp_path)

        yield start


@pytest_asyncio.fixture
async def store(open_store: OpenStore, stores: tuple[str, str]) -> Store:
    """A blobstore on each pair of stores."""
    return await open_store(stores)


@pytest_asyncio.fixture
async def local_store(open_store: OpenStore, local_stores: tuple[str, str]) -> Store:
    """A blobstore on SQLite and files."""
    return await open_store(local_stores)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return when `condition` holds: for what another thread or connection does."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
