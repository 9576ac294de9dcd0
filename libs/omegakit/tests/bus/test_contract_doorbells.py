"""Doorbells, on every adapter: at least once, and in the end acknowledged or dead."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
import structlog

from omegakit.bus.wire import DELIVERY_LIMIT, MAX_NAME_BYTES, Limits
from omegaproto.errors import BadRequest, Overloaded
from omegaproto.messages import Doorbell


def bells(label: str, count: int) -> list[Doorbell]:
    return [Doorbell(task_id=f"task-{number}", label=label) for number in range(count)]


class Worker:
    """Takes doorbells, and fails each as often as the test says before it takes it."""

    def __init__(self, expected: int, failures: dict[str, int] | None = None) -> None:
        self.deliveries: Counter[str] = Counter()
        self.taken: list[str] = []
        self.all_taken = asyncio.Event()
        self._expected = expected
        self._failures = failures or {}

    async def __call__(self, doorbell: Doorbell) -> None:
        self.deliveries[doorbell.task_id] += 1
        if self.deliveries[doorbell.task_id] <= self._failures.get(doorbell.task_id, 0):
            raise ValueError("it failed")
        self.taken.append(doorbell.task_id)
        if len(self.taken) >= self._expected:
            self.all_taken.set()

    async def has_taken_all(self) -> None:
        await asyncio.wait_for(self.all_taken.wait(), 20)


class Stuck:
    """Takes doorbells and never acknowledges one before `release`."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)
        self.release = asyncio.Event()
        self.running = self.most = self.ended = 0

    async def __call__(self, doorbell: Doorbell) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.entered.release()
        await self.release.wait()
        self.running -= 1
        self.ended += 1

    async def has_entered(self, times: int) -> None:
        async with asyncio.timeout(10):
            for _ in range(times):
                await self.entered.acquire()


async def test_doorbells_rung_before_anybody_listens_are_kept(home: Any, label: str) -> None:
    ringer, worker = await home.bus(), Worker(expected=10)
    await ringer.ring(bells(label, 10))
    await ringer.close()
    taker = await home.bus()
    await taker.on_ring(label, worker, prefetch=4)
    await worker.has_taken_all()
    assert sorted(worker.taken) == sorted(bell.task_id for bell in bells(label, 10))


async def test_an_acknowledged_doorbell_does_not_come_back(home: Any, label: str) -> None:
    bus, first, second = await home.bus(), Worker(expected=1), Worker(expected=1)
    subscription = await bus.on_ring(label, first, prefetch=4)
    await bus.ring(bells(label, 1))
    await first.has_taken_all()
    await subscription.cancel()
    other = await home.bus()
    await other.on_ring(label, second, prefetch=4)
    await bus.ring([Doorbell(task_id="next", label=label)])
    await second.has_taken_all()
    assert second.taken == ["next"]


async def test_labels_are_apart(home: Any, label: str) -> None:
    bus, cpu, gpu = await home.bus(), Worker(expected=1), Worker(expected=2)
    await bus.on_ring(f"{label}.cpu", cpu, prefetch=4)
    await bus.on_ring(f"{label}.gpu", gpu, prefetch=4)
    await bus.ring([*bells(f"{label}.cpu", 1), *bells(f"{label}.gpu", 2)])
    await cpu.has_taken_all()
    await gpu.has_taken_all()
    assert (len(cpu.taken), len(gpu.taken)) == (1, 2)


async def test_ringing_nothing_is_fine(home: Any) -> None:
    await (await home.bus()).ring([])


async def test_a_label_that_is_too_long_is_refused(home: Any) -> None:
    bus = await home.bus()
    with pytest.raises(BadRequest):
        await bus.ring(bells("x" * (MAX_NAME_BYTES + 1), 1))


async def test_a_handler_that_fails_gets_its_doorbell_again(home: Any, label: str) -> None:
    bus, worker = await home.bus(), Worker(expected=2, failures={"task-0": 2})
    await bus.on_ring(label, worker, prefetch=4)
    await bus.ring(bells(label, 2))
    await worker.has_taken_all()
    assert worker.deliveries == {"task-0": 3, "task-1": 1}


async def test_a_handler_that_always_fails_sends_its_doorbell_to_the_dead(
    home: Any, label: str, eventually: Any
) -> None:
    bus, worker = await home.bus(), Worker(expected=1, failures={"task-0": 1000})
    await bus.on_ring(label, worker, prefetch=4)
    await bus.ring(bells(label, 2))
    dead = await eventually(lambda: bus.dead_letters(label))
    assert dead == bells(label, 1)
    assert worker.deliveries == {"task-0": DELIVERY_LIMIT, "task-1": 1}
    assert await bus.dead_letters(label) == []


async def test_dead_letters_come_in_portions(home: Any, label: str, eventually: Any) -> None:
    bus, found = await home.bus(), []

    async def failing(doorbell: Doorbell) -> None:
        raise ValueError("it failed")

    await bus.on_ring(label, failing, prefetch=10)
    await bus.ring(bells(label, 3))
    while len(found) < 3:
        portion = await eventually(lambda: bus.dead_letters(label, limit=2))
        assert len(portion) <= 2
        found += portion
    assert sorted(bell.task_id for bell in found) == ["task-0", "task-1", "task-2"]


async def test_a_doorbell_of_a_worker_that_dies_goes_to_another(home: Any, label: str) -> None:
    ringer, dying, living = await home.bus(), await home.bus(), await home.bus()
    stuck, worker = Stuck(), Worker(expected=3)
    await dying.on_ring(label, stuck, prefetch=3)
    await ringer.ring(bells(label, 3))
    await stuck.has_entered(3)
    await dying.close()
    await living.on_ring(label, worker, prefetch=3)
    await worker.has_taken_all()
    assert sorted(worker.taken) == ["task-0", "task-1", "task-2"]
    assert stuck.ended == 0


