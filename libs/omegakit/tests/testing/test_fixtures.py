"""The shared servers give every test a database, and every module a virtual host, of its own."""

from typing import Any

import aio_pika
import pytest
from pymongo import AsyncMongoClient

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
