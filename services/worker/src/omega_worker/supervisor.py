"""The trusted part of the worker: claims tasks, has children run them, keeps their leases, records how they ended."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from omega_worker.attempts import Attempt
from omega_worker.claims import Claimer
from omega_worker.completions import Completer
from omega_worker.leases import LeaseKeeper
from omega_worker.metrics import WorkerMetrics
from omega_worker.outcomes import Stop
from omega_worker.pool import ChildPool
from omega_worker.settings import WorkerOptions
from omegakit.service import Kit
from omegaproto.scopes import Principal
from omegaproto.tasks import ClaimedTask, Completion, Dispatched, DispatchTask

_FLUSH_SECONDS = 5.0


class Supervisor:
    """Runs tasks of the worker's labels, at most `slots` at once, each in a child of the pool."""

    def __init__(self, kit: Kit, options: WorkerOptions, pool: ChildPool, metrics: WorkerMetrics) -> None:
        self._log: Any = kit.log
        self._options = options
        self._pool = pool
        self._metrics = metrics
        self._leases = LeaseKeeper(kit, options.name)
        self._claimer = Claimer(kit, options, self._begin, self._release_waiting)
        self._completer = Completer(kit, options.name, self._leases.__contains__, lambda: self._claimer.idle)
        self._running: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """Give how many attempts are claimed and have not ended."""
        return self._claimer.active

    @property
    def idle(self) -> int:
        """Give how many tasks may be handed to this worker now."""
        return self._claimer.idle

    async def take(self, request: DispatchTask, _caller: Principal) -> Dispatched:
        """Begin a task that the scheduler claimed for this worker, unless no slot is free."""
        return Dispatched(taken=self._claimer.take(request.claimed))

    def start(self) -> None:
        """Take tasks from now on."""
        self._leases.start()
        self._claimer.start()

    async def drain(self) -> None:
        """Take no more; let what runs go on for `drain_seconds`, then hand it back; return when all is recorded."""
        await self._claimer.close()
        for attempt in self._leases:
            if attempt.begun is None:
                attempt.stop(Stop.released)
        if self._running:
            await asyncio.wait(self._running, timeout=self._options.drain_seconds)
        for attempt in self._leases:
            attempt.stop(Stop.released)
        if self._running:
            await asyncio.wait(self._running, timeout=_FLUSH_SECONDS)

    async def stop(self) -> None:
        """End what is left: what could not be recorded is found by its lease's end."""
        await self._leases.stop()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._completer.stop()

    def _begin(self, claimed: ClaimedTask) -> None:
        attempt = Attempt(claimed)
        self._leases.add(attempt)
        task = asyncio.create_task(self._run(attempt))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, attempt: Attempt) -> None:
        self._metrics.running.inc()
        try:
            completion = await attempt.run(self._pool)
        finally:
            self._metrics.running.dec()
            seconds = None if attempt.begun is None else time.monotonic() - attempt.begun
            self._claimer.ended(seconds)
        self._note(attempt, completion, seconds or 0.0)
        if completion is not None and not await self._completer.record(completion, attempt.lease):
            self._log.warning("completion_not_counted", task_id=attempt.task_id, outcome=completion.outcome)
        self._leases.drop(attempt)

    def _note(self, attempt: Attempt, completion: Completion | None, seconds: float) -> None:
        outcome = "lease_lost" if completion is None else completion.outcome
        self._metrics.ended(outcome, attempt.spec.action, seconds)
        if outcome != "succeeded":
            error = None if completion is None or completion.error is None else completion.error.message
            self._log.info("task_ended", task_id=attempt.task_id, outcome=outcome, why=error, seconds=seconds)

    def _release_waiting(self) -> None:
        """Hand back what was claimed ahead and has not begun, but for what the slots will take."""
        waiting = [attempt for attempt in self._leases if attempt.begun is None]
        excess = self._claimer.active - self._options.slots
        for attempt in waiting[max(len(waiting) - excess, 0) :] if excess > 0 else []:
            attempt.stop(Stop.released)
