"""What sweepers do: take tasks back from silent workers, and ring for tasks that nobody came for."""

from __future__ import annotations

from datetime import datetime

from omega_scheduler.counts import TaskCounts
from omega_scheduler.followups import Followups
from omega_scheduler.records import record_of
from omega_scheduler.repository import TaskRepository
from omega_scheduler.settings import SchedulerOptions
from omegakit.docs import Doc
from omegakit.service import Kit
from omegaproto.errors import OmegaError
from omegaproto.states import Change, Expire, Guard, Ring, TaskEvent, decide
from omegaproto.tasks import TaskState


class Sweeps:
    """Bounded batches of changes, until nothing is due. Each sweep gives when something is due next."""

    def __init__(
        self, kit: Kit, repository: TaskRepository, counts: TaskCounts, followups: Followups, options: SchedulerOptions
    ) -> None:
        self._clock = kit.clock
        self._bus = kit.bus
        self._log = kit.log
        self._repository = repository
        self._counts = counts
        self._followups = followups
        self._batch = options.sweep_batch
        self._policy = options.policy()

    async def expire(self) -> datetime | None:
        """Queue the tasks of silent workers again; those that lost too many are dead."""
        more = True
        while more:
            changed, more = await self._turn(TaskState.running, Expire())
            for doc, _ in changed:
                self._log.warning("lease expired", task_id=doc["_id"], state=doc["state"], lost=doc["lost"])
            self._followups.follow([(doc, change.then, TaskState.running) for doc, change in changed])
        return await self._repository.next_wake(TaskState.running)

    async def ring(self) -> datetime | None:
        """Ring for the tasks that are due and that nobody claimed."""
        self._followups.check_bus()
        more = True
        while more:
            changed, more = await self._turn(TaskState.queued, Ring())
            if changed:
                await self._ring([doc for doc, _ in changed])
        return await self._repository.next_wake(TaskState.queued)

    async def count(self) -> None:
        """Count what waits and what runs."""
        await self._counts.sample()

    async def _turn(self, state: TaskState, event: TaskEvent) -> tuple[list[tuple[Doc, Change]], bool]:
        """Change one batch of what is due; gives what was changed, and whether more may be due."""
        now = self._clock.now()
        docs = await self._repository.to_sweep(state, now, self._batch)
        made = [(doc["_id"], decide(record_of(doc), event, now, self._policy)) for doc in docs]
        changes = [(task_id, change) for task_id, change in made if isinstance(change, Change)]
        changed = await self._repository.change(changes) if changes else []
        both = [(doc, change) for doc, (_, change) in zip(changed, changes, strict=True) if doc is not None]
        return both, len(docs) == self._batch

    async def _ring(self, docs: list[Doc]) -> None:
        try:
            await self._followups.ring(docs)
        except OmegaError:
            await self._repository.change([(doc["_id"], self._ring_soon(doc)) for doc in docs])
            raise
        self._log.info("rung again", count=len(docs))

    def _ring_soon(self, doc: Doc) -> Change:
        """Take back what a ring that failed had changed: the next one must not wait longer for it."""
        guard = (Guard("state", "==", TaskState.queued), Guard("wake_at", "==", doc["wake_at"]))
        return Change(guard, {"wake_at": self._clock.now() + self._policy.ring_again(0), "rings": 0})
