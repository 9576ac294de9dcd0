"""The Bus on RabbitMQ: requests by direct reply-to, doorbells in confirmed quorum queues, events by exchange.

This module keeps one link alive and its consumers attached; `amqp_link` is the connection, `amqp_lane` the hot path,
`amqp_consumers` what is done with deliveries, `amqp_topology` what stands in the broker.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from omegakit.bus.amqp_consumers import Answering, Consumer, Listening, Ringing, Work
from omegakit.bus.amqp_link import Link, open_link
from omegakit.bus.handling import readable_doorbells
from omegakit.bus.port import Handler, RingHandler, Subscription
from omegakit.bus.wire import Limits, address, bus_down, encode, open_answer
from omegakit.logs import get_logger
from omegaproto.errors import OmegaError
from omegaproto.messages import Doorbell, Event, Message, Request

ReplyT = TypeVar("ReplyT", bound=Message)
RequestT = TypeVar("RequestT", bound=Request[Any])
EventT = TypeVar("EventT", bound=Event)

_EVENT_PREFETCH = 64


class RabbitBus:
    """A Bus over one connection to RabbitMQ, reconnected whenever it is lost."""

    def __init__(self, url: str, limits: Limits | None = None) -> None:
        self._url = url
        self._limits = limits or Limits()
        self._link: Link | None = None
        self._consumers: set[Consumer] = set()
        self._callbacks: list[Callable[[], None]] = []
        self._keeper: asyncio.Task[None] | None = None
        self._chores: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Connect; raises Unavailable when that fails. From then on a lost connection is made again."""
        self._link = await open_link(self._url, self._limits)
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        """Close after what was published is confirmed; open calls fail with Unavailable."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await asyncio.gather(*(consumer.die() for consumer in list(self._consumers)))
        link, self._link = self._link, None
        if link is not None:
            await link.close()
        await asyncio.gather(*self._chores, return_exceptions=True)

    @property
    def connected(self) -> bool:
        """Say whether the broker can be reached now."""
        return self._link is not None and not self._link.lost.is_set()

    async def call(self, request: Request[ReplyT], *, token: str, route: str = "", timeout: float = 30.0) -> ReplyT:
        """Send a request and give its reply. See the port."""
        link = self._live()
        answer = await link.request(address(request.subject, route), encode(request), token, timeout)
        return open_answer(request.reply_type(), answer)

    async def serve(
        self, request_type: type[RequestT], handler: Handler[RequestT, Any], *, route: str = "", prefetch: int = 64
    ) -> Subscription:
        """Answer requests of a type. See the port."""
        name = address(request_type.subject, route)
        return await self._consume(Answering(request_type, handler, name), prefetch)

    async def ring(self, doorbells: list[Doorbell]) -> None:
        """Publish doorbells durably; returns when all are confirmed. See the port."""
        link = self._live()
        await link.ring([(address(doorbell.label), encode(doorbell)) for doorbell in doorbells])

    async def on_ring(self, label: str, handler: RingHandler, *, prefetch: int) -> Subscription:
        """Take doorbells of a label. See the port."""
        return await self._consume(Ringing(address(label), handler), prefetch)

    async def dead_letters(self, label: str, limit: int = 100) -> list[Doorbell]:
        """Give (and remove) up to `limit` dead doorbells of a label."""
        return readable_doorbells(label, await self._live().take_dead(address(label), limit))

    async def publish(self, event: Event) -> None:
        """Tell whoever listens."""
        await self._live().publish_event(address(event.subject), encode(event))

    async def subscribe(self, event_type: type[EventT], handler: Callable[[EventT], Awaitable[None]]) -> Subscription:
        """Hear every event of a type from now on, one at a time and in order."""
        return await self._consume(Listening(event_type, handler), _EVENT_PREFETCH)

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after each reconnection."""
        self._callbacks.append(callback)

    def _live(self) -> Link:
        if self._link is None or self._link.lost.is_set():
            raise bus_down("it is not connected")
        return self._link

    async def _consume(self, work: Work, prefetch: int) -> Subscription:
        consumer = Consumer(work, prefetch, self._on_detached, self._consumers.discard)
        self._consumers.add(consumer)
        try:
            await consumer.attach(self._live())
        except BaseException:
            self._consumers.discard(consumer)
            raise
        return consumer

    def _on_detached(self, consumer: Consumer, link: Link) -> None:
        if not link.lost.is_set():
            self._start_chore(self._reattach(consumer, link))

    async def _reattach(self, consumer: Consumer, link: Link) -> None:
        """Attach a consumer again whose channel or queue the broker took away; if that fails, connect anew."""
        get_logger("bus").warning("consumer_detached", then="attach again")
        try:
            await consumer.detach()
            await consumer.attach(link)
        except OmegaError as error:
            get_logger("bus").warning("consumer_not_attached", why=str(error))
            link.lose("a consumer could not be attached")

    async def _keep(self) -> None:
        """Connect again whenever the connection is lost, for as long as the bus is open."""
        while (link := self._link) is not None:
            await link.lost.wait()
            get_logger("bus").warning("broker_lost")
            self._start_chore(link.close())
            self._link = await self._reconnect()
            get_logger("bus").info("broker_connected")
            for callback in self._callbacks:
                self._call_back(callback)

    async def _reconnect(self) -> Link:
        tries = 0
        while True:
            try:
                return await self._connect()
            except OmegaError as error:
                get_logger("bus").warning("broker_not_connected", why=str(error), tries=tries + 1)
            await asyncio.sleep(reconnect_delay(tries))
            tries += 1

    async def _connect(self) -> Link:
        link = await open_link(self._url, self._limits)
        try:
            for consumer in list(self._consumers):
                await consumer.attach(link)
        except BaseException:
            await link.close()
            raise
        return link

    @staticmethod
    def _call_back(callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            get_logger("bus").exception("reconnect_callback_failed")

    def _start_chore(self, chore: Any) -> None:
        task = asyncio.get_running_loop().create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)


def reconnect_delay(tries: int) -> float:
    """Give the seconds to wait after `tries` failures more than one: 0.1, 0.2, … at most 2, each less up to a half."""
    longest = min(0.1 * 2 ** min(tries, 10), 2.0)
    return float(longest * (0.5 + secrets.randbelow(1000) / 2000))
