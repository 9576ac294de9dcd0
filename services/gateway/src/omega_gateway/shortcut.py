"""Shortcuts: what is asked for most often, by callers that are known, answered without routing.

A shortcut only ever answers what the route for the same path would answer the same; whatever it is not sure of, it
leaves to that route.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from starlette.types import Message, Receive, Scope, Send

from omega_gateway.auth import Authenticator
from omega_gateway.errors import error_body, error_headers, internal_error
from omegaproto.errors import OmegaError
from omegaproto.scopes import DEFAULT_BUCKET, Principal

_LEFT_TO_ROUTES = frozenset({b"async", b"authorization", b"bucket"})
"""Working async; and the second of two headers that must be one."""


class Reply(NamedTuple):
    """A JSON answer."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


Answer = Callable[[Receive, str], Awaitable[Reply]]
"""Answers the request that matched, given its body and its request id."""


class Gone(Exception):
    """The client went away before its body was whole."""


class Elsewhere(Exception):
    """The body told that the route must answer; `receive` gives the body again."""

    def __init__(self, receive: Receive) -> None:
        super().__init__()
        self.receive = receive


class Shortcut(Protocol):
    """Answers some requests."""

    route: str
    """What the metrics call it."""

    def match(self, scope: Scope) -> Answer | None:
        """Give what answers a request; None leaves it to the routes."""
        ...


def known_caller(scope: Scope, keys: Authenticator) -> tuple[Principal, str] | None:
    """Give a caller whose key was checked before, and the bucket; None when the routes must look, or work async."""
    authorization, bucket = None, None
    for name, value in scope["headers"]:
        if name == b"authorization" and authorization is None:
            authorization = value
        elif name == b"bucket" and bucket is None:
            bucket = value.decode("latin-1")
        elif name in _LEFT_TO_ROUTES:
            return None
    principal = keys.known(authorization) if authorization is not None else None
    if principal is None:
        return None
    return principal, DEFAULT_BUCKET if not bucket or bucket == "default" else bucket


def is_json(scope: Scope) -> bool:
    """Say whether a request says that its body is JSON."""
    types = [value for name, value in scope["headers"] if name == b"content-type"]
    return len(types) == 1 and types[0].partition(b";")[0].strip().lower() == b"application/json"


async def whole_body(receive: Receive, limit: int, too_large: Callable[[int], OmegaError]) -> bytes:
    """Give a request's body. Raises Gone, and what `too_large` gives for a body over `limit` bytes."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while len(body) <= limit and message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    if len(body) > limit:
        raise too_large(limit)
    if message["type"] == "http.disconnect":
        raise Gone
    return body


def again(body: bytes, receive: Receive) -> Receive:
    """Give a `receive` that begins with a body that was read before."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


async def answer(work: Answer, receive: Receive, send: Send, request_id: bytes) -> int:
    """Answer a request, and give the status; 0 when nobody is there any more. Raises Elsewhere."""
    try:
        reply = await work(receive, request_id.decode())
    except Gone:
        return 0
    except Elsewhere:
        raise
    except OmegaError as error:
        reply = failed(error)
    except Exception:
        reply = failed(internal_error())
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(reply.body)),
        (b"x-request-id", request_id),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
    return reply.status


def failed(error: OmegaError) -> Reply:
    """Give the answer that stands for an error."""
    headers = ((name.lower().encode(), value.encode()) for name, value in error_headers(error).items())
    return Reply(error.status, error_body(error), tuple(headers))
