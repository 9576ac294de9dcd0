"""Greedy batching: whatever queued while the last batch ran is the next batch. No minimum.

With nothing in flight an item goes straight through, so an idle system answers as fast as without batching; under
load the batches grow by themselves to what the other side can take.

Who was just answered is likely to ask again at once. Without patience, the few items that came during a large batch
would travel alone, and all the others wait for them: batches would be small and large in turn. So after a batch that
was at least twice what waits, `linger` gives its callers time to come back, measured by how long that batch took.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from omegaproto.errors import Overloaded

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class GreedyBatcher(Generic[ItemT, ResultT]):
    """Hands items to `run` in batches, at most `concurrency` batches at a time.

    `run` gives one result or one exception for each item, in order; when it raises, every item of the batch fails
    with that exception. A batch holds at most `max_items` and `max_size` (by `size_of`); at most `max_waiting` wait.
    `linger` needs a concurrency of 1; 0 waits for nobody.
    """

    def __init__(
        self,
        run: Callable[[list[ItemT]], Awaitable[Sequence[ResultT | BaseException]]],
        *,
        max_items: int,
        max_waiting: int = 10_000,
        max_size: int | None = None,
        size_of: Callable[[ItemT], int] = lambda _item: 1,
        concurrency: int = 1,
        linger: float = 0.0,
    ) -> None:
        self._run = run
        self._max_items = max_items
        self._max_waiting = max_waiting
        self._max_size = max_size
        self._size_of = size_of
        self._concurrency = concurrency
        self._linger = linger
        self._awaited = 0
        """How many items a lingering batch waits for; 0 while none does."""
        self._gathered = asyncio.Event()
        self._waiting: deque[tuple[ItemT, asyncio.Future[ResultT]]] = deque()
        self._active = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Say whether nothing waits and nothing runs."""
        return not self._waiting and not self._active

    async def submit(self, item: ItemT) -> ResultT:
        """Give the result for `item`. Raises what `run` gave for it, or Overloaded when too many items wait."""
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded(
                f"{len(self._waiting)} items wait already.", action="Try again in a moment.", limit=self._max_waiting
            )
        future: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if 0 < self._awaited <= len(self._waiting):
            self._gathered.set()
        self._start_workers()
        return await future

    async def drain(self) -> None:
        """Return when everything that was submitted is answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start_workers(self) -> None:
        if self._waiting and self._active < self._concurrency:
            self._active += 1
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        try:
            while batch := self._take():
                begin = time.monotonic()
                await self._run_batch(batch)
                if self._linger and 2 * len(self._waiting) < len(batch):
                    await self._gather(len(batch), (time.monotonic() - begin) * self._linger)
        finally:
            # Not in the task's done callback: who was just answered may submit again before that runs.
            self._active -= 1

    async def _gather(self, answered: int, seconds: float) -> None:
        """Wait until as many more have come as were just answered, or the time is over."""
        self._awaited = len(self._waiting) + answered
        self._gathered.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._gathered.wait()
        self._awaited = 0

    def _take(self) -> list[tuple[ItemT, asyncio.Future[ResultT]]]:
        batch: list[tuple[ItemT, asyncio.Future[ResultT]]] = []
        size = 0
        while self._waiting and len(batch) < self._max_items:
            item, future = self._waiting[0]
            if future.done():
                self._waiting.popleft()
                continue
            size += self._size_of(item)
            if batch and self._max_size is not None and size > self._max_size:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _run_batch(self, batch: list[tuple[ItemT, asyncio.Future[ResultT]]]) -> None:
        try:
            results = await self._run([item for item, _ in batch])
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as error:
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
