"""The hot path over an AMQP channel: frames in and out without a task, a lock or a system call for each message.

aiormq's channel keeps doing what is rare (opening, declaring, consuming, closing). A Lane gets the frames of deliveries
and confirms from the socket (`amqp_frames`), and the Outbox puts all frames of one turn of the event loop into one
write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp import commands
from pamqp.frame import marshal

from omegakit.bus import amqp_frames as wire_frames
from omegakit.bus.amqp_frames import Properties
from omegakit.bus.wire import bus_down, nobody_serves, queue_full
from omegaproto.errors import OmegaError

_FULL_BYTES = 1024 * 1024
_NOBODY: tuple[asyncio.Future[Any] | None, str, bool] = (None, "", False)  # for a publish that was given up


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it arrived."""

    tag: int
    redelivered: bool
    properties: Properties
    body: bytes

    @property
    def headers(self) -> dict[str, Any]:
        """Give the headers."""
        return self.properties.headers or {}


class Outbox:
    """What goes out over one connection: what is sent in one turn of the event loop travels in one write."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._frames: list[bytes] = []
        self._size = 0
        self._writing = False
        self._draining: asyncio.Task[None] | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._failed: OmegaError | None = None

    def send(self, frames: Iterable[bytes]) -> None:
        """Send frames, all together. What is sent after `fail` is dropped."""
        if self._failed is not None:
            return
        for data in frames:
            self._frames.append(data)
            self._size += len(data)
        if not self._writing:
            self._writing = True
            self._loop.call_soon(self._write)

    @property
    def full(self) -> bool:
        """Say whether so much waits that more should wait for `room`."""
        return self._size > _FULL_BYTES

    async def room(self) -> None:
        """Return when little waits. Raises Unavailable when the connection is lost."""
        if self.full:
            await self._until(_FULL_BYTES)

    async def flush(self) -> None:
        """Return when the connection has taken all that was sent. Raises Unavailable when it is lost."""
        if self._writing or self._failed is not None:
            await self._until(0)

    def fail(self, error: OmegaError) -> None:
        """Drop what waits, and let everybody who waits fail."""
        self._failed = error
        self._frames.clear()
        if self._draining is not None:
            self._draining.cancel()
        for _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(error)

    async def _until(self, size: int) -> None:
        if self._failed is not None:
            raise self._failed
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((size, waiter))
        await waiter

    def _write(self) -> None:
        """Write what waits; when the connection holds too much of it, the next write comes after the peer took it."""
        if self._failed is not None:
            return
        transport = self._writer.transport
        transport.write(b"".join(self._frames))
        self._frames.clear()
        self._size = 0
        if transport.get_write_buffer_size() > 0 or transport.is_closing():
            self._draining = self._loop.create_task(self._drain())
        else:
            self._drained()

    async def _drain(self) -> None:
        try:
            await self._writer.drain()
        except OSError as error:
            self.fail(bus_down(f"the connection was lost ({error})"))
        else:
            self._drained()

    def _drained(self) -> None:
        self._writing = bool(self._frames)
        if self._writing:
            self._loop.call_soon(self._write)
        for size, waiter in self._waiting:
            if self._size <= size and (size or not self._writing) and not waiter.done():
                waiter.set_result(None)
        self._waiting = [entry for entry in self._waiting if not entry[1].done()]


class Lane:
    """A channel with its hot frames taken apart: deliveries go to a callback, confirms and returns to their futures."""

    def __init__(
        self, channel: AbstractChannel, outbox: Outbox, on_delivery: Callable[[Lane, Delivery], None] | None = None
    ) -> None:
        self.channel = channel
        self.closed = False
        self.on_closed: Callable[[], None] | None = None
        self._outbox = outbox
        self._on_delivery = on_delivery
        self._published = 0
        self._unconfirmed: dict[int, tuple[asyncio.Future[Any], str, bool]] = {}
        tune = channel.connection.connection_tune
        self._body_size = (tune.frame_max or 131_072) - wire_frames.FRAME_OVERHEAD
        self._method = b""
        self._properties = Properties()
        self._pieces: list[bytes] = []
        self._missing = 0
        self._closing = channel.closing
        self._closing.add_done_callback(self._on_closed)

    async def consume(self, queue: str, *, no_ack: bool = False) -> str:
        """Have the messages of a queue delivered; give the consumer's tag."""
        tag = (await self.channel.basic_consume(queue, _never_called, no_ack=no_ack)).consumer_tag
        return tag or ""

    async def settled(self) -> None:
        """Return when all that was published is confirmed or refused."""
        futures = [future for future, _, _ in self._unconfirmed.values()]
        if futures:
            await asyncio.wait(futures)

    def publish(self, key: str, body: bytes, properties: Properties, exchange: str = "") -> None:
        """Publish without asking what became of it."""
        self._outbox.send(self._message(key, body, properties, exchange=exchange))

    def publish_confirmed(
        self, key: str, name: str, body: bytes, properties: Properties, future: asyncio.Future[Any], *, resolve: bool
    ) -> str:
        """Publish to the queue `key`, let `future` fail when it is refused; give the correlation id it got.

        `future` fails with Unavailable when there is no such queue and with Overloaded when it is full, which both
        speak of `name`. With `resolve`, it is given None when the broker has taken the message.
        """
        self._published += 1
        self._unconfirmed[self._published] = (future, name, resolve)
        properties.correlation_id = str(self._published)
        self._outbox.send(self._message(key, body, properties, mandatory=True))
        return properties.correlation_id

    def reply(self, delivery: Delivery, body: bytes, headers: dict[str, Any] | None) -> None:
        """Reply to a request and acknowledge it, in one write; nothing happens when the channel has gone."""
        if self.closed:
            return
        asked = delivery.properties
        answer = Properties(correlation_id=asked.correlation_id, headers=headers, delivery_mode=1)
        ack = wire_frames.ack_frame(self.channel.number, delivery.tag)
        self._outbox.send([*self._message(asked.reply_to or "", body, answer), ack])

    def ack(self, delivery: Delivery) -> None:
        """Acknowledge a delivery; nothing happens when the channel has gone."""
        if not self.closed:
            self._outbox.send([wire_frames.ack_frame(self.channel.number, delivery.tag)])

    def nack(self, delivery: Delivery, *, requeue: bool) -> None:
        """Give a delivery back, or drop it to the dead letters; nothing happens when the channel has gone."""
        if not self.closed:
            frame = commands.Basic.Nack(delivery_tag=delivery.tag, requeue=requeue)
            self._outbox.send([marshal(frame, self.channel.number)])

    def fail(self, error: OmegaError) -> None:
        """Mark the lane as closed, and let everything fail that is not confirmed."""
        self.closed = True
        for future, _, _ in self._unconfirmed.values():
            if not future.done():
                future.set_exception(error)
        self._unconfirmed.clear()

    def take(self, kind: int, payload: bytes) -> None:
        """Take a hot frame from the socket: of a message that the broker delivers or returns, or a confirm."""
        if kind == wire_frames.METHOD:
            if wire_frames.method_of(payload) in (wire_frames.ACK, wire_frames.NACK):
                self._confirmed(payload)
            else:
                self._method = payload
            return
        if kind == wire_frames.HEADER:
            self._missing, self._properties = wire_frames.content_header(payload)
        else:
            self._pieces.append(payload)
            self._missing -= len(payload)
        if self._missing <= 0:
            body = b"".join(self._pieces)
            self._pieces.clear()
            self._delivered(self._properties, body)

    def _delivered(self, properties: Properties, body: bytes) -> None:
        if wire_frames.method_of(self._method) == wire_frames.RETURN:
            future, name, _ = self._unconfirmed.get(int(properties.correlation_id or 0), _NOBODY)
            if future is not None and not future.done():
                future.set_exception(nobody_serves(name))
        elif self._on_delivery is not None:
            self._on_delivery(self, Delivery(*wire_frames.tag_of(self._method), properties, body))

    def _confirmed(self, payload: bytes) -> None:
        """Take a confirm, of one publish or of all up to it."""
        last, multiple = wire_frames.tag_of(payload)
        refused = wire_frames.method_of(payload) == wire_frames.NACK
        tags = [last]
        if multiple:
            tags = []
            for tag in self._unconfirmed:  # in the order of publishing
                if tag > last:
                    break
                tags.append(tag)
        for tag in tags:
            future, name, resolve = self._unconfirmed.pop(tag, _NOBODY)
            if future is None or future.done():
                continue
            if refused:
                future.set_exception(queue_full(name))
            elif resolve:
                future.set_result(None)

    def _on_closed(self, _closing: asyncio.Future[Any]) -> None:
        self.fail(bus_down("the channel was closed"))
        if self.on_closed is not None:
            self.on_closed()

    def _message(
        self, key: str, body: bytes, properties: Properties, *, exchange: str = "", mandatory: bool = False
    ) -> list[bytes]:
        number = self.channel.number
        publish = wire_frames.publish_frame(number, exchange, key, mandatory=mandatory)
        return [publish, *wire_frames.content_frames(number, body, properties, self._body_size)]


async def _never_called(message: DeliveredMessage) -> None:
    """Stand where aiormq wants a callback; the lane takes its deliveries before they come this far."""
    raise AssertionError(f"the lane missed {message.delivery}")
