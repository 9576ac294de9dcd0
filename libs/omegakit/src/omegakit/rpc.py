"""Guarded handlers: a bus request is authenticated and checked against the scope table before its handler sees it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from omegakit.bus import Bus, Call, Subscription
from omegakit.metrics import Metrics
from omegakit.tokens import Tokens
from omegaproto.errors import OmegaError
from omegaproto.messages import Message, Request
from omegaproto.scopes import Principal, authorize

ReplyT = TypeVar("ReplyT", bound=Message)
RequestT = TypeVar("RequestT", bound=Request[Any])
GuardedHandler = Callable[[RequestT, Principal], Awaitable[ReplyT]]


class RpcServer:
    """The bus handlers of one service. Each gets the request and the principal that is allowed to make it."""

    def __init__(self, bus: Bus, tokens: Tokens, metrics: Metrics) -> None:
        self._bus = bus
        self._tokens = tokens
        self._metrics = metrics
        self._subscriptions: list[Subscription] = []

    async def serve(
        self,
        request_type: type[RequestT],
        handler: GuardedHandler[RequestT, Any],
        *,
        route: str = "",
        prefetch: int = 64,
    ) -> None:
        """Answer requests of a type from callers that the table allows."""

        async def guarded(request: RequestT, call: Call) -> Message:
            begin, code = time.perf_counter(), "ok"
            try:
                principal = self._tokens.verify(call.token)
                authorize(principal, request.bucket, request_type.operation)
                return await self._typed(handler, request, principal)
            except OmegaError as error:
                code = error.code
                raise
            except Exception:
                code = "internal"
                raise
            finally:
                elapsed = time.perf_counter() - begin
                self._metrics.rpc_seconds.labels(request_type.subject, code).observe(elapsed)

        self._subscriptions.append(await self._bus.serve(request_type, guarded, route=route, prefetch=prefetch))

    @staticmethod
    async def _typed(handler: GuardedHandler[RequestT, Any], request: RequestT, principal: Principal) -> Message:
        reply: Message = await handler(request, principal)
        return reply

    async def stop(self) -> None:
        """Take no more requests, and return when the running ones are answered."""
        for subscription in self._subscriptions:
            await subscription.cancel()
        self._subscriptions.clear()
