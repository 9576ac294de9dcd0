"""What is sent in the background: batches, bounds, and faults that stop nothing."""

import asyncio

import pytest

from omega_scheduler.outbox import Outbox
from omegakit.logs import get_logger
from omegaproto.errors import Unavailable

pytestmark = pytest.mark.usefixtures("no_leaks")
LOG = get_logger("test")


class Sender:
    """Sends when it is let to, and remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.fault: Exception | None = None

    async def __call__(self, items: list[int]) -> None:
        self.batches.append(items)
        await self.open.wait()
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault


async def test_what_waits_while_a_batch_is_sent_is_the_next_batch() -> None:
    sender = Sender()
    sender.open.clear()
    outbox = Outbox("test", sender, LOG, batch=3, limit=10)
    outbox.put([1])
    await asyncio.sleep(0)
    outbox.put([2, 3])
    outbox.put([4, 5])
    sender.open.set()
    await outbox.drain()
    assert sender.batches == [[1], [2, 3, 4], [5]]


async def test_what_is_over_the_limit_is_dropped() -> None:
    sender = Sender()
    outbox = Outbox("test", sender, LOG, batch=10, limit=3)
    outbox.put([1, 2])
    outbox.put([3, 4, 5])
    await outbox.drain()
    assert sender.batches == [[1, 2, 3]]


@pytest.mark.parametrize("fault", [Unavailable("The broker is gone."), ZeroDivisionError()])
async def test_a_batch_that_fails_does_not_stop_the_next(fault: Exception) -> None:
    sender = Sender()
    sender.fault = fault
    outbox = Outbox("test", sender, LOG, batch=1, limit=10)
    outbox.put([1, 2])
    await outbox.drain()
    outbox.put([3])
    await outbox.drain()
    assert sender.batches == [[1], [2], [3]]


async def test_stopping_drops_what_waits() -> None:
    sender = Sender()
    sender.open.clear()
    outbox = Outbox("test", sender, LOG, batch=1, limit=10)
    await outbox.stop()
    outbox.put([1, 2])
    await asyncio.sleep(0)
    await outbox.stop()
    assert sender.batches == [[1]]
