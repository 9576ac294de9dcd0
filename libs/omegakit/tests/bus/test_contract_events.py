"""Events, on every adapter: everybody who listens hears each, in order."""

import asyncio
from typing import Any

import pytest
import structlog

from omegakit.bus.wire import Limits
from omegaproto.errors import TooLarge, Unavailable
from omegaproto.messages import MAX_MESSAGE_BYTES, Event


class Happened(Event, subject="test.happened"):
    number: int
    pad: str = ""


class OtherHappened(Event, subject="test.other"):
    number: int


class Ear:
    """Hears until it has heard the number that the test waits for."""

    def __init__(self, last: int) -> None:
        self.heard: list[int] = []
        self.done = asyncio.Event()
        self._last = last

    async def __call__(self, event: Any) -> None:
        self.heard.append(event.number)
        if event.number == self._last:
            self.done.set()

    async def has_heard_all(self) -> list[int]:
        await asyncio.wait_for(self.done.wait(), 10)
        return self.heard


async def test_everybody_hears_every_event_in_order(home: Any) -> None:
    speaker, ears = await home.bus(), [Ear(99) for _ in range(4)]
    listeners = [await home.bus() for _ in range(3)]
    for bus, ear in zip([*listeners, listeners[0]], ears, strict=True):
        await bus.subscribe(Happened, ear)
    for number in range(100):
        await speaker.publish(Happened(number=number))
    for ear in ears:
        assert await ear.has_heard_all() == list(range(100))


async def test_one_hears_only_what_it_asked_for(home: Any) -> None:
    bus, ear, other = await home.bus(), Ear(1), Ear(2)
    await bus.subscribe(Happened, ear)
    await bus.subscribe(OtherHappened, other)
    await bus.publish(Happened(number=1))
    await bus.publish(OtherHappened(number=2))
    assert await ear.has_heard_all() == [1]
    assert await other.has_heard_all() == [2]


async def test_nobody_need_listen(home: Any) -> None:
    bus, ear = await home.bus(), Ear(2)
    await bus.publish(Happened(number=1))
    await bus.subscribe(Happened, ear)
    await bus.publish(Happened(number=2))
    assert await ear.has_heard_all() == [2]


async def test_a_listener_that_fails_hears_the_next(home: Any, logs: list[Any]) -> None:
    bus, ear = await home.bus(), Ear(2)

    async def handler(event: Happened) -> None:
        await ear(event)
        if event.number == 1:
            raise ValueError("it failed")

    await bus.subscribe(Happened, handler)
    await bus.publish(Happened(number=1))
    await bus.publish(Happened(number=2))
    assert await ear.has_heard_all() == [1, 2]
    assert [entry["event"] for entry in logs] == ["event_listener_failed"]


async def test_events_are_heard_one_at_a_time(home: Any) -> None:
    bus, ear, running, most = await home.bus(), Ear(9), 0, 0

    async def handler(event: Happened) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running -= 1
        await ear(event)

    await bus.subscribe(Happened, handler)
    for number in range(10):
        await bus.publish(Happened(number=number))
    assert await ear.has_heard_all() == list(range(10))
    assert most == 1


async def test_a_cancelled_listener_ends_the_event_it_is_at(home: Any) -> None:
    bus, entered, gate, ended = await home.bus(), asyncio.Event(), asyncio.Event(), []

    async def handler(event: Happened) -> None:
        entered.set()
        await gate.wait()
        ended.append(event.number)

    subscription = await bus.subscribe(Happened, handler)
    await bus.publish(Happened(number=1))
    await asyncio.wait_for(entered.wait(), 10)
    cancelling = asyncio.create_task(subscription.cancel())
    gate.set()
    await cancelling
    await bus.publish(Happened(number=2))
    assert ended == [1]


async def test_a_listener_that_dies_is_no_burden(home: Any) -> None:
    speaker, dying, living = await home.bus(), await home.bus(), await home.bus()
    entered, ear = asyncio.Event(), Ear(2)

    async def stuck(event: Happened) -> None:
        entered.set()
        await asyncio.Event().wait()

    await dying.subscribe(Happened, stuck)
    await living.subscribe(Happened, ear)
    await speaker.publish(Happened(number=1))
    await asyncio.wait_for(entered.wait(), 10)
    await dying.close()
    await speaker.publish(Happened(number=2))
    assert await ear.has_heard_all() == [1, 2]


async def test_the_request_id_travels(home: Any) -> None:
    bus, seen, ear = await home.bus(), [], Ear(1)

    async def handler(event: Happened) -> None:
        seen.append(structlog.contextvars.get_contextvars())
        await ear(event)

    await bus.subscribe(Happened, handler)
    with structlog.contextvars.bound_contextvars(request_id="r1", task_id="t1"):
        await bus.publish(Happened(number=1))
    await ear.has_heard_all()
    assert seen == [{"request_id": "r1", "task_id": "t1"}]


async def test_an_event_over_the_limit_is_refused(home: Any) -> None:
    bus = await home.bus()
    with pytest.raises(TooLarge):
        await bus.publish(Happened(number=1, pad="x" * MAX_MESSAGE_BYTES))


async def test_a_closed_bus_tells_nobody(home: Any) -> None:
    bus = await home.bus()
    await bus.close()
    with pytest.raises(Unavailable):
        await bus.publish(Happened(number=1))
    with pytest.raises(Unavailable):
        await bus.subscribe(Happened, Ear(1))


class TestSmallQueues:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(events=10)

    async def test_a_listener_that_lags_behind_loses_the_oldest(self, home: Any) -> None:
        bus, entered, gate, ear = await home.bus(), asyncio.Event(), asyncio.Event(), Ear(999)

        async def slow(event: Happened) -> None:
            entered.set()
            await gate.wait()
            await ear(event)

        await bus.subscribe(Happened, slow)
        await bus.publish(Happened(number=0))
        await asyncio.wait_for(entered.wait(), 10)
        for number in range(1, 1000):
            await bus.publish(Happened(number=number))
        gate.set()
        heard = await ear.has_heard_all()
        assert heard[0] == 0
        assert heard == sorted(heard)
        assert len(heard) < 200
