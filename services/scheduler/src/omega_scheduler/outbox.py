"""What is sent in the background: doorbells and events, in batches, without anybody waiting for it.

Best effort on purpose. The task document is the truth: a doorbell that is not sent is rung by the sweeper, and what an
unsent event would have told is found by whoever asks for the task.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from omegaproto.errors import OmegaError

ItemT = TypeVar("ItemT")


class Outbox(Generic[ItemT]):
    """Hands items to `send` in batches of at most `batch`, one batch at a time; at most `limit` wait."""

    def __init__(
        self, name: str, send: Callable[[list[ItemT]], Awaitable[None]], log: Any, *, batch: int, limit: int
    ) -> None:
        self._name = name
        self._send = send
        self._log = log
        self._batch = batch
        self._limit = limit
        self._waiting: deque[ItemT] = deque()
        self._task: asyncio.Task[None] | None = None

    def put(self, items: list[ItemT]) -> None:
        """Send items soon. What is over the limit is logged and dropped."""
        room = self._limit - len(self._waiting)
        if len(items) > room:
            self._log.warning("outbox full", outbox=self._name, dropped=len(items) - room)
        self._waiting.extend(items[:room])
        if self._waiting and self._task is None:
            self._task = asyncio.create_task(self._run())

    async def drain(self) -> None:
        """Return when everything that was put is sent, or could not be."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def stop(self) -> None:
        """End at once, whatever still waits."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            await self.drain()

    async def _run(self) -> None:
        try:
            while self._waiting:
                count = min(self._batch, len(self._waiting))
                await self._try([self._waiting.popleft() for _ in range(count)])
        finally:
            self._task = None

    async def _try(self, items: list[ItemT]) -> None:
        try:
            await self._send(items)
        except OmegaError as error:
            self._log.warning("not sent", outbox=self._name, count=len(items), reason=error.message)
        except Exception:
            self._log.exception("not sent", outbox=self._name, count=len(items))
