"""Many small waits at once, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


async def mapped(work: Callable[[T], Awaitable[U]], items: Iterable[T], *, at_once: int) -> list[U]:
    """Give `work` of each item, in order. The first error ends the others and is raised as it is."""
    limit = asyncio.Semaphore(at_once)

    async def one(item: T) -> U:
        async with limit:
            return await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
