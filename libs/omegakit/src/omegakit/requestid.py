"""The request id that follows a call over HTTP between services, as the bus carries it over AMQP."""

from __future__ import annotations

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

HEADER = "X-Request-ID"
_RAW = HEADER.lower().encode()
_MAX_LENGTH = 128


def outgoing() -> dict[str, str]:
    """Give the header that carries the id of the call in hand; empty outside of one."""
    current = structlog.contextvars.get_contextvars().get("request_id")
    return {HEADER: str(current)} if current else {}


class RequestIds:
    """Binds the id that a caller sent to every log line of the request. For services behind the gateway."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application with the id bound."""
        found = next((value for name, value in scope.get("headers", ()) if name == _RAW), b"")[:_MAX_LENGTH]
        with structlog.contextvars.bound_contextvars(request_id=found.decode("latin-1") or None):
            await self._app(scope, receive, send)
