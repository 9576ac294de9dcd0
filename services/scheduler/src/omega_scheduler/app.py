"""Wiring of the scheduler."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp

from omega_scheduler.counts import TaskCounts
from omega_scheduler.dispatch import Dispatcher
from omega_scheduler.followups import Followups
from omega_scheduler.handlers import TaskHandlers, WorkerHandlers
from omega_scheduler.leases import LeaseService
from omega_scheduler.repository import TASKS, TaskRepository
from omega_scheduler.service import TaskService
from omega_scheduler.settings import SchedulerSettings
from omega_scheduler.slots import IdleSlots
from omega_scheduler.sweepers import Sweeper
from omega_scheduler.sweeps import Sweeps
from omega_scheduler.workers import WORKERS, WorkerRegistry
from omegakit.docs.connect import open_docs
from omegakit.health import health_app
from omegakit.service import Kit

_FLUSH_SECONDS = 5.0


class SchedulerService:
    """Tasks and their life, over one document store. Any number of replicas may run."""

    def __init__(self, kit: Kit, settings: SchedulerSettings) -> None:
        options = settings.scheduler
        self._docs = open_docs(settings.docs.url, clock=kit.clock)
        repository = TaskRepository(self._docs)
        counts = TaskCounts(kit.metrics, repository, options.max_queued)
        slots = IdleSlots()
        workers = WorkerRegistry(
            self._docs,
            kit.clock,
            slots,
            options.pools,
            worker_seconds=options.worker_seconds,
            labels_seconds=options.labels_seconds,
        )
        self._followups = Followups(kit, counts)
        leases = LeaseService(kit, repository, self._followups, slots, options)
        dispatcher = Dispatcher(kit, slots, leases, options)
        self._tasks = TaskService(kit, repository, workers, counts, self._followups, dispatcher, options)
        self.sweeps = Sweeps(kit, repository, counts, self._followups, options)
        self._handlers = (TaskHandlers(self._tasks), WorkerHandlers(leases, workers))
        ringer = Sweeper("ring", self.sweeps.ring, kit.clock, kit.log, interval=options.sweep_seconds)
        self._followups.on_due_later(ringer.wake_by)
        self._sweepers = (
            Sweeper("expire", self.sweeps.expire, kit.clock, kit.log, interval=options.sweep_seconds),
            ringer,
            Sweeper("count", self.sweeps.count, kit.clock, kit.log, interval=options.count_seconds),
        )
        self._rpc = kit.rpc()
        self._asgi = health_app(kit.metrics, {"docs": self._docs.ping, "bus": self._check_bus})

    @property
    def asgi(self) -> ASGIApp:
        """Give the health application: the scheduler is spoken to over the bus."""
        return self._asgi

    async def start(self) -> None:
        """Open the store, answer, and sweep: what was left undone before is found by the first sweeps."""
        await self._docs.start((TASKS, WORKERS))
        for handlers in self._handlers:
            await handlers.serve(self._rpc)
        for sweeper in self._sweepers:
            sweeper.start()

    async def drain(self) -> None:
        """Take no more requests, let the running ones end, and send what is to be sent while the broker takes it."""
        await self._rpc.stop()
        for sweeper in self._sweepers:
            await sweeper.stop()
        await self._tasks.drain()
        try:
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._followups.drain()
        except TimeoutError:
            await self._followups.stop()

    async def stop(self) -> None:
        """Close the store."""
        for sweeper in self._sweepers:
            await sweeper.stop()
        await self._followups.stop()
        await self._docs.close()

    async def _check_bus(self) -> None:
        self._followups.check_bus()


def create(kit: Kit, settings: SchedulerSettings) -> SchedulerService:
    """Make the service."""
    return SchedulerService(kit, settings)
