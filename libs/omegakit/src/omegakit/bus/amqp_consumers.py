"""What takes messages from RabbitMQ: a consumer that is attached to one link after the other, and its three kinds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from typing import Any, Protocol, TypeVar

from omegakit.bus import amqp_topology as topology
from omegakit.bus.amqp_lane import Delivery, Lane
from omegakit.bus.amqp_link import CLOSING_SECONDS, Link, amqp_faults
from omegakit.bus.handling import Outcome, answer_request, take_doorbell, tell
from omegakit.bus.port import Handler, RingHandler
from omegakit.bus.wire import Answer, bus_down, context_from, failure, redelivery_delay
from omegaproto.errors import OmegaError
from omegaproto.messages import Event, Request

RequestT = TypeVar("RequestT", bound=Request[Any])
EventT = TypeVar("EventT", bound=Event)


class Work(Protocol):
    """What a kind of consumer does with its deliveries."""

    async def declare(self, link: Link, lane: Lane) -> str:
        """Declare what it consumes from, and give the queue's name."""
        ...

    async def do(self, lane: Lane, delivery: Delivery, closing: asyncio.Event) -> None:
        """Work on a delivery."""
        ...

    def abandon(self, lane: Lane, delivery: Delivery) -> None:
        """See to a delivery whose work was cancelled."""
        ...

    async def leave(self, link: Link) -> None:
        """Tidy up after the last delivery."""
        ...


