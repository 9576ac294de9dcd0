"""The two homes of a bus, so that one suite specifies both adapters."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Protocol

import aio_pika
import pytest
import pytest_asyncio
import structlog

from omegakit.bus import Bus
from omegakit.bus import amqp_topology as topology
from omegakit.bus.memory import MemoryBroker, MemoryBus
from omegakit.bus.memory_queues import Bell
from omegakit.bus.rabbitmq import RabbitBus
from omegakit.bus.wire import Limits, call_context


class Home(Protocol):
    """Where the buses of a test meet."""

    async def bus(self) -> Bus:
        """Give a started bus, closed after the test."""

    async def put_raw(self, label: str, body: bytes) -> None:
        """Put bytes into a label's queue."""

    async def dead_raw(self, label: str) -> list[bytes]:
        """Give and remove the bodies of dead doorbells."""


class MemoryHome:
    def __init__(self, limits: Limits) -> None:
        self._broker = MemoryBroker(limits)
        self._buses: list[Bus] = []

    async def bus(self) -> Bus:
        return await opened(MemoryBus(self._broker), self._buses)

    async def put_raw(self, label: str, body: bytes) -> None:
        self._broker.bells(label).put(Bell(body, call_context("")))

    async def dead_raw(self, label: str) -> list[bytes]:
        return self._broker.bells(label).take_dead(100)

    async def close(self) -> None:
        await asyncio.gather(*(bus.close() for bus in self._buses))


class RabbitHome:
    def __init__(self, url: str, limits: Limits) -> None:
        self._url = url
        self._limits = limits
        self._buses: list[Bus] = []

    async def bus(self) -> Bus:
        return await opened(RabbitBus(self._url, self._limits), self._buses)

    async def put_raw(self, label: str, body: bytes) -> None:
        connection = await aio_pika.connect(self._url)
        async with connection:
            channel = await connection.channel()
            key = topology.label_queue(label)
            await channel.default_exchange.publish(aio_pika.Message(body, headers={"task_id": "raw"}), routing_key=key)

    async def dead_raw(self, label: str) -> list[bytes]:
        connection = await aio_pika.connect(self._url)
        async with connection:
            channel = await connection.channel()
            queue = await channel.get_queue(topology.dead_queue(label))
            bodies = []
            while (message := await queue.get(fail=False)) is not None:
                bodies.append(message.body)
                await message.ack()
            return bodies

    async def close(self) -> None:
        await asyncio.gather(*(bus.close() for bus in self._buses))


async def opened(bus: Bus, buses: list[Bus]) -> Bus:
    await bus.start()
    buses.append(bus)
    return bus


@pytest.fixture
def limits() -> Limits:
    """How much fits into a queue; modules and classes override it to make queues small."""
    return Limits()


@pytest_asyncio.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.servers)])
async def home(request: pytest.FixtureRequest, limits: Limits, no_leaks: None) -> AsyncIterator[Any]:
    """One of the two homes."""
    if request.param == "memory":
        home: MemoryHome | RabbitHome = MemoryHome(limits)
    else:
        home = RabbitHome(request.getfixturevalue("amqp_url"), limits)
    yield home
    await home.close()


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    """What was logged, as dictionaries."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def label() -> str:
    """A label of the test's own: its queue outlives the test."""
    return f"label-{secrets.token_hex(4)}"


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]:
    """Ask a server again and again until it gives something, for 15 s at most."""

    async def ask(question: Callable[[], Awaitable[Any]]) -> Any:
        async with asyncio.timeout(15):
            while not (answer := await question()):
                await asyncio.sleep(0.02)
            return answer

    return ask
