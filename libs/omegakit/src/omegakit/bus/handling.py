"""Running handlers, the same on every adapter: decode, bind the log context, call, and turn what happened into data.

It knows nothing of queues; the adapters decide what follows from an answer or an outcome.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any, TypeVar

import structlog

from omegakit.bus.port import Call, RingHandler
from omegakit.bus.wire import DELIVERY_LIMIT, Answer, decode, encode, failure, internal_error
from omegakit.logs import get_logger
from omegaproto.errors import BadBody, OmegaError
from omegaproto.ids import new_id
from omegaproto.messages import Doorbell, Event, Message, Request

RequestT = TypeVar("RequestT", bound=Request[Any])
EventT = TypeVar("EventT", bound=Event)


class Outcome(Enum):
    """What becomes of a delivered doorbell."""

    DONE = "acknowledge it"
    AGAIN = "deliver it again"
    DEAD = "move it to the dead letters"


async def answer_request(
    request_type: type[RequestT], handler: Callable[[RequestT, Call], Awaitable[Message]], body: bytes, call: Call
) -> Answer:
    """Have a request answered. Raises nothing but CancelledError: every other fault becomes an error answer."""
    with log_context(call.request_id, call.task_id):
        try:
            reply = await handler(decode(request_type, body), call)
            return Answer(encode(reply))
        except OmegaError as error:
            return failure(error)
        except Exception:
            error_id = new_id()
            get_logger("bus").exception("handler_failed", subject=request_type.subject, error_id=error_id)
            return failure(internal_error(error_id))


async def take_doorbell(handler: RingHandler, body: bytes, call: Call, failures: int) -> Outcome:
    """Have a doorbell handled that failed `failures` times before. Raises nothing but CancelledError."""
    try:
        doorbell = decode(Doorbell, body)
    except BadBody as error:
        get_logger("bus").error("doorbell_poisoned", why=error.message, request_id=call.request_id)
        return Outcome.DEAD
    with log_context(call.request_id, doorbell.task_id):
        try:
            await handler(doorbell)
        except Exception:
            outcome = after_failure(failures + 1)
            get_logger("bus").warning(
                "doorbell_failed", label=doorbell.label, failures=failures + 1, then=outcome.value, exc_info=True
            )
            return outcome
    return Outcome.DONE


async def tell(event_type: type[EventT], handler: Callable[[EventT], Awaitable[None]], body: bytes, call: Call) -> None:
    """Have an event heard. Raises nothing but CancelledError: a failing listener is logged."""
    with log_context(call.request_id, call.task_id):
        try:
            await handler(decode(event_type, body))
        except Exception:
            get_logger("bus").exception("event_listener_failed", subject=event_type.subject)


def after_failure(failures: int) -> Outcome:
    """Give what becomes of a doorbell that failed `failures` times."""
    return Outcome.DEAD if failures >= DELIVERY_LIMIT else Outcome.AGAIN


def log_context(request_id: str, task_id: str | None) -> AbstractContextManager[None]:
    """Bind the ids that tie the logs of a call together, for as long as its handler runs."""
    ids = {"request_id": request_id} | ({"task_id": task_id} if task_id else {})
    return structlog.contextvars.bound_contextvars(**ids)


def readable_doorbells(label: str, bodies: list[bytes]) -> list[Doorbell]:
    """Give the doorbells among dead letters; a body that is none is logged."""
    found = []
    for body in bodies:
        try:
            found.append(decode(Doorbell, body))
        except BadBody:
            get_logger("bus").error("dead_letter_unreadable", label=label, body=body[:200].decode(errors="replace"))
    return found
