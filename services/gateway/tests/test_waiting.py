"""Waiting for tasks: woken by events, after reconnections, by a drain, and by nothing else than time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from omega_gateway.settings import GatewayOptions
from omega_gateway.waiting import TaskWaiters
from omegakit.bus.memory import MemoryBroker, MemoryBus
from omegaproto.errors import Overloaded, TaskNotFound
from omegaproto.tasks import Task, TaskFinished, TaskSpec, TaskState

NOW = datetime(2026, 11, 21, tzinfo=UTC)


class Store:
    """Tasks that a test moves; counts reads and says when one happened."""

    def __init__(self) -> None:
        self.state = {"a": TaskState.queued, "b": TaskState.queued}
        self.reads = 0
        self.read_once = asyncio.Event()

    async def read(self) -> list[Task]:
        self.reads += 1
        self.read_once.set()
        spec = TaskSpec(bucket="b", action="noop", idempotency_key="k")
        return [
            Task(id=name, spec=spec, userid="ann", state=state, created=NOW, modified=NOW)
            for name, state in self.state.items()
        ]


class ReconnectingBus(MemoryBus):
    """Remembers what to call after a reconnection."""

    def __init__(self) -> None:
        super().__init__(MemoryBroker())
        self.callbacks: list[Callable[[], None]] = []

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)


@pytest.fixture
async def parts() -> Any:
    bus, store = ReconnectingBus(), Store()
    await bus.start()
    waiters = TaskWaiters(bus, GatewayOptions(max_waiters=2))
    await waiters.start()
    yield waiters, bus, store
    assert waiters.count == 0 and not waiters._waiters
    await bus.close()


async def test_an_event_wakes_at_once_and_nothing_is_read_between(parts: Any) -> None:
    waiters, bus, store = parts
    waiting = asyncio.create_task(waiters.wait(["a", "b"], "b", 30, store.read))
    await store.read_once.wait()
    await bus.publish(TaskFinished(bucket="b", task_ids=("another",)))
    store.state["b"] = TaskState.succeeded
    await bus.publish(TaskFinished(bucket="b", task_ids=("b",)))
    assert [task.state for task in await waiting] == [TaskState.queued, TaskState.succeeded]
    assert store.reads == 2


async def test_a_small_task_comes_with_its_event_and_is_not_read_again(parts: Any) -> None:
    waiters, bus, store = parts
    waiting = asyncio.create_task(waiters.wait(["a", "b"], "b", 30, store.read))
    await store.read_once.wait()
    ended = (await store.read())[1].model_copy(update={"state": TaskState.succeeded})
    await bus.publish(TaskFinished(bucket="b", task_ids=("b",), tasks=(ended,)))
    assert [task.state for task in await waiting] == [TaskState.queued, TaskState.succeeded]
    assert store.reads == 2


async def test_a_task_that_ends_between_registering_and_reading_is_not_missed(parts: Any) -> None:
    waiters, bus, store = parts

    async def read() -> list[Task]:
        found = await store.read()
        if store.reads == 1:
            store.state["a"] = TaskState.failed
            await bus.publish(TaskFinished(bucket="b", task_ids=("a",)))
            await asyncio.sleep(0)
        return found

    tasks = await waiters.wait(["a"], "b", 30, read)
    assert tasks[0].state is TaskState.failed


async def test_a_task_that_has_ended_is_answered_without_waiting(parts: Any) -> None:
    waiters, _, store = parts
    store.state["a"] = TaskState.dead
    await waiters.wait(["a"], "b", 30, store.read)
    assert store.reads == 1


async def test_the_time_ends_a_wait(parts: Any) -> None:
    waiters, _, store = parts
    assert [task.state for task in await waiters.wait(["a"], "b", 0.01, store.read)] == [TaskState.queued] * 2
    assert [task.state for task in await waiters.wait(["a"], "b", 0, store.read)] == [TaskState.queued] * 2


async def test_a_lost_event_costs_time_only(parts: Any) -> None:
    waiters, _, store = parts
    waiters._recheck = 0.01
    waiting = asyncio.create_task(waiters.wait(["a"], "b", 30, store.read))
    await store.read_once.wait()
    store.state["a"] = TaskState.cancelled
    assert (await waiting)[0].state is TaskState.cancelled


async def test_a_reconnection_has_everybody_read_again(parts: Any) -> None:
    waiters, bus, store = parts
    waiting = [asyncio.create_task(waiters.wait([name], "b", 30, store.read)) for name in "ab"]
    while store.reads < 2:
        await asyncio.sleep(0)
    store.state = dict.fromkeys("ab", TaskState.succeeded)
    for callback in bus.callbacks:
        callback()
    await asyncio.gather(*waiting)
    assert store.reads == 4


async def test_a_drain_answers_with_what_there_is(parts: Any) -> None:
    waiters, _, store = parts
    waiting = asyncio.create_task(waiters.wait(["a"], "b", 30, store.read))
    await store.read_once.wait()
    waiters.drain()
    assert (await waiting)[0].state is TaskState.queued
    await waiters.wait(["a"], "b", 30, store.read)


async def test_waiters_are_bounded_and_leave_nothing_behind(parts: Any) -> None:
    waiters, _, store = parts
    waiting = [asyncio.create_task(waiters.wait(["a", "a"], "b", 30, store.read)) for _ in range(2)]
    while store.reads < 2:
        await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await waiters.wait(["a"], "b", 30, store.read)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    async def missing() -> list[Task]:
        raise TaskNotFound("no")

    with pytest.raises(TaskNotFound):
        await waiters.wait(["a"], "b", 30, missing)


def task(state: TaskState = TaskState.queued) -> Task:
    spec = TaskSpec(bucket="b", action="noop", idempotency_key="k")
    return Task(id="a", spec=spec, userid="ann", state=state, created=NOW, modified=NOW)


async def test_a_task_that_was_submitted_here_is_not_read_before_it_ends(parts: Any) -> None:
    waiters, bus, store = parts
    waiters.note([task()])
    waiting = asyncio.create_task(waiters.wait(["a"], "b", 30, store.read))
    await asyncio.sleep(0)
    ended = task(TaskState.succeeded)
    await bus.publish(TaskFinished(bucket="b", task_ids=("a",), tasks=(ended,)))
    assert await waiting == [ended]
    assert await waiters.wait(["a"], "b", 30, store.read) == [ended]
    assert store.reads == 0


async def test_what_is_known_here_is_known_in_its_bucket_only(parts: Any) -> None:
    waiters, _, store = parts
    waiters.note([task(TaskState.succeeded)])
    await waiters.wait(["a"], "other", 0.01, store.read)
    assert store.reads > 0


async def test_who_does_not_wait_hears_how_it_is_now(parts: Any) -> None:
    waiters, _, store = parts
    waiters.note([task()])
    await waiters.wait(["a"], "b", 0, store.read)
    assert store.reads == 1
    await waiters.wait(["a"], "b", 0.01, store.read)
    assert store.reads == 2


async def test_an_event_that_came_before_the_answer_to_the_submit_is_newer(parts: Any) -> None:
    waiters, bus, store = parts
    heard, ended = asyncio.Event(), task(TaskState.succeeded)

    async def hear(_event: TaskFinished) -> None:
        heard.set()

    subscription = await bus.subscribe(TaskFinished, hear)
    await bus.publish(TaskFinished(bucket="b", task_ids=("a",), tasks=(ended,)))
    await heard.wait()
    waiters.note([task()])
    assert await waiters.wait(["a"], "b", 30, store.read) == [ended]
    await subscription.cancel()
