"""The outermost layer: request ids, bounds, shortcuts, and what happens to unexpected exceptions.

Pure ASGI, and cheap: what a shortcut knows is answered here without routing, and everything else goes to the
application behind.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import structlog
from prometheus_client import Histogram
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omega_gateway.errors import body_too_large, error_body, error_headers, internal_error
from omega_gateway.limits import too_many
from omega_gateway.relay import TransferBroken
from omega_gateway.settings import GatewayOptions
from omega_gateway.shortcut import Elsewhere, Shortcut, answer
from omegakit.logs import get_logger
from omegakit.metrics import Metrics
from omegaproto.errors import OmegaError
from omegaproto.ids import new_id

_UPLOAD = ("POST", "/api/v1/blobs")
_ALWAYS = frozenset({"/healthz", "/readyz", "/metrics"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.\-]{1,128}")


class Edge:
    """The ASGI application of the gateway: `app` with everything around it."""

    def __init__(self, app: ASGIApp, shortcuts: Sequence[Shortcut], metrics: Metrics, options: GatewayOptions) -> None:
        self._app = app
        self._shortcuts = shortcuts
        self._max_requests = options.max_requests
        self._body_limit = options.json_body_bytes
        self._running = 0
        self._seconds = metrics.histogram(
            "omega_http_seconds", "Time to answer an HTTP request.", ("method", "route", "status")
        )
        self._timers: dict[tuple[str, str, int], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        begin = time.perf_counter()
        request_id = _request_id(scope["headers"])
        if self._running >= self._max_requests and scope["path"] not in _ALWAYS:
            await _refuse(send, too_many(self._running, "requests are being answered"), request_id)
            return
        self._running += 1
        try:
            for shortcut in self._shortcuts:
                work = shortcut.match(scope)
                if work is not None:
                    status = await answer(work, receive, send, request_id)
                    self._timer(scope["method"], shortcut.route, status).observe(time.perf_counter() - begin)
                    return
            await self._route(scope, receive, send, request_id, begin)
        except Elsewhere as elsewhere:
            await self._route(scope, elsewhere.receive, send, request_id, begin)
        finally:
            self._running -= 1

    def _timer(self, method: str, route: str, status: int) -> Histogram:
        key = method, route, status
        if key not in self._timers:
            self._timers[key] = self._seconds.labels(method, route, str(status))
        return self._timers[key]

    async def _route(self, scope: Scope, receive: Receive, send: Send, request_id: bytes, begin: float) -> None:
        answer = _Answer(send, request_id)
        structlog.contextvars.bind_contextvars(request_id=request_id.decode())
        try:
            await self._app(scope, self._bounded(scope, receive), answer.send)
        except TransferBroken:
            pass  # what broke was logged; an answer without its end is how the client sees it
        except Exception:
            if not answer.started:
                await _refuse(answer.send, internal_error(), request_id)
            elif not answer.complete:
                get_logger("gateway").exception("answer_broken", path=scope["path"])
        finally:
            structlog.contextvars.unbind_contextvars("request_id")
            route = getattr(scope.get("route"), "path", "unknown")
            self._seconds.labels(scope["method"], route, str(answer.status)).observe(time.perf_counter() - begin)

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        if (scope["method"], scope["path"]) == _UPLOAD:
            return receive
        limit, got = self._body_limit, 0

        async def bounded() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > limit:
                raise HTTPException(413) from body_too_large(limit)
            return message

        return bounded


class _Answer:
    """Watches an answer on its way out, and puts the request id on it."""

    def __init__(self, send: Send, request_id: bytes) -> None:
        self._send = send
        self._header = (b"x-request-id", request_id)
        self.status = 0
        self.complete = False

    @property
    def started(self) -> bool:
        return self.status != 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), self._header]}
        elif not message.get("more_body", False):
            self.complete = True
        await self._send(message)


def _request_id(headers: list[tuple[bytes, bytes]]) -> bytes:
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value
    return new_id().encode()


async def _refuse(send: Send, error: OmegaError, request_id: bytes) -> None:
    body = error_body(error)
    headers = [(name.lower().encode(), value.encode()) for name, value in error_headers(error).items()]
    headers += [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
