"""Nothing is lost: doorbells that vanish, brokers that are away, and schedulers that die at any point."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from omega_scheduler.app import SchedulerService
from omegakit.bus import Bus
from omegaproto.errors import Unavailable
from omegaproto.messages import Doorbell, Event
from omegaproto.tasks import Payload, TaskState

from .conftest import Home

pytestmark = pytest.mark.usefixtures("no_leaks")


class FaultyBus:
    """A real bus whose doorbells and events go wrong while `broken` says how."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.broken: Callable[[], Awaitable[None]] | None = None
        self.tried = asyncio.Event()
        self.connected = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def ring(self, doorbells: list[Doorbell]) -> None:
        await self._fail()
        await self._bus.ring(doorbells)

    async def publish(self, event: Event) -> None:
        await self._fail()
        await self._bus.publish(event)

    async def _fail(self) -> None:
        if self.broken is not None:
            self.tried.set()
            await self.broken()


async def unreachable() -> None:
    raise Unavailable("The broker is gone.")


async def never_answers() -> None:
    await asyncio.Event().wait()


async def bug() -> None:
    raise RuntimeError("something nobody thought of")


@pytest.fixture
async def faulty(home: Home) -> FaultyBus:
    return FaultyBus(await home.open_bus())


async def die(service: SchedulerService, bus: Any) -> None:
    """End a scheduler as a kill does: nothing is drained, nothing is sent any more."""
    await bus.close()
    await service.stop()


@pytest.mark.parametrize("broken", [unreachable, bug])
async def test_a_doorbell_that_could_not_be_rung_is_rung_by_the_sweeper(
    home: Home, faulty: FaultyBus, broken: Callable[[], Awaitable[None]]
) -> None:
    service = await home.scheduler(faulty)
    await home.listen()
    faulty.broken = broken
    (task,) = await home.submit()
    await faulty.tried.wait()
    faulty.broken = None
    home.clock.advance(9)
    await service.sweeps.ring()
    assert home.rung.empty()
    home.clock.advance(1)
    await service.sweeps.ring()
    assert (await home.rung.get()).task_id == task.id


async def test_a_doorbell_that_got_lost_is_rung_again_less_and_less_often(home: Home) -> None:
    service = await home.scheduler()
    (task,) = await home.submit()
    await home.listen()
    await home.rung.get()
    for wait in (10, 20, 40):
        home.clock.advance(wait - 1)
        await service.sweeps.ring()
        assert home.rung.empty()
        home.clock.advance(1)
        await service.sweeps.ring()
        assert (await home.rung.get()).task_id == task.id


async def test_a_broker_that_is_away_costs_no_wait_once_it_is_back(home: Home, faulty: FaultyBus) -> None:
    service = await home.scheduler(faulty)
    await home.listen()
    (task,) = await home.submit()
    await home.rung.get()
    for _ in range(5):
        home.clock.advance(10)
        faulty.broken = unreachable
        with pytest.raises(Unavailable):
            await service.sweeps.ring()
    faulty.broken, faulty.connected = None, False
    with pytest.raises(Unavailable, match="cannot be reached"):
        await service.sweeps.ring()
    faulty.connected = True
    home.clock.advance(10)
    await service.sweeps.ring()
    assert (await home.rung.get()).task_id == task.id


async def test_killed_between_insert_and_ring(home: Home, faulty: FaultyBus) -> None:
    service = await home.scheduler(faulty)
    faulty.broken = never_answers
    made = await home.submit(*(home.spec(f"k{number}") for number in range(20)))
    await faulty.tried.wait()
    await die(service, faulty)
    home.clock.advance(10)
    await home.listen()
    await home.scheduler(sweep_batch=7)
    assert {(await home.rung.get()).task_id for _ in made} == {task.id for task in made}


async def test_killed_between_claim_and_answer_the_claim_is_repeated(home: Home) -> None:
    bus = await home.open_bus()
    service = await home.scheduler(bus)
    (task,) = await home.submit()
    (first,) = await home.claim(task.id, claim_id="c")
    await die(service, bus)
    await home.scheduler()
    (again,) = await home.claim(task.id, claim_id="c")
    assert (again.lease, again.task.attempt) == (first.lease, 1)
    assert (await home.complete(again.lease, "succeeded")).recorded


async def test_killed_while_tasks_run_the_next_one_takes_them_back(home: Home) -> None:
    bus = await home.open_bus()
    service = await home.scheduler(bus)
    await home.listen()
    leases = [await home.started(f"k{number}") for number in range(20)]
    for _ in leases:
        await home.rung.get()
    await die(service, bus)
    home.clock.advance(30)
    await home.scheduler(sweep_batch=7)
    assert {(await home.rung.get()).task_id for _ in leases} == {lease.task_id for lease in leases}
    for lease in leases:
        assert (await home.claim(lease.task_id))[0].task.attempt == 2


async def test_killed_between_the_result_and_its_event_the_result_is_there(home: Home, faulty: FaultyBus) -> None:
    service = await home.scheduler(faulty)
    lease = await home.started()
    faulty.broken = never_answers
    assert (await home.complete(lease, "succeeded", result=Payload(value=1))).recorded
    await faulty.tried.wait()
    await die(service, faulty)
    await home.scheduler()
    assert (await home.complete(lease, "succeeded", result=Payload(value=2))).recorded
    (task,) = await home.get(lease.task_id)
    assert (task.state, task.result) == (TaskState.succeeded, Payload(value=1))


async def test_replicas_that_sweep_at_once_take_each_task_back_once(home: Home) -> None:
    replicas = [await home.scheduler(sweep_batch=5) for _ in range(3)]
    leases = [await home.started(f"k{number}") for number in range(12)]
    home.clock.advance(30)
    await asyncio.gather(*(replica.sweeps.expire() for replica in replicas))
    tasks = await home.get(*(lease.task_id for lease in leases))
    assert {task.lost for task in tasks} == {1}


async def test_a_drain_sends_what_waits_and_gives_up_on_a_broker_that_hangs(
    home: Home, faulty: FaultyBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omega_scheduler.app._FLUSH_SECONDS", 0.05)
    service = await home.scheduler(faulty)
    faulty.broken = never_answers
    await home.submit()
    await service.drain()
    with pytest.raises(Unavailable):
        await home.submit()
