"""Child processes of one role, kept warm: handed out one user at a time, replaced when they die or change bucket.

A child in which a bucket's code ran holds nothing of other buckets, before or after. Where no code runs, buckets share.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from omega_worker.launch import Role
from omega_worker.metrics import WorkerMetrics
from omega_worker.process import ChildDied, ChildProcess, LineSink
from omega_worker.settings import WorkerOptions
from omegaproto.errors import Unavailable

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_LEAVE_SECONDS = 2.0


@dataclass(eq=False)
class _Wanted:
    """Somebody waits for a child to work for a bucket, maybe to run its code (None: for nobody, any child will do)."""

    bucket: str | None
    code: bool
    child: asyncio.Future[ChildProcess] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class ChildPool:
    """At most `size` children. One is warmed up ahead; more are started when they are needed.

    A pool for users who take long keeps a fresh child warm as long as there is room, and retires an idle one of another
    bucket while those that fit are busy. With `patient`, for users who take milliseconds, it does neither.
    """

    def __init__(
        self,
        options: WorkerOptions,
        role: Role,
        size: int,
        sink: LineSink,
        metrics: WorkerMetrics,
        log: Any,
        *,
        patient: bool = False,
    ) -> None:
        self._options = options
        self._role = role
        self._size = size
        self._sink = sink
        self._metrics = metrics
        self._log = log
        self._patient = patient
        self._idle: list[ChildProcess] = []
        self._children: set[ChildProcess] = set()
        """Those that are warm, idle or not."""
        self._warming: set[ChildProcess] = set()
        self._wanted: deque[_Wanted] = deque()
        self._starting = 0
        self._failures = 0
        self._chores: set[asyncio.Task[None]] = set()
        self._closed = False

    def start(self) -> None:
        """Begin to warm up the first child; returns at once."""
        self._grow()

    async def close(self) -> None:
        """End all children and return when they are gone."""
        self._closed = True
        for child in self._children:
            child.leave()
        if self._children:
            await asyncio.wait({child.exited for child in self._children}, timeout=_LEAVE_SECONDS)
        for child in self._children | self._warming:
            child.kill()
        while self._chores:
            await asyncio.wait(self._chores)

    def check(self) -> None:
        """Return when a child is warm. Raises Unavailable."""
        if not any(child.alive for child in self._children):
            raise Unavailable(
                f"No child process for {self._role} is warm yet.", action="Look for its start in the log."
            )

    @property
    def pids(self) -> list[int]:
        """Give the process ids of the warm children."""
        return [child.pid for child in self._children if child.alive]

    async def acquire(self, bucket: str | None = None, *, code: bool = True) -> ChildProcess:
        """Wait for a warm child in which no other bucket's code ran. Give it back by `release`.

        With `code`, for code of `bucket`, it is one that held nothing of other buckets, and it never will.
        """
        wanted = _Wanted(bucket if self._options.isolate_buckets else None, code)
        self._wanted.append(wanted)
        self._pump()
        try:
            return await wanted.child
        except asyncio.CancelledError:
            self._forget(wanted)
            raise

    def release(self, child: ChildProcess) -> None:
        """Take a child back; a dead one is replaced."""
        if child.alive and not self._closed:
            self._idle.append(child)
        self._pump()

    def _forget(self, wanted: _Wanted) -> None:
        if wanted in self._wanted:
            self._wanted.remove(wanted)
        elif wanted.child.done() and not wanted.child.cancelled():
            self.release(wanted.child.result())

    def _pump(self) -> None:
        """Give waiting users what is idle, and start what is missing."""
        self._idle = [child for child in self._idle if child.alive]
        self._wanted = deque(wanted for wanted in self._wanted if not wanted.child.done())
        for wanted in list(self._wanted):
            child = self._take(wanted)
            if child is not None:
                self._wanted.remove(wanted)
                if wanted.bucket is not None:
                    child.buckets.add(wanted.bucket)
                    child.ran_code |= wanted.code
                wanted.child.set_result(child)
        if sum(not self._waits(wanted) for wanted in self._wanted) > self._starting:
            self._make_room()
        self._grow()

    def _take(self, wanted: _Wanted) -> ChildProcess | None:
        fitting = [child for child in self._idle if _fits(child, wanted)]
        if not fitting:
            return None
        # One that knows the bucket has its modules, models and connections warm, and leaves the fresh ones to others.
        chosen = max(fitting, key=lambda child: (wanted.bucket in child.buckets, child.ran_code, len(child.buckets)))
        self._idle.remove(chosen)
        return chosen

    def _waits(self, wanted: _Wanted) -> bool:
        """Say whether somebody waits for a busy child rather than have another one retired."""
        return self._patient and any(_fits(child, wanted) for child in self._children)

    def _make_room(self) -> None:
        """When the pool is full of idle children of other buckets, retire one of them."""
        if self._idle and len(self._children) + self._starting >= self._size:
            retired = self._idle.pop(0)
            self._children.discard(retired)
            retired.kill()
            self._keep(asyncio.create_task(_await_exit(retired)))

    def _grow(self) -> None:
        if self._patient:
            missing = max(len(self._wanted), 0 if self._children else 1) - self._starting
        else:
            spare = 0 if any(not child.buckets for child in self._idle) else 1
            missing = len(self._wanted) + spare - self._starting
        room = self._size - len(self._children) - self._starting
        for _ in range(0 if self._closed else min(missing, room)):
            self._starting += 1
            self._keep(asyncio.create_task(self._start_one()))

    def _keep(self, chore: asyncio.Task[None]) -> None:
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)

    async def _start_one(self) -> None:
        try:
            await asyncio.sleep(self._pause())
            if not self._closed:
                await self._warm_up(await ChildProcess.start(self._options, self._role, self._sink))
        except (OSError, ChildDied) as error:
            self._failures += 1
            if not self._closed:
                self._log.error("child_not_started", role=self._role, why=str(error), failures=self._failures)
        finally:
            self._starting -= 1
        self._pump()

    async def _warm_up(self, child: ChildProcess) -> None:
        self._warming.add(child)
        if self._closed:
            child.kill()
        try:
            ready = await child.ready
        except ChildDied:
            await child.exited
            raise
        finally:
            self._warming.discard(child)
        self._metrics.warm_up(self._role, ready.seconds)
        self._failures = 0
        self._children.add(child)
        self._idle.append(child)
        self._keep(asyncio.create_task(self._watch(child)))

    def _pause(self) -> float:
        if self._failures == 0:
            return 0.0
        return float(min(_FIRST_PAUSE_SECONDS * 2 ** min(self._failures, 16), _LONGEST_PAUSE_SECONDS))

    async def _watch(self, child: ChildProcess) -> None:
        returncode = await child.exited
        if self._closed or child not in self._children:
            return  # closed or retired: nothing went wrong
        self._children.discard(child)
        self._metrics.died(self._role)
        self._log.warning("child_died", role=self._role, pid=child.pid, why=str(ChildDied(returncode)))
        self._pump()


def _fits(child: ChildProcess, wanted: _Wanted) -> bool:
    if wanted.bucket is None or child.buckets <= {wanted.bucket}:
        return True
    return not wanted.code and not child.ran_code


async def _await_exit(child: ChildProcess) -> None:
    await child.exited
