"""The pytest plugin: real servers, started at most once a run and only when a test asks; faults; leak checks.

OMEGA_TEST_MONGO_URL (a replica set) and OMEGA_TEST_AMQP_URL name servers to use instead of starting some; the broker's
management API is then OMEGA_TEST_AMQP_API_URL, by default port 15672 on the same host. Tests that kill or restart a
server use `killable_mongo` and `killable_rabbit`, which always start one of their own.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

import pytest
import pytest_asyncio

from omegakit.testing.leaks import describe, tasks_left_since
from omegakit.testing.proxy import TcpProxy
from omegakit.testing.servers import BrokerApi, MongoServer, RabbitServer
from omegakit.testing.urls import address_of, with_address, with_database, with_vhost

ProxyFactory = Callable[[str], Awaitable[TcpProxy]]


class Mongo(Protocol):
    """A replica set that tests share."""

    @property
    def url(self) -> str:
        """Its address without a database."""


class Broker(Protocol):
    """A RabbitMQ that tests share."""

    @property
    def url(self) -> str:
        """Its AMQP address."""

    @property
    def api(self) -> BrokerApi:
        """Its management API."""


@dataclass(frozen=True)
class GivenMongo:
    """A replica set that somebody else runs."""

    url: str


@dataclass(frozen=True)
class GivenBroker:
    """A broker that somebody else runs."""

    url: str
    api: BrokerApi


def given_broker(url: str) -> GivenBroker:
    """Give the broker at an AMQP URL; raises RuntimeError when its management API does not answer."""
    host, _ = address_of(url)
    guessed = with_vhost(with_address(url, host, 15672), "").replace("amqp://", "http://", 1)
    api = BrokerApi(os.environ.get("OMEGA_TEST_AMQP_API_URL", guessed))
    if not api.ready():
        raise RuntimeError(
            f"The management API of the broker in OMEGA_TEST_AMQP_URL does not answer on {api.host}:{api.port}. Tests "
            "need it for virtual hosts of their own: enable rabbitmq_management and name it in OMEGA_TEST_AMQP_API_URL."
        )
    return GivenBroker(url, api)


@pytest.fixture(scope="session")
def mongo_server() -> Iterator[Mongo]:
    """A shared replica set. Use `mongo_url`; and never stop this one."""
    given = os.environ.get("OMEGA_TEST_MONGO_URL")
    if given:
        yield GivenMongo(given)
        return
    with MongoServer() as server:
        yield server


@pytest.fixture(scope="session")
def rabbit_server() -> Iterator[Broker]:
    """A shared broker. Use `amqp_url`; and never stop this one."""
    given = os.environ.get("OMEGA_TEST_AMQP_URL")
    if given:
        yield given_broker(given)
        return
    with RabbitServer() as server:
        yield server


@pytest.fixture
def mongo_url(mongo_server: Mongo) -> Iterator[str]:
    """A MongoDB URL with a fresh database of the test's own, dropped afterwards."""
    from pymongo import MongoClient

    name = f"test_{secrets.token_hex(6)}"
    yield with_database(mongo_server.url, name)
    with MongoClient[dict[str, object]](mongo_server.url) as client:
        client.drop_database(name)


@pytest.fixture(scope="module")
def amqp_url(rabbit_server: Broker) -> Iterator[str]:
    """An AMQP URL with a fresh virtual host of the test module's own, deleted afterwards."""
    name = f"test-{secrets.token_hex(6)}"
    rabbit_server.api.create_vhost(name)
    yield with_vhost(rabbit_server.url, name)
    rabbit_server.api.delete_vhost(name)


@pytest.fixture
def killable_mongo() -> Iterator[MongoServer]:
    """A replica set of the test's own, to kill and restart."""
    with MongoServer() as server:
        yield server


@pytest.fixture
def killable_rabbit() -> Iterator[RabbitServer]:
    """A broker of the test's own, to kill and restart."""
    with RabbitServer() as server:
        yield server


@pytest_asyncio.fixture
async def tcp_proxy() -> AsyncIterator[ProxyFactory]:
    """A factory of faulty networks: `proxy = await tcp_proxy(url)`, then `proxy.url` in place of `url`."""
    async with AsyncExitStack() as stack:

        async def open_proxy(url: str) -> TcpProxy:
            return await stack.enter_async_context(TcpProxy(url))

        yield open_proxy


@pytest_asyncio.fixture
async def no_leaks() -> AsyncIterator[None]:
    """Fail the test when it leaves asyncio tasks running: `pytestmark = pytest.mark.usefixtures("no_leaks")`."""
    before = asyncio.all_tasks()
    yield
    left = await tasks_left_since(before)
    if left:
        pytest.fail(f"the test left {len(left)} asyncio tasks running:\n{describe(left)}", pytrace=False)
