"""One live connection to RabbitMQ and its lanes, from the handshake to the loss. RabbitBus makes the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import aio_pika
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import AMQPError, ChannelInvalidStateError
from yarl import URL

from omegakit.bus import amqp_topology as topology
from omegakit.bus.amqp_frames import Intake, LaneTransport, Properties
from omegakit.bus.amqp_lane import Delivery, Lane, Outbox
from omegakit.bus.wire import Answer, Limits, bus_down, call_context, context_headers, timed_out
from omegaproto.errors import OmegaError

CLOSING_SECONDS = 3.0
"""How long each step of closing waits for a broker that may not answer any more."""

_ADMIN_SECONDS = 15.0
_CONFIRM_SECONDS = 30.0
_HEARTBEAT_SECONDS = 10
_TURN = 50  # doorbells that are published before others get the event loop: about a millisecond


@asynccontextmanager
async def amqp_faults(what: str, seconds: float = _ADMIN_SECONDS) -> AsyncIterator[None]:
    """Turn what the AMQP client raises, and every wait over `seconds`, into Unavailable."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except OmegaError:
        raise
    except (AMQPError, ChannelInvalidStateError, OSError, RuntimeError) as error:
        raise bus_down(f"{what} failed ({type(error).__name__})") from error
    except asyncio.CancelledError as error:
        # The client ends its own waits like this when a connection goes; only a real cancellation counts in the task.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise bus_down(f"{what} failed, the connection was lost") from error


async def open_link(url: str, limits: Limits) -> Link:
    """Connect and prepare a link. Raises Unavailable."""
    async with amqp_faults("connecting"):
        with_heartbeat = URL(url).update_query({"heartbeat": _HEARTBEAT_SECONDS, **URL(url).query})
        opening = LaneTransport()
        connection = aio_pika.Connection(with_heartbeat)
        connection.kwargs["transport_factory"] = opening
        await connection.connect(timeout=_ADMIN_SECONDS)
        transport = connection.transport
        if transport is None:
            raise bus_down("the connection was lost at once")
        link = Link(connection, transport.connection, opening, limits)
        try:
            await link.prepare()
        except BaseException:
            await link.close()
            raise
        return link


