"""A read-through cache: bounded, with expiry, one load at a time for a key, and eviction that loads cannot outrun.

It knows nothing of what it holds. A load that began before its key was evicted answers those who waited for it, and
is not kept: whoever asks after the eviction gets a new load.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class ReadThrough(Generic[K, V]):
    """Values by key, each kept for `seconds` of it; at most `size` of them, the oldest leave first."""

    def __init__(self, *, size: int, seconds: Callable[[V], float], now: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._seconds = seconds
        self._now = now
        self._kept: OrderedDict[K, tuple[V, float]] = OrderedDict()
        self._loading: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """Give the value of a key when it is kept and fresh."""
        found = self._kept.get(key)
        return found[0] if found is not None and found[1] > self._now() else None

    async def read(self, key: K, load: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Give the value of a key, from `load` when it is not kept. Raises what `load` raises, and keeps no failure."""
        found = self.get(key)
        if found is not None:
            return found
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(load())
            task.add_done_callback(lambda done: self._loaded(key, done))
        return await asyncio.shield(task)

    def _loaded(self, key: K, task: asyncio.Task[V]) -> None:
        failed = task.cancelled() or task.exception() is not None
        if self._loading.get(key) is not task:
            return
        del self._loading[key]
        if not failed:
            self._keep(key, task.result())

    def _keep(self, key: K, value: V) -> None:
        self._kept.pop(key, None)
        self._kept[key] = (value, self._now() + self._seconds(value))
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def evict(self, matches: Callable[[K, V | None], bool]) -> None:
        """Forget what `matches` says; it is given None for the value of a key that is being loaded."""
        for key in [key for key, (value, _) in self._kept.items() if matches(key, value)]:
            del self._kept[key]
        for key in [key for key in self._loading if matches(key, None)]:
            del self._loading[key]

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._loading.clear()

    async def close(self) -> None:
        """Cancel what is being loaded."""
        tasks = list(self._loading.values())
        self.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
