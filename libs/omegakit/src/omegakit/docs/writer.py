"""The one thread that writes a SQLite file: greedy group commit. Knows transactions, not documents.

Whatever was asked for while the last transaction ran goes into the next one, without a timer: alone, a write costs one
fsync; in a crowd, hundreds share one. Answers are given after COMMIT, each refusal to its own caller alone.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from omegaproto.errors import OmegaError, Unavailable

T = TypeVar("T")
_BATCH = 1_000


@dataclass(slots=True)
class _Job:
    """One write that waits for its transaction, and then its outcome, on its way to the caller's event loop."""

    work: Callable[[sqlite3.Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any] = field(init=False)
    outcome: Any = None
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.future = self.loop.create_future()

    def settle(self) -> None:
        """Answer the caller, unless it has gone."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.outcome)
        else:
            self.future.set_exception(self.error)


class Writer:
    """Runs functions on a connection, in order, many in one transaction; each has its own savepoint."""

    def __init__(self, connection: sqlite3.Connection, lock: Path) -> None:
        self._connection = connection
        # Writers of all threads and processes queue here, in the kernel; SQLite would have them sleep and try again.
        self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="omega-sqlite-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Give what `work` gave, once it is durable; raises what it raised, undone, or Unavailable."""
        if self._closed:
            raise Unavailable("The document store is closed.", action="Open it again.")
        job = _Job(work, asyncio.get_running_loop())
        self._jobs.put(job)
        outcome: T = await job.future
        return outcome

    def close(self) -> None:
        """Finish what is under way and close the connection. Blocks."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            self._thread.join()

    def _run(self) -> None:
        open_ = True
        while open_:
            jobs = self._next()
            open_ = None not in jobs
            self._commit([job for job in jobs if job is not None])
        self._connection.close()
        os.close(self._lock)

    def _next(self) -> list[_Job | None]:
        jobs = [self._jobs.get()]
        while len(jobs) < _BATCH and jobs[-1] is not None:
            try:
                jobs.append(self._jobs.get_nowait())
            except queue.Empty:
                break
        return jobs

    def _commit(self, jobs: list[_Job]) -> None:
        if not jobs:
            return
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                self._apply(job)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo(jobs, error)
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        _answer(jobs)

    def _apply(self, job: _Job) -> None:
        self._connection.execute("SAVEPOINT job")
        try:
            job.outcome = job.work(self._connection)
        except Exception as error:
            if isinstance(error, sqlite3.Error) and not self._connection.in_transaction:
                raise  # SQLite gave up the whole transaction (disk full, I/O error)
            job.error = error
            self._connection.execute("ROLLBACK TO job")
        self._connection.execute("RELEASE job")

    def _undo(self, jobs: Iterable[_Job], error: sqlite3.Error) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        for job in jobs:
            job.error = job.error if isinstance(job.error, OmegaError) else unavailable(error)


def unavailable(error: sqlite3.Error) -> Unavailable:
    """Give SQLite's failure as the error that callers know."""
    return Unavailable(f"SQLite failed: {error}.", action="Check the file, its folder, and the space on its disk.")


def _answer(jobs: list[_Job]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, settled in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, settled)
        except RuntimeError:
            continue  # the loop has ended, and with it whoever waited


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        job.settle()