class Link:
    """A connection with a lane for requests and their replies, one for doorbells, and one for events."""

    def __init__(
        self, connection: aio_pika.Connection, transport: AbstractConnection, ends: LaneTransport, limits: Limits
    ) -> None:
        self.limits = limits
        self.lost = asyncio.Event()
        self._connection = connection
        self._transport = transport
        self._outbox = Outbox(ends.writer)
        self._calls: dict[str, asyncio.Future[Answer]] = {}
        self._lanes: dict[int, Lane] = {}
        ends.reader.intake_of = self._intake_of
        self._labels: set[str] = set()
        self._declaring = asyncio.Lock()
        self._closing = transport.closing
        self._closing.add_done_callback(lambda _: self.lose("the connection was lost"))

    async def prepare(self) -> None:
        """Open the lanes and declare the exchanges."""
        self._requests = await self.open_lane(self._on_reply, confirms=True)
        self._doorbells = await self.open_lane(confirms=True)
        self._events = await self.open_lane()
        channel = self._events.channel
        await self._requests.consume(topology.REPLY_TO, no_ack=True)
        await channel.exchange_declare(topology.EVENTS, exchange_type="topic", durable=True)
        await channel.exchange_declare(topology.DEAD, exchange_type="direct", durable=True)
        for lane in (self._requests, self._doorbells, self._events):
            lane.on_closed = self._lose_channel

    async def open_lane(
        self, on_delivery: Callable[[Lane, Delivery], None] | None = None, *, confirms: bool = False
    ) -> Lane:
        """Open a channel and give it as a lane."""
        lane = Lane(await self._transport.channel(publisher_confirms=confirms), self._outbox, on_delivery)
        self._lanes[lane.channel.number] = lane
        return lane

    def _intake_of(self, number: int) -> Intake | None:
        """Give who takes the hot frames of a channel; the number of a closed one may belong to another by now."""
        lane = self._lanes.get(number)
        return None if lane is None or self._transport.channels.get(number) is not lane.channel else lane.take

    async def close_lane(self, lane: Lane) -> None:
        """Close a lane after what was sent over it."""
        lane.on_closed = None
        with suppress(OmegaError):
            async with amqp_faults("closing a channel", CLOSING_SECONDS):
                await self._outbox.flush()
                await lane.channel.close()
        if self._lanes.get(lane.channel.number) is lane:
            del self._lanes[lane.channel.number]

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        """Give a channel for a few rare operations; a failure closes it and nothing else."""
        channel = await self._transport.channel(publisher_confirms=False)
        try:
            yield channel
        finally:
            await channel.close()

    async def request(self, name: str, body: bytes, token: str, seconds: float) -> Answer:
        """Send a request to whoever serves the address `name` and give the answer."""
        loop = asyncio.get_running_loop()
        if self._outbox.full:
            await self._room_within(name, seconds)
        self._check_live()
        properties = Properties(
            headers=context_headers(call_context(token)),
            reply_to=topology.REPLY_TO,
            expiration=str(max(int(seconds * 1000), 1)),
            delivery_mode=1,
        )
        reply: asyncio.Future[Answer] = loop.create_future()
        queue = topology.request_queue(name)
        correlation = self._requests.publish_confirmed(queue, name, body, properties, reply, resolve=False)
        self._calls[correlation] = reply
        expiry = loop.call_later(seconds, _expire, reply, name, seconds)
        try:
            return await reply
        finally:
            expiry.cancel()
            del self._calls[correlation]

    async def ring(self, bells: list[tuple[str, bytes]]) -> None:
        """Publish doorbells as pairs of label and body, and return when all are confirmed."""
        for label in {label for label, _ in bells}:
            await self.declare_label(label)
        headers = context_headers(call_context(""))
        confirms: list[asyncio.Future[None]] = []
        for number, (label, body) in enumerate(bells):
            if self._outbox.full:
                await self._outbox.room()
            if number % _TURN == _TURN - 1:
                await asyncio.sleep(0)
            self._check_live()
            confirms.append(asyncio.get_running_loop().create_future())
            self._doorbells.publish_confirmed(
                topology.label_queue(label),
                f"label {label}",
                body,
                Properties(headers=headers, delivery_mode=2),
                confirms[-1],
                resolve=True,
            )
        await self._all_confirmed(confirms)

    async def publish_event(self, subject: str, body: bytes) -> None:
        """Publish an event."""
        if self._outbox.full:
            await self._outbox.room()
        self._check_live()
        properties = Properties(headers=context_headers(call_context("")), delivery_mode=1)
        self._events.publish(subject, body, properties, exchange=topology.EVENTS)

    async def declare_label(self, label: str) -> None:
        """Declare the queue of a label and that of its dead letters, once a connection."""
        if label in self._labels:
            return
        async with amqp_faults(f"declaring the queue of label {label}"), self._declaring, self.channel() as channel:
            dead, queue = topology.dead_queue(label), topology.label_queue(label)
            await channel.queue_declare(dead, durable=True, arguments=topology.dead_arguments())
            await channel.queue_bind(dead, topology.DEAD, label)
            await channel.queue_declare(queue, durable=True, arguments=topology.label_arguments(label, self.limits))
            self._labels.add(label)

    async def take_dead(self, label: str, limit: int) -> list[bytes]:
        """Give and remove up to `limit` dead doorbells of a label."""
        await self.declare_label(label)
        bodies: list[bytes] = []
        last = 0
        async with amqp_faults("reading dead letters"), self.channel() as channel:
            while len(bodies) < limit:
                message = await channel.basic_get(topology.dead_queue(label))
                if message.delivery_tag is None:
                    break
                bodies.append(message.body)
                last = message.delivery_tag
            if bodies:
                await channel.basic_ack(last, multiple=True)
        return bodies

    async def delete_unused(self, queue: str) -> None:
        """Delete a queue that has no consumers."""
        async with amqp_faults("deleting a queue", CLOSING_SECONDS), self.channel() as channel:
            if not (await channel.queue_declare(queue, passive=True)).consumer_count:
                await channel.queue_delete(queue, if_unused=True)

    def lose(self, why: str) -> None:
        """Let everything that waits on this connection fail, at once."""
        error = bus_down(why)
        self._outbox.fail(error)
        for lane in self._lanes.values():
            lane.fail(error)
        for reply in self._calls.values():
            if not reply.done():
                reply.set_exception(error)
        self.lost.set()

    async def close(self) -> None:
        """Send what waits, then close; open calls fail with Unavailable."""
        with suppress(OmegaError):
            async with amqp_faults("closing", CLOSING_SECONDS):
                await self._doorbells.settled()
                await self._outbox.flush()
        self.lose("it was closed")
        with suppress(OmegaError):
            async with amqp_faults("closing", CLOSING_SECONDS):
                await self._connection.close()

    async def _all_confirmed(self, confirms: list[asyncio.Future[None]]) -> None:
        """Raise the first failure after all are settled, so that nothing is still on its way when `ring` returns."""
        if not confirms:
            return
        settled, open_ones = await asyncio.wait(confirms, timeout=_CONFIRM_SECONDS)
        for confirm in open_ones:
            confirm.cancel()
        errors = [error for confirm in settled if (error := confirm.exception()) is not None]
        if errors:
            self._labels.clear()  # a queue may have been deleted under us: declare again
            raise errors[0]
        if open_ones:
            raise bus_down(f"{len(open_ones)} doorbells were not confirmed within {_CONFIRM_SECONDS:g} s")

    async def _room_within(self, name: str, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._outbox.room()
        except TimeoutError as error:
            raise timed_out(name, seconds) from error

    def _on_reply(self, _lane: Lane, delivery: Delivery) -> None:
        reply = self._calls.get(delivery.properties.correlation_id or "")
        if reply is not None and not reply.done():
            reply.set_result(Answer(delivery.body, failed="error" in delivery.headers))

    def _lose_channel(self) -> None:
        self.lose("a channel was closed")

    def _check_live(self) -> None:
        if self.lost.is_set():
            raise bus_down("the connection was lost")


def _expire(reply: asyncio.Future[Answer], name: str, seconds: float) -> None:
    if not reply.done():
        reply.set_exception(timed_out(name, seconds))
