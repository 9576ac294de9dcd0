"""What only the MongoDB store does: declared indexes in use, the server's own expiry, outages."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo import MongoClient

from omegakit.docs import Collection, Cond, Index, Update, filters, open_docs
from omegakit.docs.paging import full_order
from omegakit.testing.proxy import TcpProxy
from omegaproto.errors import OmegaError, Unavailable

pytestmark = pytest.mark.servers
TASKS = Collection("tasks", (Index(("bucket", "key"), unique=True), Index(("state", "due"))), expires="expires")


@pytest.mark.parametrize(
    ("where", "order"),
    [
        ([Cond("bucket", "==", "b"), Cond("key", "==", "k")], []),
        ([Cond("bucket", "==", "b"), Cond("key", "prefix", "k")], []),
        ([Cond("bucket", "==", "b")], [("key", 1)]),
        ([Cond("state", "==", "queued"), Cond("due", "<=", 5)], [("due", 1)]),
        ([Cond("state", "==", "queued")], [("due", -1)]),
        ([Cond("_id", "==", "a"), Cond("state", "==", "queued")], []),
    ],
)
async def test_declared_indexes_are_used(mongo_url: str, where: list[Cond], order: list[Any]) -> None:
    docs = open_docs(mongo_url)
    await docs.start([TASKS])
    await docs.close()
    found = filters.every([*filters.conditions(where), *filters.alive(TASKS, datetime.now(UTC))])
    with MongoClient[dict[str, Any]](mongo_url) as client:
        cursor = client.get_default_database()["tasks"].find(found)
        plan = str((cursor.sort(list(full_order(order))) if order else cursor).explain()["queryPlanner"]["winningPlan"])
    assert "IXSCAN" in plan or "IDHACK" in plan
    assert "'COLLSCAN'" not in plan
    assert "'SORT'" not in plan


async def test_the_server_removes_what_expired(mongo_url: str) -> None:
    docs = open_docs(mongo_url)
    await docs.start([TASKS])
    now = datetime.now(UTC)
    await docs.insert("tasks", {"_id": "old", "expires": now - timedelta(seconds=1)})
    await docs.insert("tasks", {"_id": "new", "expires": now + timedelta(hours=1)})
    with MongoClient[dict[str, Any]](mongo_url) as client:
        stored = client.get_default_database()["tasks"]
        async with asyncio.timeout(70):
            while stored.count_documents({}) == 2:
                await asyncio.sleep(0.2)
        assert [each["_id"] for each in stored.find()] == ["new"]
    await docs.close()


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
async def test_an_outage_is_unavailable_and_passes(
    mongo_url: str,
    driver: str,
    tcp_proxy: Callable[[str], Awaitable[TcpProxy]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMEGA_MONGO_DRIVER", driver)
    proxy = await tcp_proxy(mongo_url)
    docs = open_docs(f"{proxy.url}&timeoutMS=1500&serverSelectionTimeoutMS=1000")
    await docs.start([TASKS])
    await docs.insert("tasks", {"_id": "a", "n": 1})
    proxy.refuse()
    proxy.cut()
    calls: list[Callable[[], Awaitable[object]]] = [
        docs.ping,
        lambda: docs.get("tasks", "a"),
        lambda: docs.insert("tasks", {"_id": "b"}),
        lambda: docs.insert_many("tasks", [{"_id": "c"}]),
        lambda: docs.update_many("tasks", [Update("a", inc={"n": 1}), Update("b")]),
    ]
    outcomes = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
    assert [type(each) for each in outcomes] == [Unavailable] * len(calls)
    await proxy.accept()
    assert await docs.get("tasks", "a") == {"_id": "a", "n": 1}
    await docs.close()


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
async def test_a_cut_connection_is_not_noticed(
    mongo_url: str,
    driver: str,
    tcp_proxy: Callable[[str], Awaitable[TcpProxy]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMEGA_MONGO_DRIVER", driver)
    proxy = await tcp_proxy(mongo_url)
    docs = open_docs(proxy.url)
    await docs.start([TASKS])
    await docs.insert("tasks", {"_id": "a", "n": 0})
    for _ in range(5):
        proxy.cut()
        assert await docs.update("tasks", Update("a", inc={"n": 1})) is not None
    assert await docs.get("tasks", "a") == {"_id": "a", "n": 5}
    await docs.close()


async def test_what_the_server_refuses_is_no_duplicate(mongo_url: str) -> None:
    docs = open_docs(mongo_url)
    await docs.start([TASKS])
    with MongoClient[dict[str, Any]](mongo_url) as client:
        client.get_default_database().command("collMod", "tasks", validator={"n": {"$lt": 3}})
    with pytest.raises(OmegaError, match="validation"):
        await docs.insert_many("tasks", [{"_id": "a", "n": 1}, {"_id": "b", "n": 5}])
    with pytest.raises(OmegaError, match="validation"):
        await docs.insert("tasks", {"_id": "c", "n": 5})
    await docs.close()