class Consumer:
    """Works on up to `prefetch` deliveries at the same time, each in a task with an empty context."""

    def __init__(
        self, work: Work, prefetch: int, detached: Callable[[Consumer, Link], None], ended: Callable[[Consumer], None]
    ) -> None:
        self._work = work
        self._prefetch = prefetch
        self._detached = detached
        self._ended = ended
        self._closing = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._at: tuple[Link, Lane, str] | None = None

    async def attach(self, link: Link) -> None:
        """Consume over a link from now on, unless it was cancelled. Raises Unavailable; what was begun is undone."""
        for _ in range(2):
            with suppress(OmegaError):  # another consumer may have removed the queue just after we declared it
                return await self._attach(link)
        return await self._attach(link)

    async def _attach(self, link: Link) -> None:
        if self._closing.is_set():
            return
        async with amqp_faults("consuming"):
            lane = await link.open_lane(self._on_delivery)
            try:
                queue = await self._work.declare(link, lane)
                await lane.channel.basic_qos(prefetch_count=self._prefetch)
                self._at = link, lane, await lane.consume(queue)
            except BaseException:
                await link.close_lane(lane)
                raise
        lane.on_closed = lambda: self._detached(self, link)
        lane.channel.on_consumer_cancel_callbacks.add(lambda _frame: self._detached(self, link))

    async def detach(self) -> None:
        """Give up the lane it consumes on, so that it can be attached again."""
        if self._at is not None:
            link, lane, _ = self._at
            self._at = None
            await link.close_lane(lane)

    async def cancel(self) -> None:
        """Take no more deliveries, let the running handlers end, and return."""
        await self._take_no_more()
        await self._end()

    async def die(self) -> None:
        """End soon: running handlers are cancelled, and what they held is given back."""
        await self._take_no_more()
        for task in self._running:
            task.cancel()
        await self._end()

    async def _end(self) -> None:
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._at is not None:
            link = self._at[0]
            await self.detach()
            with suppress(OmegaError):
                await self._work.leave(link)

    async def _take_no_more(self) -> None:
        self._closing.set()
        self._ended(self)
        if self._at is not None:
            _, lane, tag = self._at
            lane.on_closed = None
            with suppress(OmegaError):
                async with amqp_faults("cancelling a consumer", CLOSING_SECONDS):
                    await lane.channel.basic_cancel(tag)

    def _on_delivery(self, lane: Lane, delivery: Delivery) -> None:
        task = asyncio.get_running_loop().create_task(self._do(lane, delivery), context=Context())
        self._running.add(task)
        task.add_done_callback(lambda done: self._done(lane, delivery, done))

    async def _do(self, lane: Lane, delivery: Delivery) -> None:
        await self._work.do(lane, delivery, self._closing)

    def _done(self, lane: Lane, delivery: Delivery, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        # It may have been cancelled before it ran at all, so the task itself cannot see to this.
        if task.cancelled() or task.exception() is not None:
            self._work.abandon(lane, delivery)


class Answering:
    """Answers requests. At most once: one that its first replica lost is refused, as it may have taken effect."""

    def __init__(self, request_type: type[RequestT], handler: Handler[RequestT, Any], name: str) -> None:
        self._request_type = request_type
        self._handler: Handler[Any, Any] = handler
        self._name = name

    async def declare(self, link: Link, lane: Lane) -> str:
        """Declare the queue of the address."""
        queue, arguments = topology.request_queue(self._name), topology.request_arguments(link.limits)
        await lane.channel.queue_declare(queue, durable=True, arguments=arguments)
        return queue

    async def leave(self, link: Link) -> None:
        """Remove the queue when no other replica consumes from it, so that callers learn at once."""
        await link.delete_unused(topology.request_queue(self._name))

    async def do(self, lane: Lane, delivery: Delivery, closing: asyncio.Event) -> None:
        """Answer a request."""
        if delivery.redelivered:
            self.abandon(lane, delivery)
            return
        call = context_from(delivery.headers)
        _reply(lane, delivery, await answer_request(self._request_type, self._handler, delivery.body, call))

    def abandon(self, lane: Lane, delivery: Delivery) -> None:
        """Tell the caller that nobody will answer."""
        _reply(lane, delivery, failure(bus_down("the service that took the call went away")))


class Ringing:
    """Takes the doorbells of a label."""

    def __init__(self, label: str, handler: RingHandler) -> None:
        self._label = label
        self._handler = handler

    async def declare(self, link: Link, lane: Lane) -> str:
        """Declare the queue of the label."""
        await link.declare_label(self._label)
        return topology.label_queue(self._label)

    async def do(self, lane: Lane, delivery: Delivery, closing: asyncio.Event) -> None:
        """Take a doorbell; one that failed is held back for a moment, growing with each failure."""
        failures = int(delivery.headers.get("x-delivery-count", 0))
        outcome = await take_doorbell(self._handler, delivery.body, context_from(delivery.headers), failures)
        if outcome is Outcome.DONE:
            lane.ack(delivery)
        elif outcome is Outcome.DEAD:
            lane.nack(delivery, requeue=False)
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(redelivery_delay(failures + 1)):
                    await closing.wait()
            lane.nack(delivery, requeue=True)

    def abandon(self, lane: Lane, delivery: Delivery) -> None:
        """Give a doorbell back."""
        lane.nack(delivery, requeue=True)

    async def leave(self, link: Link) -> None:
        """Leave the queue as it is: doorbells wait for the next worker."""


class Listening:
    """Hears the events of a type one at a time, in order, from a queue of its own."""

    def __init__(self, event_type: type[EventT], handler: Callable[[EventT], Awaitable[None]]) -> None:
        self._event_type = event_type
        self._handler: Callable[[Any], Awaitable[None]] = handler
        self._turn = asyncio.Lock()  # first come, first served

    async def declare(self, link: Link, lane: Lane) -> str:
        """Declare a queue that lives as long as the connection."""
        arguments = topology.event_arguments(link.limits)
        queue = (await lane.channel.queue_declare(exclusive=True, auto_delete=True, arguments=arguments)).queue or ""
        await lane.channel.queue_bind(queue, topology.EVENTS, self._event_type.subject)
        return queue

    async def do(self, lane: Lane, delivery: Delivery, closing: asyncio.Event) -> None:
        """Hear an event."""
        async with self._turn:
            await tell(self._event_type, self._handler, delivery.body, context_from(delivery.headers))
        lane.ack(delivery)

    def abandon(self, lane: Lane, delivery: Delivery) -> None:
        """Do nothing: the queue goes with the connection."""

    async def leave(self, link: Link) -> None:
        """Do nothing: the queue went with its consumer."""


def _reply(lane: Lane, delivery: Delivery, answer: Answer) -> None:
    lane.reply(delivery, answer.body, {"error": True} if answer.failed else None)
