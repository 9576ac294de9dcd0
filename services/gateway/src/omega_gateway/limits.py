"""Bounds: how many may run, how many may wait for their turn; everybody else is told to come back later."""

from __future__ import annotations

import asyncio

from omegaproto.errors import Overloaded


class Turns:
    """An async context that at most `running` enter at a time while at most `waiting` wait. Raises Overloaded."""

    def __init__(self, running: int, waiting: int, what: str) -> None:
        self._semaphore = asyncio.Semaphore(running)
        self._limit = waiting
        self._waiting = 0
        self._what = what

    async def __aenter__(self) -> None:
        if self._semaphore.locked():
            if self._waiting >= self._limit:
                raise too_many(self._waiting, self._what)
            self._waiting += 1
            try:
                await self._semaphore.acquire()
            finally:
                self._waiting -= 1
        else:
            await self._semaphore.acquire()

    async def __aexit__(self, *_exception: object) -> None:
        self._semaphore.release()


def too_many(count: int, what: str) -> Overloaded:
    """Give the error for a bound that is reached."""
    return Overloaded(f"{count} {what} already.", action="Try again in a moment.", limit=count)
