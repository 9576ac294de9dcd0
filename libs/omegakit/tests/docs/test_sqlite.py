"""What only the SQLite store does: group commit, several processes, a full disk, declared indexes in use."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from omegakit.docs import Collection, Cond, Index, open_docs, sql
from omegakit.docs.paging import Direction, full_order
from omegakit.docs.writer import Writer
from omegaproto.errors import Unavailable

COUNTED = Collection("counted")
TASKS = Collection("tasks", (Index(("bucket", "key"), unique=True), Index(("state", "due"))))


ADD_MANY = """
import asyncio, sys
from omegakit.docs import Collection, Update, open_docs

async def main():
    docs = open_docs(sys.argv[1])
    await docs.start([Collection("counted")])
    for _ in range(100):
        assert await docs.update("counted", Update("a", inc={"n": 1})) is not None
    await docs.close()

asyncio.run(main())
"""


async def test_processes_share_a_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'docs.sqlite3'}"
    docs = open_docs(url)
    await docs.start([COUNTED])
    await docs.insert("counted", {"_id": "a", "n": 0})
    others = [subprocess.Popen([sys.executable, "-c", ADD_MANY, url]) for _ in range(3)]
    assert [await asyncio.to_thread(each.wait) for each in others] == [0, 0, 0]
    assert await docs.get("counted", "a") == {"_id": "a", "n": 300}
    await docs.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file.db"


@pytest.fixture
def small_disk(file: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (x)")
    connection.execute("PRAGMA max_page_count=20")
    yield connection
    connection.close()


def put(value: object, connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO t VALUES (?)", [value])


def lock_of(file: Path) -> Path:
    return file.with_suffix(".lock")


async def test_a_full_disk_is_unavailable_and_what_was_stored_stays(file: Path, small_disk: sqlite3.Connection) -> None:
    writer = Writer(small_disk, lock_of(file))
    await writer.run(lambda connection: put("small", connection))
    with pytest.raises(Unavailable, match="full"):
        await writer.run(lambda connection: put(b"x" * 1_000_000, connection))
    await writer.run(lambda connection: put("after", connection))
    rows = await writer.run(lambda connection: connection.execute("SELECT x FROM t").fetchall())
    assert rows == [("small",), ("after",)]
    await asyncio.to_thread(writer.close)


async def test_a_failed_job_is_undone_alone(file: Path, small_disk: sqlite3.Connection) -> None:
    writer = Writer(small_disk, lock_of(file))
    running, go = threading.Event(), threading.Event()

    def hold(connection: sqlite3.Connection) -> None:
        running.set()
        assert go.wait(10)

    def fail(connection: sqlite3.Connection) -> None:
        put("half", connection)
        raise ValueError("refused")

    begun: list[bool] = []

    def in_one_transaction(connection: sqlite3.Connection) -> None:
        begun.append(connection.in_transaction)
        put("with it", connection)

    held = asyncio.ensure_future(writer.run(hold))
    await asyncio.to_thread(running.wait)
    jobs = [asyncio.ensure_future(writer.run(each)) for each in (fail, in_one_transaction)]
    gone = asyncio.ensure_future(writer.run(lambda connection: put("caller gone", connection)))
    await asyncio.sleep(0)
    gone.cancel()
    go.set()
    results = await asyncio.gather(held, *jobs, return_exceptions=True)
    assert [str(each) for each in results] == ["None", "refused", "None"]
    rows = await writer.run(lambda connection: connection.execute("SELECT x FROM t").fetchall())
    assert rows == [("with it",), ("caller gone",)]
    await asyncio.to_thread(writer.close)
    with pytest.raises(Unavailable):
        await writer.run(hold)


async def test_a_failed_commit_fails_every_job_of_it(file: Path, small_disk: sqlite3.Connection) -> None:
    small_disk.execute("PRAGMA foreign_keys=ON")
    small_disk.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    small_disk.execute("CREATE TABLE child (id REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
    writer = Writer(small_disk, lock_of(file))
    with pytest.raises(Unavailable):
        await writer.run(lambda connection: connection.execute("INSERT INTO child VALUES (1)"))
    assert await writer.run(lambda connection: connection.in_transaction)
    await asyncio.to_thread(writer.close)


@pytest.mark.parametrize(
    ("where", "order"),
    [
        ([Cond("bucket", "==", "b"), Cond("key", "==", "k")], []),
        ([Cond("bucket", "==", "b"), Cond("key", "prefix", "k")], []),
        ([Cond("bucket", "==", "b")], [("key", 1)]),
        ([Cond("state", "==", "queued"), Cond("due", "<=", 5)], [("due", 1)]),
        ([Cond("state", "==", "queued")], [("due", -1)]),
        ([Cond("state", "in", ["queued", None])], []),
    ],
)
def test_declared_indexes_are_used(where: list[Cond], order: list[tuple[str, Direction]]) -> None:
    with sqlite3.connect(":memory:") as connection:
        for statement in sql.schema(TASKS):
            connection.execute(statement)
        text, values = sql.conditions(where)
        tail = f"ORDER BY {sql.ordering(full_order(order))}" if order else ""
        plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT doc FROM tasks WHERE {text} {tail}", values).fetchall()
    connection.close()
    steps = " ".join(str(step[3]) for step in plan)
    assert "SEARCH" in steps
    assert "INDEX tasks:" in steps
    if order != [("key", 1)]:  # the unique index says nothing about ids, so ties of one key are sorted
        assert "TEMP B-TREE" not in steps
