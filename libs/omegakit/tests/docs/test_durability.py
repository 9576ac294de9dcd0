"""What was acknowledged is there after kill -9, of the process that holds the SQLite file and of mongod."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from omegakit.docs import Collection, DocStore, open_docs
from omegakit.testing.servers import MongoServer
from omegaproto.errors import Unavailable

PLAIN = Collection("plain")
WRITE_FOR_EVER = """
import asyncio, sys
from omegakit.docs import Collection, open_docs

async def main():
    docs = open_docs(sys.argv[1])
    await docs.start([Collection("plain")])

    async def write(name):
        n = 0
        while True:
            await docs.insert("plain", {"_id": f"{name}-{n}", "text": "x" * 500})
            print(f"{name}-{n}", flush=True)
            n += 1

    await asyncio.gather(*(write(name) for name in range(16)))

asyncio.run(main())
"""


async def missing(docs: DocStore, ids: list[str]) -> list[str]:
    found = await docs.get_many("plain", ids)
    return [id for id, doc in zip(ids, found, strict=True) if doc is None]


async def test_a_killed_process_loses_no_acknowledged_insert(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'docs.sqlite3'}"
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, url], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            acknowledged = [writer.stdout.readline().strip() for _ in range(500)]
            writer.kill()
            acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
        docs = open_docs(url)
        await docs.start([PLAIN])
        assert await missing(docs, acknowledged) == []
        await docs.delete_where("plain", [])
        await docs.close()


@pytest.mark.servers
@pytest.mark.chaos
@pytest.mark.parametrize("driver", ["motor", "pymongo"])
async def test_a_killed_mongod_loses_no_acknowledged_insert(
    killable_mongo: MongoServer, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMEGA_MONGO_DRIVER", driver)
    docs = open_docs(killable_mongo.url.replace("/?", "/kill9?"))
    await docs.start([PLAIN])
    acknowledged: list[str] = []
    enough, back = asyncio.Event(), asyncio.Event()

    async def write(name: int) -> None:
        for n in range(1000):
            if back.is_set():
                return
            try:
                await docs.insert("plain", {"_id": f"{name}-{n}", "text": "x" * 500})
            except Unavailable:
                continue
            acknowledged.append(f"{name}-{n}")
            if len(acknowledged) > 300:
                enough.set()

    async def crash() -> None:
        await enough.wait()
        await asyncio.to_thread(killable_mongo.kill9)
        await asyncio.to_thread(killable_mongo.restart)
        back.set()

    await asyncio.gather(crash(), *(write(name) for name in range(16)))
    assert len(acknowledged) > 300
    assert await missing(docs, acknowledged) == []
    await docs.close()
