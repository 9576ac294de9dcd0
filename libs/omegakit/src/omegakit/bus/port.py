"""What a bus offers. Messages are serialised on every adapter, and a call never blocks the event loop.

Requests are at most once: an unanswered call ends in CallTimeout and may be repeated with its idempotency key.
Doorbells are at least once: they are durable, acknowledged after their handler returned, redelivered when it did not.
Events are delivered to whoever listens at the time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from omegaproto.messages import Doorbell, Event, Message, Request

ReplyT = TypeVar("ReplyT", bound=Message)
RequestT = TypeVar("RequestT", bound=Request[Any])
EventT = TypeVar("EventT", bound=Event)


@dataclass(frozen=True, slots=True)
class Call:
    """What arrives beside a request: who calls (a signed token, unverified), and the ids that tie the logs together."""

    token: str
    request_id: str
    task_id: str | None = None


Handler = Callable[[RequestT, Call], Awaitable[ReplyT]]
RingHandler = Callable[[Doorbell], Awaitable[None]]


class Subscription(Protocol):
    """A running consumer."""

    async def cancel(self) -> None:
        """Take no more deliveries, let the running handlers end, and return."""
        ...


class Bus(Protocol):
    """Control messages between services."""

    async def start(self) -> None:
        """Connect; keeps reconnecting by itself from then on. Raises Unavailable when the first try fails."""
        ...

    async def close(self) -> None:
        """Close after what was published is confirmed; open calls fail with Unavailable."""
        ...

    @property
    def connected(self) -> bool:
        """Say whether the broker can be reached now."""
        ...

    async def call(self, request: Request[ReplyT], *, token: str, route: str = "", timeout: float = 30.0) -> ReplyT:
        """Send `request` to one of the handlers that serve it (on `route`, when it is routed) and give its reply.

        Raises:
            OmegaError: what the handler raised, as the same type.
            CallTimeout: no reply within `timeout` seconds.
            Unavailable: nobody serves the subject, or the connection was lost while waiting.
            Overloaded: the queue of the subject is full.
            TooLarge: the message is over MAX_MESSAGE_BYTES.
        """
        ...

    async def serve(
        self, request_type: type[RequestT], handler: Handler[RequestT, Any], *, route: str = "", prefetch: int = 64
    ) -> Subscription:
        """Answer requests of a type, up to `prefetch` at the same time; replicas share the load."""
        ...

    async def ring(self, doorbells: list[Doorbell]) -> None:
        """Publish doorbells durably, each to the queue of its label; returns when all are confirmed.

        Raises Unavailable when the broker cannot be reached, Overloaded when a label's queue is full.
        """
        ...

    async def on_ring(self, label: str, handler: RingHandler, *, prefetch: int) -> Subscription:
        """Take doorbells of a label, at most `prefetch` unacknowledged at a time.

        A handler that returns acknowledges; one that raises has its doorbell redelivered, and after
        the delivery limit (5) moved to the dead letters.
        """
        ...

    async def dead_letters(self, label: str, limit: int = 100) -> list[Doorbell]:
        """Give (and remove) up to `limit` dead doorbells of a label."""
        ...

    async def publish(self, event: Event) -> None:
        """Tell whoever listens. Best effort: raises nothing when nobody listens, Unavailable without a broker."""
        ...

    async def subscribe(self, event_type: type[EventT], handler: Callable[[EventT], Awaitable[None]]) -> Subscription:
        """Hear every event of a type published from now on, in this process (fan-out, not shared)."""
        ...

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after each reconnection: events may have been missed, caches must be dropped."""
        ...
