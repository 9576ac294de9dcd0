"""How tasks are kept: one document a task, changed by compare-and-set only.

`wake_at` is when a sweeper looks at a task: to ring again while it is queued, because its lease has passed while it
runs; finished tasks have none. So one index serves both sweeps. `expires_at` is set when a task ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime

from omega_scheduler.records import SWEPT_FIELDS, update_for
from omegakit.docs import Collection, Cond, Doc, DocStore, Index, Page, Update
from omegaproto.states import Change
from omegaproto.tasks import TaskState

TASKS = Collection(
    "tasks",
    indexes=(
        Index(("bucket", "idempotency_key"), unique=True),
        Index(("bucket", "created")),
        Index(("state", "wake_at")),
    ),
    expires="expires_at",
)
_COUNTED_AT_ONCE = 1000


class TaskRepository:
    """Tasks as documents."""

    def __init__(self, docs: DocStore) -> None:
        self._docs = docs
        self._storing: dict[str, asyncio.Future[None]] = {}
        """Tasks that are on their way into the store. What is done to them here waits for that."""

    async def insert(self, docs: Sequence[Doc]) -> list[bool]:
        """Add tasks; False for each whose idempotency key exists in its bucket."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        under_way = dict.fromkeys([doc["_id"] for doc in docs], stored)
        self._storing |= under_way
        try:
            return await self._docs.insert_many(TASKS.name, docs)
        finally:
            for task_id in under_way:
                del self._storing[task_id]
            stored.set_result(None)

    async def _stored(self, task_ids: Iterable[str]) -> None:
        waiting = {self._storing[task_id] for task_id in task_ids if task_id in self._storing}
        if waiting:
            await asyncio.wait(waiting)

    async def with_key(self, bucket: str, key: str) -> Doc | None:
        """Give the task with an idempotency key."""
        where = (Cond("bucket", "==", bucket), Cond("idempotency_key", "==", key))
        page = await self._docs.find(TASKS.name, where, limit=1)
        return page.items[0] if page.items else None

    async def get(self, task_ids: Sequence[str]) -> list[Doc | None]:
        """Give tasks by id, in the order asked for."""
        await self._stored(task_ids)
        return await self._docs.get_many(TASKS.name, task_ids)

    async def newest(self, bucket: str, state: TaskState | None, limit: int, after: str | None) -> Page:
        """Give a page of a bucket's tasks, newest first."""
        where = [Cond("bucket", "==", bucket)]
        if state is not None:
            where.append(Cond("state", "==", state.value))
        return await self._docs.find(TASKS.name, where, sort=(("created", -1), ("_id", -1)), limit=limit, after=after)

    async def holding_blobs(self, after: str | None, limit: int) -> Page:
        """Give a page of the tasks whose inputs or result are blobs."""
        where = (Cond("holds_blobs", "==", True),)
        return await self._docs.find(TASKS.name, where, limit=limit, after=after, fields=("spec", "result"))

    async def change(self, changes: Sequence[tuple[str, Change]]) -> list[Doc | None]:
        """Apply changes of tasks in one go, each while its guard holds; None for each that was not applied.

        A task that is named twice is changed by the first and then by the second.
        """
        await self._stored(task_id for task_id, _ in changes)
        found: list[Doc | None] = [None] * len(changes)
        for places in rounds([task_id for task_id, _ in changes]):
            updates = [update_for(*changes[place]) for place in places]
            for place, doc in zip(places, await self._apply(updates), strict=True):
                found[place] = doc
        return found

    async def _apply(self, updates: list[Update]) -> list[Doc | None]:
        if len(updates) == 1:
            return [await self._docs.update(TASKS.name, updates[0])]
        return await self._docs.update_many(TASKS.name, updates)

    async def to_sweep(self, state: TaskState, now: datetime, limit: int) -> list[Doc]:
        """Give tasks in `state` that a sweeper must look at now, the longest overdue first."""
        where = (Cond("state", "==", state.value), Cond("wake_at", "<=", now))
        page = await self._docs.find(TASKS.name, where, sort=(("wake_at", 1),), limit=limit, fields=SWEPT_FIELDS)
        return page.items

    async def next_wake(self, state: TaskState) -> datetime | None:
        """Give when a sweeper must look at a task in `state` next."""
        where = (Cond("state", "==", state.value),)
        page = await self._docs.find(TASKS.name, where, sort=(("wake_at", 1),), limit=1, fields=("wake_at",))
        return page.items[0]["wake_at"] if page.items else None

    async def count(self, state: TaskState) -> dict[str, int]:
        """Count the tasks in `state` by label."""
        where, counts, after = (Cond("state", "==", state.value),), dict[str, int](), None
        while True:
            page = await self._docs.find(
                TASKS.name,
                where,
                sort=(("wake_at", 1),),
                limit=_COUNTED_AT_ONCE,
                after=after,
                fields=("label", "wake_at"),
            )
            for doc in page.items:
                counts[doc["label"]] = counts.get(doc["label"], 0) + 1
            after = page.next
            if after is None:
                return counts


def rounds(ids: Sequence[str]) -> list[list[int]]:
    """Give the places of `ids` in rounds, in order, so that no id comes twice in a round."""
    if len(set(ids)) == len(ids):
        return [list(range(len(ids)))]
    found: list[list[int]] = []
    seen: dict[str, int] = {}
    for place, id in enumerate(ids):
        number = seen[id] = seen.get(id, -1) + 1
        if number == len(found):
            found.append([])
        found[number].append(place)
    return found
