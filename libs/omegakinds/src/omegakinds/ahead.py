"""Work in threads, a few items ahead of who takes the results, and in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def mapped_ahead(
    work: Callable[[ItemT], ResultT], items: Iterable[ItemT], *, threads: int, most: int
) -> Iterator[ResultT]:
    """Give ``work(item)`` for each item, in order.

    At most `most` results are under way or wait to be taken. Raises what `work` or `items` raises; what had not begun
    by then is left out.
    """
    pending: deque[Future[ResultT]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="omega-parts") as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) >= most:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
