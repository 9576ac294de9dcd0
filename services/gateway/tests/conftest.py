"""A real gateway on a real socket, over real metadata, blobstore and scheduler; only the worker is a small one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

import omega_blobstore.app
import omega_gateway.app
import omega_metadata.app
import omega_scheduler.app
from omega_blobstore.settings import BlobstoreSettings
from omega_gateway.app import GatewayService
from omega_gateway.settings import GatewaySettings
from omega_metadata.settings import MetadataSettings
from omega_scheduler.settings import SchedulerSettings
from omegakit.bus.memory import MemoryBroker, MemoryBus
from omegakit.server import HttpServer, hosted
from omegakit.service import Kit, make_kit
from omegakit.settings import AuthSettings, HttpSettings, ServiceSettings
from omegakit.tokens import mesh_public_key, worker_secret
from omegaproto.errors import BadBody, OmegaError, Overloaded
from omegaproto.messages import Doorbell
from omegaproto.predictions import PredictBatch, Prediction, Predictions
from omegaproto.scopes import Principal
from omegaproto.tasks import ClaimedTask, ClaimTasks, CompleteTasks, Completion, Payload, RegisterWorker

SECRET = "m" * 40
ADMIN_KEY = "omk_0123456789abcdef_" + "s" * 43
BUCKET = "omegaml"
Gateways = Callable[..., Any]


@dataclass
class Worker:
    """A worker that sums rows, and runs tasks by what their params tell it."""

    kit: Kit
    batches: list[PredictBatch] = field(default_factory=list)
    tasks: list[ClaimedTask] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    padding: int = 0
    broken: OmegaError | None = None
    short: bool = False
    crowded: bool = False

    async def start(self, label: str = "cpu") -> None:
        self.open.set()
        await self.kit.rpc().serve(PredictBatch, self.predict, route=label)
        await self.kit.bus.on_ring(label, self.ring, prefetch=16)
        await self.call(RegisterWorker(worker="w1", labels=(label,), slots=16))

    async def call(self, request: Any) -> Any:
        return await self.kit.bus.call(request, token=self.kit.tokens.own())

    async def predict(self, request: PredictBatch, _caller: Principal) -> Predictions:
        self.batches.append(request)
        self.arrived.set()
        await self.open.wait()
        if self.broken is not None:
            raise self.broken
        items = [self._answer(body) for body in request.bodies[: -1 if self.short else None]]
        if self.crowded:
            items[1:] = [Prediction(error=Overloaded("no room").info()) for _ in items[1:]]
        return Predictions(items=tuple(items))

    def _answer(self, body: str) -> Prediction:
        try:
            rows = json.loads(body)["data"]
            return Prediction(result=json.dumps([sum(row) for row in rows]) + " " * self.padding)
        except (ValueError, TypeError, KeyError) as error:
            return Prediction(error=BadBody(f"not data: {error}").info())

    async def ring(self, bell: Doorbell) -> None:
        claims = await self.call(ClaimTasks(worker="w1", task_ids=(bell.task_id,)))
        for claimed in claims.items:
            self.tasks.append(claimed)
            self.arrived.set()
            await self.open.wait()
            await self.complete(claimed)

    async def complete(self, claimed: ClaimedTask) -> None:
        params = claimed.task.spec.params
        ended: dict[str, Any] = {"outcome": "succeeded", "result": Payload(value=params.get("result", [1.5]))}
        if "kind" in params:
            ended["result"] = Payload(kind=str(params["kind"]), data=b"x")
        if "fail" in params:
            ended = {"outcome": "failed", "error": OmegaError("its code raised").info()}
        done = Completion(task_id=claimed.task.id, token=claimed.lease.token, **ended)
        await self.call(CompleteTasks(worker="w1", completions=(done,)))


@dataclass
class Mesh:
    """What a test talks to."""

    url: str
    gateway: GatewayService
    server: HttpServer
    kit: Kit
    broker: MemoryBroker
    worker: Worker
    stack: AsyncExitStack
    folder: Path
    options: dict[str, Any]

    @property
    def store_url(self) -> str:
        return str(self.options["blobstore_url"])

    def client(self, credentials: str | None = f"ApiKey admin:{ADMIN_KEY}", bucket: str | None = None) -> Any:
        headers = {"Authorization": credentials} if credentials else {}
        headers |= {"Bucket": bucket} if bucket else {}
        return httpx2.AsyncClient(base_url=self.url, headers=headers, trust_env=False, verify=False, timeout=30)

    async def user(self, userid: str, **grants: str) -> str:
        """Create a user and give its credentials."""
        async with self.client() as admin:
            named = {"*" if name == "everywhere" else name: role for name, role in grants.items()}
            made = await admin.post("/api/v1/users", json={"userid": userid, "grants": named})
            assert made.status_code == 201, made.text
            return f"ApiKey {userid}:{made.json()['apikey']}"

    async def put_model(self, name: str = "m", **fields: Any) -> dict[str, Any]:
        """Upload a blob and put it as a model; gives the metadata."""
        async with self.client() as client:
            blob = (await client.post("/api/v1/blobs", content=b"model bytes")).json()
            body = {"kind": "test.model", "blobs": [blob]} | fields
            answer = await client.put(f"/api/v1/objects/models/{name}", json=body)
            assert answer.status_code == 200, answer.text
            return answer.json()

    async def second_gateway(self, **options: Any) -> Any:
        """Start one more gateway on the same mesh."""
        return await gateway(self.stack, self.broker, self.options, **options)


def trusted() -> dict[str, Any]:
    return {"bus": {"url": "memory://"}, "auth": {"secret": SECRET, "pepper": "p" * 40}}


async def kit_for(stack: AsyncExitStack, broker: MemoryBroker, name: str, settings: ServiceSettings) -> Kit:
    bus = MemoryBus(broker)
    await bus.start()
    stack.push_async_callback(bus.close)
    return make_kit(name, settings, bus)


async def gateway(
    stack: AsyncExitStack, broker: MemoryBroker, options: dict[str, Any], **more: Any
) -> tuple[GatewayService, HttpServer, Kit]:
    settings = GatewaySettings(**trusted(), gateway=options | more)
    kit = await kit_for(stack, broker, "gateway", settings)
    service = omega_gateway.app.create(kit, settings)
    server = await stack.enter_async_context(hosted(service, HttpSettings(drain_seconds=5)))
    return service, server, kit


async def start_mesh(stack: AsyncExitStack, folder: Path, **options: Any) -> Mesh:
    """Start everything in `folder`."""
    broker = MemoryBroker()
    docs = {"docs": {"url": f"sqlite:///{folder / 'mesh.sqlite3'}"}}
    metadata = MetadataSettings(**trusted(), **docs, metadata={"admin_apikey": ADMIN_KEY})
    kit = await kit_for(stack, broker, "metadata", metadata)
    await stack.enter_async_context(hosted(omega_metadata.app.create(kit, metadata), HttpSettings()))
    blobs = BlobstoreSettings(**trusted(), **docs, blobs={"url": f"file://{folder / 'blobs'}"})
    kit = await kit_for(stack, broker, "blobstore", blobs)
    store = await stack.enter_async_context(
        hosted(omega_blobstore.app.create(kit, blobs), HttpSettings(uds=folder / "blobstore.sock"))
    )
    tasks = SchedulerSettings(**trusted(), **docs)
    kit = await kit_for(stack, broker, "scheduler", tasks)
    await stack.enter_async_context(hosted(omega_scheduler.app.create(kit, tasks), HttpSettings()))
    worker = Worker(await kit_for(stack, broker, "worker", _worker_settings()))
    await worker.start()
    chosen = {"blobstore_url": store.url} | options
    service, server, kit = await gateway(stack, broker, chosen)
    return Mesh(server.url, service, server, kit, broker, worker, stack, folder, chosen)


def _worker_settings() -> ServiceSettings:
    auth = AuthSettings(worker_secret=worker_secret(SECRET), mesh_public_key=mesh_public_key(SECRET))
    return ServiceSettings(auth=auth)


@pytest.fixture
async def meshes(tmp_path: Path) -> AsyncIterator[Gateways]:
    """A factory of meshes: `await meshes(predict_seconds=1)` with options of the gateway."""
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> Mesh:
            return await start_mesh(stack, tmp_path, **options)

        yield make


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """One mesh for a module's tests, which run on its loop: `pytestmark = pytest.mark.asyncio(loop_scope="module")`."""
    async with AsyncExitStack() as stack:
        yield await start_mesh(stack, tmp_path_factory.mktemp("mesh"))


@pytest.fixture
async def mesh(meshes: Gateways) -> Mesh:
    """A mesh with the default settings."""
    return await meshes()


@pytest.fixture
async def admin(mesh: Mesh) -> AsyncIterator[Any]:
    """A client that may do everything."""
    async with mesh.client() as client:
        yield client
