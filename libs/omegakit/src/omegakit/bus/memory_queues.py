"""The queues of the bus in memory: bounded, with consumers that hold at most `prefetch`. One event loop, no threads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from omegakit.bus.handling import Outcome, after_failure
from omegakit.bus.port import Call
from omegakit.bus.wire import Answer, bus_down, nobody_serves, queue_full
from omegakit.logs import get_logger
from omegaproto.errors import OmegaError

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """A request on the way, and the place of its reply."""

    body: bytes
    call: Call
    reply: asyncio.Future[Answer]

    def answer(self, answer: Answer) -> None:
        """Reply, unless the caller has gone."""
        if not self.reply.done():
            self.reply.set_result(answer)

    def fail(self, error: OmegaError) -> None:
        """Let the call fail, unless the caller has gone."""
        if not self.reply.done():
            self.reply.set_exception(error)


@dataclass(frozen=True, slots=True)
class Bell:
    """A doorbell on the way, and how often it failed."""

    body: bytes
    call: Call
    failures: int = 0


class MemoryQueue(Generic[ItemT]):
    """A bounded queue that hands its items to consumers in turn, as far as these have room."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.consumers: deque[Consumer[ItemT]] = deque()
        self._limit = limit
        self._ready: deque[ItemT] = deque()

    def __len__(self) -> int:
        """Give how many items wait."""
        return len(self._ready)

    def put(self, item: ItemT) -> None:
        """Add an item; raises Overloaded when the queue is full."""
        if len(self._ready) >= self._limit:
            self.forget_gone()
        if len(self._ready) >= self._limit:
            raise queue_full(self.name)
        self._ready.append(item)
        self.pump()

    def forget_gone(self) -> None:
        """Drop what nobody waits for any more."""

    def lose(self, item: ItemT) -> None:
        """Deal with an item whose consumer died."""

    def add(self, consumer: Consumer[ItemT]) -> None:
        """Let a consumer take part."""
        self.consumers.append(consumer)
        self.pump()

    def remove(self, consumer: Consumer[ItemT]) -> None:
        """Let a consumer take no more; nothing happens when it took no part."""
        if consumer in self.consumers:
            self.consumers.remove(consumer)

    def pump(self) -> None:
        """Hand out items as long as there is room."""
        while self._ready and (consumer := self._with_room()) is not None:
            consumer.take(self._ready.popleft())

    def _with_room(self) -> Consumer[ItemT] | None:
        for _ in range(len(self.consumers)):
            self.consumers.rotate(-1)
            if self.consumers[-1].has_room:
                return self.consumers[-1]
        return None


class RequestQueue(MemoryQueue[Pending]):
    """The requests of one address. When its last consumer leaves, those that wait fail at once."""

    def forget_gone(self) -> None:
        """Drop the requests whose callers have gone."""
        self._ready = deque(pending for pending in self._ready if not pending.reply.done())

    def lose(self, item: Pending) -> None:
        """Fail a request whose handler was cancelled."""
        item.fail(bus_down("the service that took the call went away"))

    def remove(self, consumer: Consumer[Pending]) -> None:
        """Let a consumer take no more."""
        super().remove(consumer)
        while self._ready and not self.consumers:
            self._ready.popleft().fail(nobody_serves(self.name))

    def pump(self) -> None:
        """Hand out requests, past those whose callers have gone."""
        while self._ready and self._ready[0].reply.done():
            self._ready.popleft()
        super().pump()


class BellQueue(MemoryQueue[Bell]):
    """The doorbells of one label, and the dead ones."""

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(name, limit)
        self._dead: deque[bytes] = deque(maxlen=limit)

    def lose(self, item: Bell) -> None:
        """Take a doorbell back that was not acknowledged; this counts as a delivery."""
        self.settle(item, after_failure(item.failures + 1))

    def settle(self, bell: Bell, outcome: Outcome) -> None:
        """Do with a delivered doorbell what its outcome says. What comes back goes first and is never refused."""
        if outcome is Outcome.AGAIN:
            self._ready.appendleft(replace(bell, failures=bell.failures + 1))
            self.pump()
        elif outcome is Outcome.DEAD:
            self._dead.append(bell.body)

    def take_dead(self, limit: int) -> list[bytes]:
        """Give and remove up to `limit` dead doorbells, the oldest first."""
        return [self._dead.popleft() for _ in range(min(limit, len(self._dead)))]


class Consumer(Generic[ItemT]):
    """Works on up to `prefetch` items of a queue at the same time, each in a task with an empty context."""

    def __init__(
        self,
        queue: MemoryQueue[ItemT],
        prefetch: int,
        work: Callable[[ItemT, asyncio.Event], Awaitable[None]],
        ended: Callable[[Consumer[Any]], None],
    ) -> None:
        self._queue = queue
        self._prefetch = prefetch
        self._work = work
        self._ended = ended
        self._closing = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    @property
    def has_room(self) -> bool:
        """Say whether it can take an item."""
        return len(self._running) < self._prefetch

    def start(self) -> None:
        """Take items from now on."""
        self._queue.add(self)

    def take(self, item: ItemT) -> None:
        """Work on an item."""
        task = asyncio.get_running_loop().create_task(self._do(item), context=Context())
        self._running.add(task)
        task.add_done_callback(partial(self._done, item))

    async def cancel(self) -> None:
        """Take no more, and return when the running handlers have ended."""
        self._leave()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def die(self) -> None:
        """End as a process that is killed: running handlers are cancelled, what they held is given back."""
        for task in self._running:
            task.cancel()
        await self.cancel()

    def _leave(self) -> None:
        self._closing.set()
        self._queue.remove(self)
        self._ended(self)

    async def _do(self, item: ItemT) -> None:
        await self._work(item, self._closing)

    def _done(self, item: ItemT, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        # It may have been cancelled before it ran at all, so the task itself cannot see to this.
        if task.cancelled() or task.exception() is not None:
            self._queue.lose(item)
        self._queue.pump()


class Listener:
    """Hears events one at a time, in order; when it lags behind by more than `limit`, the oldest are lost."""

    def __init__(
        self,
        peers: set[Listener],
        limit: int,
        hear: Callable[[bytes, Call], Awaitable[None]],
        ended: Callable[[Listener], None],
    ) -> None:
        self._peers = peers
        self._hear = hear
        self._ended = ended
        self._waiting: deque[tuple[bytes, Call]] = deque(maxlen=limit)
        self._arrived = asyncio.Event()
        self._closing = False
        peers.add(self)
        self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())

    def put(self, body: bytes, call: Call) -> None:
        """Let it hear an event."""
        if len(self._waiting) == self._waiting.maxlen:
            get_logger("bus").warning("event_lost", why="a listener lags behind")
        self._waiting.append((body, call))
        self._arrived.set()

    async def cancel(self) -> None:
        """Hear no more, and return when what arrived before is handled."""
        self._peers.discard(self)
        self._ended(self)
        self._closing = True
        self._arrived.set()
        await asyncio.gather(self._task, return_exceptions=True)

    async def die(self) -> None:
        """End as a process that is killed."""
        self._task.cancel()
        await self.cancel()

    async def _run(self) -> None:
        while self._waiting or not self._closing:
            if self._waiting:
                await self._hear(*self._waiting.popleft())
            else:
                self._arrived.clear()
                await self._arrived.wait()
