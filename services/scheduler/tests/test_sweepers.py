"""When sweepers wake up, and that nothing stops them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta

import pytest
import pytest_asyncio

from omega_scheduler.sweepers import Sweeper
from omegakit.clock import SystemClock
from omegakit.logs import get_logger
from omegaproto.errors import Unavailable

pytestmark = pytest.mark.usefixtures("no_leaks")
CLOCK = SystemClock()
Start = Callable[[Callable[[], Awaitable[datetime | None]], float], Sweeper]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    started: list[Sweeper] = []

    def make(sweep: Callable[[], Awaitable[datetime | None]], interval: float) -> Sweeper:
        started.append(Sweeper("test", sweep, CLOCK, get_logger("test"), interval=interval))
        started[-1].start()
        return started[-1]

    yield make
    for sweeper in started:
        await sweeper.stop()


class Swept:
    """Counts sweeps, each of which gives or raises what comes next."""

    def __init__(self, *outcomes: datetime | Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.times = 0
        self.changed = asyncio.Condition()

    async def __call__(self) -> datetime | None:
        async with self.changed:
            self.times += 1
            self.changed.notify_all()
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def until(self, times: int) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: self.times >= times)


async def test_it_sweeps_at_once_and_again_after_the_interval(start: Start) -> None:
    swept = Swept()
    start(swept, 0.03)
    await swept.until(3)


async def test_it_sweeps_when_the_sweep_wanted_to(start: Start) -> None:
    swept = Swept(CLOCK.now() + timedelta(seconds=0.02), CLOCK.now())
    start(swept, 3600)
    await swept.until(3)


async def test_an_earlier_time_wakes_it_and_a_later_one_does_not(start: Start) -> None:
    swept = Swept()
    sweeper = start(swept, 3600)
    await swept.until(1)
    sweeper.wake_by(CLOCK.now() + timedelta(hours=2))
    sweeper.wake_by(CLOCK.now() + timedelta(minutes=1))
    await asyncio.sleep(0)
    sweeper.wake_by(CLOCK.now() + timedelta(seconds=0.02))
    await swept.until(2)


async def test_a_sweep_that_fails_is_tried_again(start: Start) -> None:
    swept = Swept(Unavailable("The store is away."), ZeroDivisionError())
    start(swept, 0.03)
    await swept.until(3)


async def test_stopping_one_that_never_started_does_nothing() -> None:
    await Sweeper("test", Swept(), CLOCK, get_logger("test"), interval=1).stop()
