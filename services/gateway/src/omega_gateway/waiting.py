"""Waiting for tasks without polling: a waiter is registered first, then the state is read, then an event wakes it.

A task that was submitted here need not be read first: events are heard from before its submit on. An event that was
lost (the broker was away) costs time, never an answer: after a reconnection all waiters read again, and each reads
again once in a while anyway.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

from omega_gateway.limits import too_many
from omega_gateway.settings import GatewayOptions
from omegakit.bus import Bus
from omegaproto.tasks import TERMINAL, Task, TaskFinished

_REMEMBERED = 4096

Read = Callable[[], Awaitable[Sequence[Task]]]


class _Waiter:
    """One request that waits: what wakes it, and the tasks that events brought along."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self._ended: dict[str, Task] = {}
        self._must_read = False

    def wake(self, task: Task | None) -> None:
        if task is None:
            self._must_read = True
        else:
            self._ended[task.id] = task
        self.event.set()

    def told(self, tasks: Sequence[Task]) -> Sequence[Task] | None:
        """Give the tasks with those that events brought in their places; None when they must be read again."""
        must_read = self._must_read or not self.event.is_set()
        self._must_read = False
        self.event.clear()
        if must_read:
            return None
        return [self._ended.get(task.id, task) for task in tasks]


class TaskWaiters:
    """The requests of this gateway that wait for tasks."""

    def __init__(self, bus: Bus, options: GatewayOptions) -> None:
        self._bus = bus
        self._recheck = options.recheck_seconds
        self._limit = options.max_waiters
        self._waiters: dict[str, set[_Waiter]] = {}
        self._known: OrderedDict[str, Task | None] = OrderedDict()
        self._count = 0
        self._draining = False

    @property
    def count(self) -> int:
        """Give how many requests wait now."""
        return self._count

    async def start(self) -> None:
        """Listen for tasks that end."""
        await self._bus.subscribe(TaskFinished, self._finished)
        self._bus.on_reconnect(self.wake_all)

    def drain(self) -> None:
        """Let every waiter answer with what it has; later ones do not wait at all."""
        self._draining = True
        self.wake_all()

    def note(self, tasks: Sequence[Task]) -> None:
        """Remember tasks that were submitted just now; what events told of them meanwhile is newer."""
        for task in tasks:
            if task.id not in self._known:
                self._remember(task.id, task)

    def _remember(self, task_id: str, task: Task | None) -> None:
        self._known[task_id] = task
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _recall(self, task_ids: Sequence[str], bucket: str) -> list[Task] | None:
        """Give tasks of the bucket as they are known here; None when one of them must be read."""
        found = [self._known.get(task_id) for task_id in task_ids]
        known = [task for task in found if task is not None and task.spec.bucket == bucket]
        return known if len(known) == len(task_ids) else None

    def wake_all(self) -> None:
        """Have every waiter read its tasks again: events may have been missed."""
        self._known.clear()
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.wake(None)

    async def _finished(self, event: TaskFinished) -> None:
        tasks = {task.id: task for task in event.tasks}
        for task_id in event.task_ids:
            self._remember(task_id, tasks.get(task_id))
            for waiter in self._waiters.get(task_id, ()):
                waiter.wake(tasks.get(task_id))

    async def wait(
        self,
        task_ids: Sequence[str],
        bucket: str,
        seconds: float,
        read: Read,
        *,
        until: Callable[[Iterable[bool]], bool] = any,
    ) -> Sequence[Task]:
        """Give tasks of a bucket once any (or `until` all) of them have ended, or as they are after `seconds`.

        Raises what `read` raises; Overloaded when too many requests wait.
        """
        if self._count >= self._limit:
            raise too_many(self._count, "requests wait for tasks")
        waiter, deadline = _Waiter(), time.monotonic() + seconds
        self._register(task_ids, waiter)
        try:
            recalled = self._recall(task_ids, bucket) if seconds > 0 else None
            tasks: Sequence[Task] = recalled or await read()
            while not until(task.state in TERMINAL for task in tasks):
                left = deadline - time.monotonic()
                if left <= 0 or self._draining:
                    return tasks if tasks is not recalled else await read()
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, self._recheck)):
                        await waiter.event.wait()
                tasks = waiter.told(tasks) or await read()
            return tasks
        finally:
            self._unregister(task_ids, waiter)

    def _register(self, task_ids: Sequence[str], waiter: _Waiter) -> None:
        self._count += 1
        for task_id in task_ids:
            self._waiters.setdefault(task_id, set()).add(waiter)

    def _unregister(self, task_ids: Sequence[str], waiter: _Waiter) -> None:
        self._count -= 1
        for task_id in set(task_ids):
            waiters = self._waiters[task_id]
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[task_id]
