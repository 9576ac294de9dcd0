"""The Bus in one process: no network, and otherwise all that a broker does.

Messages travel as JSON bytes; consumers hold at most `prefetch`, acknowledge, fail, die and get redeliveries; queues
are bounded. Everything runs on one event loop, and nothing outlives the process: the task document is the truth anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from omegakit.bus.handling import Outcome, answer_request, readable_doorbells, take_doorbell, tell
from omegakit.bus.memory_queues import Bell, BellQueue, Consumer, Listener, Pending, RequestQueue
from omegakit.bus.port import Handler, RingHandler, Subscription
from omegakit.bus.wire import (
    Answer,
    Limits,
    address,
    bus_down,
    call_context,
    encode,
    nobody_serves,
    open_answer,
    redelivery_delay,
    timed_out,
)
from omegaproto.messages import Doorbell, Event, Message, Request

ReplyT = TypeVar("ReplyT", bound=Message)
RequestT = TypeVar("RequestT", bound=Request[Any])
EventT = TypeVar("EventT", bound=Event)


class MemoryBroker:
    """The queues that the buses of one process share."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._requests: dict[str, RequestQueue] = {}
        self._bells: dict[str, BellQueue] = {}
        self._listeners: dict[str, set[Listener]] = {}

    def requests(self, name: str) -> RequestQueue:
        """Give the queue of an address."""
        return self._requests.setdefault(name, RequestQueue(name, self.limits.requests))

    def served(self, name: str) -> RequestQueue:
        """Give the queue of an address. Raises Unavailable when nobody serves it."""
        queue = self._requests.get(name)
        if queue is None or not queue.consumers:
            raise nobody_serves(name)
        return queue

    def bells(self, label: str) -> BellQueue:
        """Give the queue of a label."""
        return self._bells.setdefault(label, BellQueue(label, self.limits.doorbells))

    def listeners(self, subject: str) -> set[Listener]:
        """Give who listens to a subject."""
        return self._listeners.setdefault(subject, set())


class MemoryBus:
    """A Bus on a shared MemoryBroker. Make one for each service, as each would have a connection of its own."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._open = False
        self._calls: set[asyncio.Future[Answer]] = set()
        self._consumers: set[Consumer[Any] | Listener] = set()

    async def start(self) -> None:
        """Open the bus."""
        self._open = True

    async def close(self) -> None:
        """Fail the open calls, cancel running handlers, and give doorbells that were not acknowledged back."""
        self._open = False
        for reply in self._calls:
            if not reply.done():
                reply.set_exception(bus_down("it was closed"))
        await asyncio.gather(*(consumer.die() for consumer in self._consumers))
        self._consumers.clear()

    @property
    def connected(self) -> bool:
        """Say whether the bus is open."""
        return self._open

    async def call(self, request: Request[ReplyT], *, token: str, route: str = "", timeout: float = 30.0) -> ReplyT:
        """Send a request and give its reply. See the port."""
        self._check_open()
        name = address(request.subject, route)
        body, queue, loop = encode(request), self._broker.served(name), asyncio.get_running_loop()
        reply: asyncio.Future[Answer] = loop.create_future()
        expiry = loop.call_later(timeout, _expire, reply, name, timeout)
        self._calls.add(reply)
        try:
            queue.put(Pending(body, call_context(token), reply))
            return open_answer(request.reply_type(), await reply)
        finally:
            expiry.cancel()
            self._calls.discard(reply)

    async def serve(
        self, request_type: type[RequestT], handler: Handler[RequestT, Any], *, route: str = "", prefetch: int = 64
    ) -> Subscription:
        """Answer requests of a type. See the port."""
        self._check_open()
        queue = self._broker.requests(address(request_type.subject, route))
        consumer = Consumer(queue, prefetch, partial(_answer, request_type, handler), self._consumers.discard)
        return self._consume(consumer)

    async def ring(self, doorbells: list[Doorbell]) -> None:
        """Put doorbells into the queues of their labels; raises Overloaded when one is full."""
        self._check_open()
        context = call_context("")
        rung = [(self._broker.bells(address(bell.label)), Bell(encode(bell), context)) for bell in doorbells]
        for queue, bell in rung:
            queue.put(bell)

    async def on_ring(self, label: str, handler: RingHandler, *, prefetch: int) -> Subscription:
        """Take doorbells of a label. See the port."""
        self._check_open()
        queue = self._broker.bells(address(label))
        consumer = Consumer(queue, prefetch, partial(_take, queue, handler), self._consumers.discard)
        return self._consume(consumer)

    async def dead_letters(self, label: str, limit: int = 100) -> list[Doorbell]:
        """Give (and remove) up to `limit` dead doorbells of a label."""
        self._check_open()
        return readable_doorbells(label, self._broker.bells(address(label)).take_dead(limit))

    async def publish(self, event: Event) -> None:
        """Tell whoever listens."""
        self._check_open()
        body, context = encode(event), call_context("")
        for listener in self._broker.listeners(event.subject):
            listener.put(body, context)

    async def subscribe(self, event_type: type[EventT], handler: Callable[[EventT], Awaitable[None]]) -> Subscription:
        """Hear every event of a type from now on, one at a time and in order."""
        self._check_open()
        peers = self._broker.listeners(event_type.subject)
        listener = Listener(
            peers, self._broker.limits.events, partial(tell, event_type, handler), self._consumers.discard
        )
        self._consumers.add(listener)
        return listener

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Do nothing: a bus in memory never loses its broker."""

    def _consume(self, consumer: Consumer[Any]) -> Subscription:
        self._consumers.add(consumer)
        consumer.start()
        return consumer

    def _check_open(self) -> None:
        if not self._open:
            raise bus_down("it is not open")


async def _answer(
    request_type: type[RequestT], handler: Handler[RequestT, Any], pending: Pending, _closing: asyncio.Event
) -> None:
    pending.answer(await answer_request(request_type, handler, pending.body, pending.call))


async def _take(queue: BellQueue, handler: RingHandler, bell: Bell, closing: asyncio.Event) -> None:
    outcome = await take_doorbell(handler, bell.body, bell.call, bell.failures)
    if outcome is Outcome.AGAIN:
        await _pause(redelivery_delay(bell.failures + 1), closing)
    queue.settle(bell, outcome)


async def _pause(seconds: float, closing: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await closing.wait()
    except TimeoutError:
        return


def _expire(reply: asyncio.Future[Answer], name: str, seconds: float) -> None:
    if not reply.done():
        reply.set_exception(timed_out(name, seconds))
