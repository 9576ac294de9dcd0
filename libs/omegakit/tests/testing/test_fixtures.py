"""The shared servers give every test a database, and every module a virtual host, of its own."""

from typing import Any

import aio_pika
import pytest
from pymongo import AsyncMongoClient, MongoClient

from omegakit.testing.plugin import Broker, Mongo, given_broker

pytest_plugins = ["pytester"]

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("no_leaks")]


@pytest.mark.parametrize("attempt", [1, 2])
async def test_mongo_url_names_an_empty_database(mongo_url: str, attempt: int) -> None:
    client: AsyncMongoClient[dict[str, Any]]
    async with AsyncMongoClient(mongo_url) as client:
        things = client.get_default_database()["things"]
        assert await things.count_documents({}) == 0
        await things.insert_one({"_id": "one", "attempt": attempt})


async def test_mongo_has_transactions(mongo_url: str) -> None:
    client: AsyncMongoClient[dict[str, Any]]
    async with AsyncMongoClient(mongo_url) as client:
        things = client.get_default_database()["things"]
        async with client.start_session() as session, await session.start_transaction():
            await things.insert_one({"_id": 1}, session=session)
            await session.abort_transaction()
        assert await things.count_documents({}) == 0


async def test_amqp_url_names_a_virtual_host_of_this_module(amqp_url: str) -> None:
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("work", durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(aio_pika.Message(b"hello"), routing_key="work")
        message = await queue.get(timeout=10)
        assert message.body == b"hello"
        await message.ack()


def test_given_servers_are_used_instead_of_new_ones(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, mongo_server: Mongo, rabbit_server: Broker
) -> None:
    monkeypatch.setenv("OMEGA_TEST_MONGO_URL", mongo_server.url)
    monkeypatch.setenv("OMEGA_TEST_AMQP_URL", rabbit_server.url)
    monkeypatch.setenv("OMEGA_TEST_AMQP_API_URL", rabbit_server.api.url)
    pytester.makeconftest('pytest_plugins = ["omegakit.testing.plugin"]')
    pytester.makepyfile(
        """
        import os
        from pymongo import MongoClient
        from omegakit.testing.urls import address_of

        def test_given(mongo_url, amqp_url, rabbit_server):
            assert address_of(mongo_url) == address_of(os.environ["OMEGA_TEST_MONGO_URL"])
            assert address_of(amqp_url) == address_of(os.environ["OMEGA_TEST_AMQP_URL"])
            with MongoClient(mongo_url) as client:
                client.get_default_database()["things"].insert_one({})
        """
    )
    before = what_the_servers_hold(mongo_server, rabbit_server)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
    assert what_the_servers_hold(mongo_server, rabbit_server) == before


def what_the_servers_hold(mongo_server: Mongo, rabbit_server: Broker) -> tuple[set[str], set[str]]:
    with MongoClient[dict[str, Any]](mongo_server.url) as client:
        databases = set(client.list_database_names())
    return databases, {vhost["name"] for vhost in rabbit_server.api.get("vhosts")}


@pytest.fixture
def management_down(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
    monkeypatch.setenv("OMEGA_TEST_AMQP_API_URL", f"http://guest:guest@127.0.0.1:{unused_tcp_port}")


@pytest.mark.usefixtures("management_down")
def test_a_given_broker_without_management_is_an_error_that_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"does not answer on 127.0.0.1:\d+.*enable rabbitmq_management"):
        given_broker("amqp://guest:guest@127.0.0.1/")
