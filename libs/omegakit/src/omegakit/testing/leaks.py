"""Which asyncio tasks a test left running. The check itself is the fixture `no_leaks` of `omegakit.testing.plugin`."""

import asyncio
from collections.abc import Set
from typing import Any

# A callback that is already on its way, as after closing a transport, is no leak.
_GRACE_SECONDS = 0.5

Tasks = Set[asyncio.Task[Any]]


async def tasks_left_since(before: Tasks) -> Tasks:
    """Give the running loop's tasks that are neither in `before` nor this one and do not end within half a second."""
    started = asyncio.all_tasks() - before - {asyncio.current_task()}
    if not started:
        return frozenset()
    _, left = await asyncio.wait(started, timeout=_GRACE_SECONDS)
    return left


def describe(tasks: Tasks) -> str:
    """Give one line a task: its name, and the file and line where it waits."""
    return "\n".join(sorted(_line(task) for task in tasks))


def _line(task: asyncio.Task[Any]) -> str:
    frames = task.get_stack(limit=1)
    place = f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else "not yet started"
    return f"{task.get_name()} in {getattr(task.get_coro(), '__qualname__', task.get_coro())} at {place}"
