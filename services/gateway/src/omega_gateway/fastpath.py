"""The fast way of predictions: a known key, a known model, an inline body, and nothing else asked for.

It only ever answers what the route in ``routes/models.py`` would answer the same; whatever it is not sure of, it leaves
to that route. No request model, no routing, no parsing of the body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

from omega_gateway.auth import Authenticator
from omega_gateway.errors import error_body, error_headers, internal_error
from omega_gateway.predict import Predictor, Target, read_body, too_large
from omega_gateway.settings import GatewayOptions
from omegaproto.errors import OmegaError
from omegaproto.scopes import DEFAULT_BUCKET, Principal, action_operation, allows

PREFIX = "/api/v1/model/"
_METHODS = frozenset({"POST", "PUT"})

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Match(NamedTuple):
    """A request that can be answered here."""

    principal: Principal
    target: Target


class Gone(Exception):
    """The client went away before its body was whole."""


class FastPredict:
    """Answers predictions by known callers on known models."""

    def __init__(self, keys: Authenticator, predictor: Predictor, options: GatewayOptions) -> None:
        self._keys = keys
        self._predictor = predictor
        self._limit = options.predict_body_bytes

    def match(self, scope: Scope) -> Match | None:
        """Say who asks which model, when both are known and the caller may; None leaves the request to the route."""
        path: str = scope["path"]
        if not path.startswith(PREFIX) or scope["query_string"] or scope["method"] not in _METHODS:
            return None
        authorization, bucket = None, DEFAULT_BUCKET
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"bucket":
                bucket = value.decode("latin-1")
            elif name == b"async":
                return None
        principal = self._keys.known(authorization) if authorization is not None else None
        if principal is None:
            return None
        reference, _, action = path[len(PREFIX) :].rpartition("/")
        if bucket in {"", "default"}:
            bucket = DEFAULT_BUCKET
        target = self._predictor.known(bucket, reference, action)
        if target is None or not allows(principal.role_in(bucket), action_operation(action)):
            return None
        return Match(principal, target)

    async def answer(self, match: Match, scope: Scope, receive: Receive, send: Send, request_id: bytes) -> None:
        """Answer a request that matched."""
        extra: list[tuple[bytes, bytes]] = []
        try:
            status, body = 200, await self._predict(match, receive, request_id)
        except Gone:
            return
        except OmegaError as error:
            status, body, extra = _failed(error)
        except Exception:
            status, body, extra = _failed(internal_error())
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id),
            *extra,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _predict(self, match: Match, receive: Receive, request_id: bytes) -> bytes:
        body, size = read_body(await self._read(receive), self._limit)
        target = match.target
        item = self._predictor.item(body, size, match.principal, request_id.decode())
        return (target.head + await target.batcher.submit(item) + target.tail).encode()

    async def _read(self, receive: Receive) -> bytes:
        message = await receive()
        body: bytes = message.get("body", b"")
        while message.get("more_body", False):
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self._limit:
                raise too_large(self._limit)
        if message["type"] == "http.disconnect":
            raise Gone
        return body


def _failed(error: OmegaError) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    extra = [(name.lower().encode(), value.encode()) for name, value in error_headers(error).items()]
    return error.status, error_body(error), extra
