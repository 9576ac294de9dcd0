"""A whole mesh around a worker: the real services on one loop, in memory and files, and real children."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from omega_mesh.catalog import entry
from omega_mesh.embedded import embedded_settings
from omega_mesh.home import Home
from omegakit.bus.memory import MemoryBroker, MemoryBus
from omegakit.server import HttpServer, hosted
from omegakit.service import Kit, make_kit
from omegamesh.client import Omega, setup
from omegaproto.ids import new_id
from omegaproto.scopes import DEFAULT_BUCKET, Role
from omegaproto.tasks import TERMINAL, CancelTask, GetTasks, SubmitTasks, Task, TaskFinished, TaskSpec

USER_CODE = Path(__file__).parent / "usercode"
sys.path.insert(0, str(USER_CODE))  # test modules import from it while they are collected
ORDER = ("metadata", "blobstore", "scheduler", "gateway", "worker")
WAIT_SECONDS = 60.0


@dataclass
class Mesh:
    """Five services; each can be stopped and started again."""

    home: Home
    options: dict[str, dict[str, Any]]
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    services: dict[str, Any] = field(default_factory=dict)
    kits: dict[str, Kit] = field(default_factory=dict)
    servers: dict[str, HttpServer] = field(default_factory=dict)
    _stacks: dict[str, AsyncExitStack] = field(default_factory=dict)
    _ended: dict[str, asyncio.Event] = field(default_factory=dict)
    _clients: dict[str | None, Omega] = field(default_factory=dict)

    async def start(self, *names: str) -> None:
        chosen = embedded_settings(self.home, host="127.0.0.1", port=0, slots=2)
        for name in names:
            settings = chosen[name]
            if name == "worker":
                settings["worker"] |= {"gateway_url": self.servers["gateway"].url}
            for group, values in self.options.get(name, {}).items():
                settings[group] = settings.get(group, {}) | values
            stack = self._stacks[name] = AsyncExitStack()
            made = entry(name).settings(**settings)
            bus = MemoryBus(self.broker)
            await bus.start()
            stack.push_async_callback(bus.close)
            self.kits[name] = make_kit(name, made, bus)
            self.services[name] = entry(name).create(self.kits[name], made)
            self.servers[name] = await stack.enter_async_context(hosted(self.services[name], made.http))

    async def stop(self, *names: str) -> None:
        for name in names:
            if name in self._stacks:
                await self._stacks.pop(name).aclose()

    async def watch(self) -> None:
        await self.kits["gateway"].bus.subscribe(TaskFinished, self._on_finished)

    async def _on_finished(self, event: TaskFinished) -> None:
        for task_id in event.task_ids:
            self._ended.setdefault(task_id, asyncio.Event()).set()

    def om(self, bucket: str | None = None) -> Omega:
        if bucket not in self._clients:
            userid, apikey = self.home.administrator()
            url = self.servers["gateway"].url
            self._clients[bucket] = setup(userid=userid, apikey=apikey, api_url=url, bucket=bucket)
        return self._clients[bucket]

    async def close(self) -> None:
        for client in self._clients.values():
            client.close()
        await self.stop(*reversed(ORDER))

    async def call(self, request: Any) -> Any:
        kit = self.kits["gateway"]
        return await kit.bus.call(request, token=kit.tokens.own())

    async def submit(self, *specs: TaskSpec) -> list[str]:
        request = SubmitTasks(bucket=specs[0].bucket, userid="admin", role=Role.admin, specs=specs)
        return [task.id for task in (await self.call(request)).items]

    async def task(self, task_id: str, bucket: str = DEFAULT_BUCKET) -> Task:
        found: Task = (await self.call(GetTasks(bucket=bucket, task_ids=(task_id,)))).items[0]
        return found

    async def ended(self, task_id: str, bucket: str = DEFAULT_BUCKET) -> Task:
        """Wait until a task has ended, and give it."""
        event = self._ended.setdefault(task_id, asyncio.Event())
        async with asyncio.timeout(WAIT_SECONDS):
            while (task := await self.task(task_id, bucket)).state not in TERMINAL:
                await event.wait()
        return task

    async def run(self, spec: TaskSpec) -> Task:
        return await self.ended((await self.submit(spec))[0], spec.bucket)

    async def cancel(self, task_id: str) -> None:
        await self.call(CancelTask(bucket=DEFAULT_BUCKET, task_id=task_id))

    @property
    def metrics(self) -> str:
        return self.kits["worker"].metrics.render().decode()


def spec(action: str = "noop", target: str = "", **fields: Any) -> TaskSpec:
    """A task that anybody may submit."""
    given = {"bucket": DEFAULT_BUCKET, "idempotency_key": new_id(), "max_attempts": 1} | fields
    return TaskSpec(action=action, target=target, **given)


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something outside the event loop (a file, a process) to become so."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture(scope="session", autouse=True)
def user_code() -> Iterator[None]:
    """Let children import the users' package, as the line at the top lets this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(USER_CODE))
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """A mesh that a module's tests share. Its leases are short, so that cancels arrive soon."""
    made = Mesh(
        Home(tmp_path_factory.mktemp("home")),
        {"scheduler": {"scheduler": {"lease_seconds": 2.0, "backoff_base_seconds": 0.0}}},
    )
    await made.start(*ORDER)
    await made.watch()
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="function")
async def own_mesh(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """A factory of meshes of the test's own, to stop parts of: `mesh = await own_mesh(scheduler={…}, worker={…})`."""
    made: list[Mesh] = []

    async def make(**options: dict[str, Any]) -> Mesh:
        grouped = {name: {name: values} for name, values in options.items()}
        mesh = Mesh(Home(tmp_path / f"home{len(made)}"), grouped)
        made.append(mesh)
        await mesh.start(*ORDER)
        await mesh.watch()
        return mesh

    yield make
    for mesh in made:
        await mesh.close()
