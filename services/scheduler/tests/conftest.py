"""A scheduler as its callers see it, in both homes: memory bus and SQLite, RabbitMQ and MongoDB.

Time stands still unless a test moves the clock, and sweeps run when a test asks for them.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from omega_scheduler.app import SchedulerService, create
from omega_scheduler.settings import SchedulerSettings
from omegakit.bus import Bus
from omegakit.bus.connect import open_bus
from omegakit.bus.memory import MemoryBroker
from omegakit.clock import ManualClock, SystemClock
from omegakit.service import make_kit
from omegakit.settings import AuthSettings
from omegakit.tokens import Tokens, mesh_public_key, worker_secret
from omegaproto import tasks
from omegaproto.messages import Doorbell
from omegaproto.scopes import Principal, Role

SECRET = "a secret of the tests, long enough"
BUCKET = "b"
_labels = itertools.count()


class Home:
    """A bus and a store, schedulers on them, and everybody who speaks to these."""

    def __init__(self, stack: AsyncExitStack, bus_url: str, docs_url: str) -> None:
        self._stack = stack
        self._bus_url = bus_url
        self._docs_url = docs_url
        self._broker = MemoryBroker()
        self.clock = ManualClock(SystemClock().now())
        self.label = f"cpu{next(_labels)}"
        self.rung: asyncio.Queue[Doorbell] = asyncio.Queue()
        self.finished: asyncio.Queue[str] = asyncio.Queue()
        auth = AuthSettings(secret=SecretStr(SECRET))
        self.mesh = Tokens(auth, "gateway")
        self._worker = Tokens(
            AuthSettings(worker_secret=SecretStr(worker_secret(SECRET)), mesh_public_key=mesh_public_key(SECRET)), "w"
        )
        self.bus: Bus

    async def open(self) -> None:
        self.bus = await self.open_bus()
        await self.bus.subscribe(tasks.TaskFinished, self._on_finished)

    async def open_bus(self) -> Bus:
        bus = open_bus(self._bus_url, self._broker)
        await bus.start()
        self._stack.push_async_callback(bus.close)
        return bus

    async def scheduler(self, bus: Bus | None = None, **options: Any) -> SchedulerService:
        """Start one more replica; sweeps run at its start, and then when asked for."""
        chosen = {"pools": (self.label,), "sweep_seconds": 3600.0, "count_seconds": 3600.0} | options
        settings = SchedulerSettings(
            auth=AuthSettings(secret=SecretStr(SECRET)), docs={"url": self._docs_url}, scheduler=chosen
        )
        service = create(make_kit("scheduler", settings, bus or await self.open_bus(), self.clock), settings)
        await service.start()
        self._stack.push_async_callback(service.stop)
        self._stack.push_async_callback(service.drain)
        return service

    async def listen(self) -> None:
        """Hear the doorbells of the home's label from now on."""
        await self.bus.on_ring(self.label, self._on_ring, prefetch=100)

    async def _on_ring(self, doorbell: Doorbell) -> None:
        self.rung.put_nowait(doorbell)

    async def _on_finished(self, event: tasks.TaskFinished) -> None:
        assert event.bucket == BUCKET
        for task_id in event.task_ids:
            self.finished.put_nowait(task_id)

    def spec(self, key: str = "k", **fields: Any) -> tasks.TaskSpec:
        given = {"bucket": BUCKET, "action": "noop", "label": self.label, "idempotency_key": key} | fields
        return tasks.TaskSpec(**given)

    async def submit(self, *specs: tasks.TaskSpec, role: Role = Role.runner) -> list[tasks.Task]:
        """Submit as user ann, who has `role`."""
        user = Principal(userid="ann", grants={BUCKET: role})
        request = tasks.SubmitTasks(bucket=BUCKET, userid="ann", role=role, specs=specs or (self.spec(),))
        return list((await self.bus.call(request, token=self.mesh.acting_for(user, BUCKET))).items)

    async def get(self, *task_ids: str) -> list[tasks.Task]:
        request = tasks.GetTasks(bucket=BUCKET, task_ids=task_ids)
        return list((await self.bus.call(request, token=self.mesh.own())).items)

    async def state(self, task_id: str) -> tasks.TaskState:
        (task,) = await self.get(task_id)
        return task.state

    async def cancel(self, task_id: str) -> tasks.Task:
        return await self.bus.call(tasks.CancelTask(bucket=BUCKET, task_id=task_id), token=self.mesh.own())

    async def as_worker(self, request: Any) -> Any:
        return await self.bus.call(request, token=self._worker.own())

    async def claim(self, *task_ids: str, worker: str = "w", claim_id: str | None = None) -> list[tasks.ClaimedTask]:
        claims = await self.as_worker(tasks.ClaimTasks(worker=worker, task_ids=task_ids, claim_id=claim_id))
        return list(claims.items)

    async def run(self, task_id: str) -> tasks.Lease:
        """Claim one task, and give its lease."""
        (claimed,) = await self.claim(task_id)
        return claimed.lease

    async def complete(self, lease: tasks.Lease, outcome: str, **fields: Any) -> tasks.CompletionResult:
        completion = tasks.Completion(task_id=lease.task_id, token=lease.token, outcome=outcome, **fields)
        results = await self.as_worker(tasks.CompleteTasks(worker="w", completions=(completion,)))
        return results.items[0]

    async def renew(self, *leases: tasks.Lease) -> list[tasks.LeaseStatus]:
        return list((await self.as_worker(tasks.RenewLeases(worker="w", leases=leases))).items)

    async def started(self, key: str = "k", **fields: Any) -> tasks.Lease:
        """Submit and claim a task, and give its lease."""
        (task,) = await self.submit(self.spec(key, **fields))
        return await self.run(task.id)


@pytest_asyncio.fixture(params=["embedded", pytest.param("servers", marks=pytest.mark.servers)])
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Home]:
    """Both homes in turn, without a scheduler."""
    if request.param == "servers":
        urls = request.getfixturevalue("amqp_url"), request.getfixturevalue("mongo_url")
    else:
        urls = "memory://", f"sqlite:///{tmp_path}/mesh.sqlite3"
    async with AsyncExitStack() as stack:
        opened = Home(stack, *urls)
        await opened.open()
        yield opened


@pytest_asyncio.fixture
async def scheduler(home: Home) -> SchedulerService:
    """A running scheduler in the home."""
    return await home.scheduler()
