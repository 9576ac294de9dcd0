"""Sweepers: tasks of the service that wait for the next due time and then work through what is due.

A sweep is safe at any time, in any number of replicas: it changes tasks by compare-and-set, and one of them wins.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from omegakit.clock import Clock
from omegaproto.errors import OmegaError

Sweep = Callable[[], Awaitable[datetime | None]]
_LEAST_SECONDS = 0.02


class Sweeper:
    """Calls `sweep` at the time that it gave, at an earlier one that `wake_by` names, and every `interval` seconds."""

    def __init__(self, name: str, sweep: Sweep, clock: Clock, log: Any, *, interval: float) -> None:
        self._name = name
        self._sweep = sweep
        self._clock = clock
        self._log = log
        self._interval = timedelta(seconds=interval)
        self._next = clock.now()
        self._earlier = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with a sweep."""
        self._task = asyncio.create_task(self._run(), name=f"sweeper-{self._name}")

    async def stop(self) -> None:
        """End; a sweep that runs is cut off, which loses nothing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    def wake_by(self, moment: datetime) -> None:
        """Have a sweep at `moment` at the latest."""
        if moment < self._next:
            self._next = moment
            self._earlier.set()

    async def _run(self) -> None:
        while True:
            self._next = self._clock.now() + self._interval
            wanted = await self._try()
            if wanted is not None:
                self.wake_by(wanted)
            await self._wait()

    async def _try(self) -> datetime | None:
        try:
            return await self._sweep()
        except OmegaError as error:
            self._log.warning("sweep failed", sweeper=self._name, reason=error.message)
        except Exception:
            self._log.exception("sweep failed", sweeper=self._name)
        return None

    async def _wait(self) -> None:
        """Wait until the time for the next sweep, which may move closer meanwhile."""
        while True:
            self._earlier.clear()
            seconds = (self._next - self._clock.now()).total_seconds()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, _LEAST_SECONDS)):
                    await self._earlier.wait()
                    continue
            return
