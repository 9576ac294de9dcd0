"""Recording how attempts ended: batched, and repeated until the scheduler answers or the leases are over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from omegakit.batching import GreedyBatcher
from omegakit.service import Kit
from omegaproto.errors import OmegaError
from omegaproto.tasks import CompleteTasks, Completion, CompletionResult, Lease

_MOST_ITEMS = 256
_MOST_BYTES = 190 * 1024
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_CALL_SECONDS = 10.0
_UNKNOWN_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""How long to wait before asking again about a task that the scheduler does not know, in seconds."""
GRACE = timedelta(seconds=30)
"""How long after its lease a completion is still tried: until a sweeper has come by, it counts."""

Ended = tuple[Completion, Lease]


class Completer:
    """Sends completions to the scheduler."""

    def __init__(
        self, kit: Kit, worker: str, still_held: Callable[[str], bool], idle: Callable[[], int] = lambda: 0
    ) -> None:
        self._kit = kit
        self._log: Any = kit.log
        self._worker = worker
        self._still_held = still_held
        self._idle = idle
        self._given_up = False
        self._batcher: GreedyBatcher[Ended, bool | None] = GreedyBatcher(
            self._send, max_items=_MOST_ITEMS, max_size=_MOST_BYTES, size_of=_size
        )

    async def record(self, completion: Completion, lease: Lease) -> bool:
        """Record a completion; True when it counts. Returns only when that is known, or can no longer be.

        A task that only reads may end before another replica of the scheduler sees it stored: it is asked about again.
        """
        for pause in _UNKNOWN_PAUSES:
            counts = await self._batcher.submit((completion, lease))
            if counts is not None:
                return counts
            await asyncio.sleep(pause)
        return await self._batcher.submit((completion, lease)) is True

    async def stop(self) -> None:
        """Give up what is not recorded by now; returns at once when nothing is on the way."""
        self._given_up = True
        await self._batcher.drain()

    async def _send(self, batch: list[Ended]) -> list[bool | None]:
        """Give for each whether it counts; None when the scheduler does not know the task."""
        pause = _FIRST_PAUSE_SECONDS
        while pending := [ended for ended in batch if self._worth_trying(ended)]:
            try:
                results = await self._call([completion for completion, _ in pending])
            except OmegaError as error:
                self._log.warning("completions_not_recorded", why=error.message, completions=len(pending))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                continue
            counts = {result.task_id: None if result.state is None else result.recorded for result in results}
            return [counts.get(completion.task_id, False) for completion, _ in batch]
        self._log.error("completions_given_up", task_ids=[completion.task_id for completion, _ in batch])
        return [False] * len(batch)

    async def _call(self, completions: list[Completion]) -> tuple[CompletionResult, ...]:
        request = CompleteTasks(worker=self._worker, completions=tuple(completions), idle=self._idle())
        answer = await self._kit.bus.call(request, token=self._kit.tokens.own(), timeout=_CALL_SECONDS)
        return answer.items

    def _worth_trying(self, ended: Ended) -> bool:
        completion, lease = ended
        return (
            not self._given_up
            and self._still_held(completion.task_id)
            and self._kit.clock.now() < lease.expires_at + GRACE
        )


def _size(ended: Ended) -> int:
    completion = ended[0]
    if completion.result is None and completion.error is None:
        return 256
    return len(completion.__pydantic_serializer__.to_json(completion))
