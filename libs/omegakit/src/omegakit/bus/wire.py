"""How messages look on the way, on every adapter: bytes, context, limits, names and errors. Pure: no I/O, no broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError

from omegakit.bus.port import Call
from omegaproto.errors import (
    BadBody,
    BadRequest,
    CallTimeout,
    ErrorInfo,
    OmegaError,
    Overloaded,
    TooLarge,
    Unavailable,
    error_from,
)
from omegaproto.ids import new_id
from omegaproto.messages import MAX_MESSAGE_BYTES, Message

MessageT = TypeVar("MessageT", bound=Message)

DELIVERY_LIMIT = 5
"""How often a doorbell is delivered before it is dead."""

MAX_NAME_BYTES = 200
"""The longest subject, route or label together, in bytes: AMQP names end at 255, and the adapter adds a prefix."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many messages wait at most, in each queue of a kind; what comes on top is refused (events: the oldest go)."""

    requests: int = 10_000
    doorbells: int = 100_000
    events: int = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply as it travels: a reply message, or an ErrorInfo when `failed`."""

    body: bytes
    failed: bool = False


def encode(message: Message) -> bytes:
    """Give the JSON of a message. Raises TooLarge above MAX_MESSAGE_BYTES."""
    body: bytes = message.__pydantic_serializer__.to_json(message)
    if len(body) > MAX_MESSAGE_BYTES:
        raise TooLarge(
            f"{type(message).__name__} takes {len(body)} bytes, a message at most {MAX_MESSAGE_BYTES}.",
            action="Store the data as a blob and send the blob's id.",
            limit=MAX_MESSAGE_BYTES,
        )
    return body


def decode(message_type: type[MessageT], body: bytes) -> MessageT:
    """Give the message in `body`. Raises BadBody, which names the fields that do not fit, not their values."""
    try:
        return message_type.model_validate_json(body)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False, include_context=False)[:5]
        )
        raise BadBody(
            f"The body is no {message_type.__name__}: {faults}.", action="Send the documented shape."
        ) from error


def failure(error: OmegaError) -> Answer:
    """Give the answer that stands for `error`; details that make it too large stay behind."""
    body = error.info().model_dump_json(fallback=str).encode()
    if len(body) > MAX_MESSAGE_BYTES:
        short = ErrorInfo(
            code=error.code, status=error.status, message=error.message[:1000], action=error.action[:1000]
        )
        body = short.model_dump_json().encode()
    return Answer(body, failed=True)


def open_answer(reply_type: type[MessageT], answer: Answer) -> MessageT:
    """Give the reply in an answer, or raise the error in it as the type it was raised as."""
    if answer.failed:
        raise error_from(ErrorInfo.model_validate_json(answer.body))
    try:
        return decode(reply_type, answer.body)
    except BadBody as error:
        raise OmegaError(
            f"The reply cannot be understood. {error.message}",
            action="Check that both services are of versions that work together.",
        ) from error


def call_context(token: str) -> Call:
    """Give what travels beside a message sent now: the ids bound to the log context, else a new request id."""
    bound = structlog.contextvars.get_contextvars()
    return Call(token=token, request_id=bound.get("request_id") or new_id(), task_id=bound.get("task_id"))


def address(subject: str, route: str = "") -> str:
    """Give the name of the queue for a subject and its route, or for a label. Raises BadRequest when it is too long."""
    name = f"{subject}/{route}" if route else subject
    if len(name.encode()) > MAX_NAME_BYTES:
        raise BadRequest(
            f"The name {name[:40]!r}… is over {MAX_NAME_BYTES} bytes.", action="Use a shorter route or label."
        )
    return name


def redelivery_delay(failures: int) -> float:
    """Give the seconds to hold a doorbell back after its `failures`-th failure: 0.05, 0.1, 0.2, … at most 1."""
    return float(min(0.05 * 2 ** max(failures - 1, 0), 1.0))


def nobody_serves(name: str) -> Unavailable:
    """Give the error for a call that no service takes."""
    return Unavailable(f"No service answers {name} now.", action="Try again; if it lasts, check that it runs.")


def queue_full(name: str) -> Overloaded:
    """Give the error for a bounded queue that is full."""
    return Overloaded(f"The queue of {name} is full.", action="Try again later, or add replicas.")


def bus_down(why: str) -> Unavailable:
    """Give the error for a bus that cannot send."""
    return Unavailable(f"The message bus cannot be reached: {why}.", action="Try again; it reconnects by itself.")


def timed_out(name: str, seconds: float) -> CallTimeout:
    """Give the error for a call that was not answered in time."""
    return CallTimeout(
        f"{name} did not answer within {seconds:g} s; the call may or may not have taken effect.",
        action="Repeat it with its idempotency key.",
    )


def internal_error(error_id: str) -> OmegaError:
    """Give what a caller learns of an unexpected exception: an id to find it in the logs, nothing of its inside."""
    return OmegaError(
        f"The service met an internal error (error id {error_id}).",
        action="Report the error id; the service's log has the details.",
        error_id=error_id,
    )


def context_headers(call: Call) -> dict[str, Any]:
    """Give the headers that carry a call's context."""
    headers: dict[str, Any] = {"request_id": call.request_id}
    if call.token:
        headers["token"] = call.token
    if call.task_id:
        headers["task_id"] = call.task_id
    return headers


def context_from(headers: dict[str, Any]) -> Call:
    """Give the context that headers carry; a message without a request id gets a new one."""
    task_id = headers.get("task_id")
    return Call(
        token=str(headers.get("token", "")),
        request_id=str(headers.get("request_id") or new_id()),
        task_id=str(task_id) if task_id else None,
    )