async def test_a_worker_that_always_dies_sends_its_doorbell_to_the_dead(home: Any, label: str, eventually: Any) -> None:
    ringer = await home.bus()
    await ringer.ring(bells(label, 1))
    for _ in range(DELIVERY_LIMIT):
        dying, stuck = await home.bus(), Stuck()
        await dying.on_ring(label, stuck, prefetch=1)
        await stuck.has_entered(1)
        await dying.close()
    assert await eventually(lambda: ringer.dead_letters(label)) == bells(label, 1)


async def test_a_cancelled_worker_ends_what_runs_and_takes_no_more(home: Any, label: str) -> None:
    bus, stuck, worker = await home.bus(), Stuck(), Worker(expected=2)
    subscription = await bus.on_ring(label, stuck, prefetch=2)
    await bus.ring(bells(label, 4))
    await stuck.has_entered(2)
    cancelling = asyncio.create_task(subscription.cancel())
    stuck.release.set()
    await cancelling
    ended = stuck.ended
    await bus.on_ring(label, worker, prefetch=4)
    await worker.has_taken_all() if ended == 2 else None
    assert ended + len(worker.taken) == 4


async def test_a_cancelled_worker_does_not_wait_for_the_pause_before_a_redelivery(home: Any, label: str) -> None:
    bus, worker, failed = await home.bus(), Worker(expected=1), asyncio.Event()

    async def failing(doorbell: Doorbell) -> None:
        failed.set()
        raise ValueError("it failed")

    subscription = await bus.on_ring(label, failing, prefetch=1)
    await bus.ring(bells(label, 1))
    await asyncio.wait_for(failed.wait(), 10)
    await subscription.cancel()
    await bus.on_ring(label, worker, prefetch=1)
    await worker.has_taken_all()


async def test_no_more_than_prefetch_are_out_at_once(home: Any, label: str) -> None:
    bus, stuck = await home.bus(), Stuck()
    await bus.on_ring(label, stuck, prefetch=3)
    await bus.ring(bells(label, 10))
    await stuck.has_entered(3)
    await bus.ring(bells(label, 1))  # the broker had time to send more
    assert stuck.running == 3
    stuck.release.set()
    await stuck.has_entered(8)
    assert stuck.most == 3


@pytest.mark.parametrize("body", [b"not json", b"", b"[]", b'{"task_id": 1}', b"\xff\xfe"])
async def test_poison_goes_to_the_dead_at_once(home: Any, label: str, body: bytes, eventually: Any) -> None:
    bus, worker = await home.bus(), Worker(expected=1)
    await bus.on_ring(label, worker, prefetch=1)
    await home.put_raw(label, body)
    await bus.ring(bells(label, 1))
    await worker.has_taken_all()
    assert await eventually(lambda: home.dead_raw(label)) == [body]


async def test_poison_among_the_dead_is_logged_and_left_out(
    home: Any, label: str, eventually: Any, logs: list[Any]
) -> None:
    bus = await home.bus()

    async def failing(doorbell: Doorbell) -> None:
        raise ValueError("it failed")

    await bus.on_ring(label, failing, prefetch=2)
    await home.put_raw(label, b"poison")
    await bus.ring(bells(label, 1))
    assert await eventually(lambda: bus.dead_letters(label)) == bells(label, 1)
    await eventually(lambda: unreadable(bus, label, logs))


async def unreadable(bus: Any, label: str, logs: list[Any]) -> list[Any]:
    await bus.dead_letters(label)
    return [entry for entry in logs if entry["event"] == "dead_letter_unreadable" and entry["body"] == "poison"]


async def test_logs_of_a_worker_carry_the_ids(home: Any, label: str) -> None:
    bus, seen, rung = await home.bus(), [], asyncio.Event()

    async def handler(doorbell: Doorbell) -> None:
        seen.append(structlog.contextvars.get_contextvars())
        rung.set()

    await bus.on_ring(label, handler, prefetch=1)
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        await bus.ring(bells(label, 1))
    await asyncio.wait_for(rung.wait(), 10)
    assert seen == [{"request_id": "r1", "task_id": "task-0"}]


class TestSmallQueues:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(doorbells=5)

    async def test_a_full_queue_refuses(self, home: Any, label: str) -> None:
        bus = await home.bus()
        with pytest.raises(Overloaded, match="full"):
            for _ in range(50):
                await bus.ring(bells(label, 1))


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_every_doorbell_is_acknowledged_or_dead(home: Any, label: str, seed: int, eventually: Any) -> None:
    """Rung == acknowledged + dead, whatever fails and whoever dies."""
    chance, rung = random.Random(seed), bells(label, 60)
    failures = {bell.task_id: chance.choice([0, 0, 0, 1, 3, 1000]) for bell in rung}
    doomed = {task_id for task_id, times in failures.items() if times > DELIVERY_LIMIT}
    worker = Worker(expected=len(rung) - len(doomed), failures=failures)
    ringer, dying, living = await home.bus(), await home.bus(), await home.bus()
    stuck = Stuck()
    await dying.on_ring(label, stuck, prefetch=7)
    await ringer.ring(rung)
    await stuck.has_entered(7)
    await living.on_ring(label, worker, prefetch=16)
    await dying.close()
    await worker.has_taken_all()
    dead: list[Doorbell] = []
    while len(dead) < len(doomed):
        dead += await eventually(lambda: living.dead_letters(label))
    assert sorted(worker.taken + [bell.task_id for bell in dead]) == sorted(bell.task_id for bell in rung)
    assert {bell.task_id for bell in dead} == doomed
