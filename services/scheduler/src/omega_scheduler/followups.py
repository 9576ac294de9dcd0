"""What follows a change of a task: doorbells, timers for those that are due later, events, counts and logs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from omega_scheduler.counts import TaskCounts
from omega_scheduler.outbox import Outbox
from omega_scheduler.records import shown_bytes, task_of
from omegakit.docs import Doc
from omegakit.service import Kit
from omegaproto.errors import Unavailable
from omegaproto.messages import Doorbell
from omegaproto.states import Then
from omegaproto.tasks import TaskFinished, TaskState

_BATCH = 1000
_MOST_BELLS, _MOST_EVENTS = 100_000, 10_000
_EVENTS_AT_ONCE = 100
_SMALL_BYTES = 1500
"""A finished task up to this size travels in the event: a hundred of them fit into one message."""


class Followups:
    """Carries out what the state function asks for once a change is stored. Nothing here can undo the change."""

    def __init__(self, kit: Kit, counts: TaskCounts) -> None:
        self._kit = kit
        self._counts = counts
        self._log = kit.log
        self._bells = Outbox("doorbells", self._kit.bus.ring, self._log, batch=_BATCH, limit=_MOST_BELLS)
        self._finished: Outbox[Doc] = Outbox(
            "events", self._publish, self._log, batch=_EVENTS_AT_ONCE, limit=_MOST_EVENTS
        )
        self._wake_by: Callable[[datetime], None] = lambda _due: None
        self._ended = kit.metrics.counter("omega_tasks_finished", "Tasks that ended.", ("state", "label"))
        self._seconds = kit.metrics.histogram("omega_task_seconds", "From the claim to the end.", ("label",))

    def on_due_later(self, wake_by: Callable[[datetime], None]) -> None:
        """Have `wake_by` called with the time at which a task must be rung for."""
        self._wake_by = wake_by

    def follow(self, changed: list[tuple[Doc, Then, TaskState | None]]) -> None:
        """Act on changed tasks: each with what to do, and the state it was in before (None: it is new)."""
        bells, finished = [], []
        for doc, then, before in changed:
            after = TaskState(doc["state"])
            if after is not before:
                self._counts.move(doc["label"], before=before, after=after)
            if then is Then.ring:
                bells.append(Doorbell(task_id=doc["_id"], label=doc["label"]))
            elif then is Then.ring_later:
                self._wake_by(doc["due_at"])
            elif then is Then.announce:
                self._note_end(doc, after)
                finished.append(doc)
        if bells:
            self._bells.put(bells)
        if finished:
            self._finished.put(finished)

    async def ring(self, docs: list[Doc]) -> None:
        """Ring for tasks and wait for the broker. Raises what the bus raises."""
        await self._kit.bus.ring([Doorbell(task_id=doc["_id"], label=doc["label"]) for doc in docs])

    async def drain(self) -> None:
        """Return when everything is sent, or could not be."""
        await self._bells.drain()
        await self._finished.drain()

    async def stop(self) -> None:
        """Send no more."""
        await self._bells.stop()
        await self._finished.stop()

    def _note_end(self, doc: Doc, state: TaskState) -> None:
        self._ended.labels(state.value, doc["label"]).inc()
        if doc.get("claimed_at") is not None:
            self._seconds.labels(doc["label"]).observe((doc["modified"] - doc["claimed_at"]).total_seconds())
        if state is TaskState.succeeded:
            self._log.debug("task succeeded", task_id=doc["_id"], attempt=doc["attempt"])
        else:
            self._log.info(f"task {state.value}", task_id=doc["_id"], attempt=doc["attempt"], lost=doc["lost"])

    async def _publish(self, finished: list[Doc]) -> None:
        by_bucket: dict[str, list[Doc]] = {}
        for doc in finished:
            by_bucket.setdefault(doc["bucket"], []).append(doc)
        for bucket, docs in by_bucket.items():
            small = tuple(task_of(doc) for doc in docs if shown_bytes(doc) <= _SMALL_BYTES)
            ids = tuple(doc["_id"] for doc in docs)
            await self._kit.bus.publish(TaskFinished(bucket=bucket, task_ids=ids, tasks=small))

    def check_bus(self) -> None:
        """Return when the broker is there. Raises Unavailable."""
        if not self._kit.bus.connected:
            raise Unavailable("The broker cannot be reached.", action="Check the broker; it is tried again by itself.")
