"""The outbox: one write for each turn of the event loop, and nobody waits for a connection that has gone."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiormq.abc import ChannelFrame
from pamqp.body import ContentBody

from omegakit.bus.amqp_lane import Outbox
from omegakit.bus.wire import bus_down
from omegaproto.errors import Unavailable

pytestmark = pytest.mark.usefixtures("no_leaks")

LARGE = ContentBody(b"x" * 600_000)


def outbox_over(queue: asyncio.Queue[ChannelFrame]) -> Outbox:
    connection: Any = SimpleNamespace(write_queue=queue)
    return Outbox(connection)


async def test_what_is_sent_in_one_turn_is_one_write() -> None:
    queue = asyncio.Queue[ChannelFrame]()
    outbox = outbox_over(queue)
    outbox.send(1, [ContentBody(b"one"), ContentBody(b"two")])
    outbox.send(2, [ContentBody(b"three")])
    written = await queue.get()
    assert [written.payload.index(word) for word in (b"one", b"two", b"three")] == [7, 18, 29]
    assert queue.empty()


async def test_what_is_sent_while_a_write_is_under_way_is_the_next_write() -> None:
    queue = asyncio.Queue[ChannelFrame]()
    outbox = outbox_over(queue)
    outbox.send(1, [ContentBody(b"one")])
    first = await queue.get()
    outbox.send(1, [ContentBody(b"two")])
    flushing = asyncio.create_task(outbox.flush())
    await asyncio.sleep(0)
    assert queue.empty()
    first.drain()
    second = await queue.get()
    assert b"two" in second.payload
    assert not flushing.done()
    second.drain()
    await asyncio.wait_for(flushing, 5)
    await outbox.flush()


async def test_a_full_write_queue_is_waited_for() -> None:
    queue = asyncio.Queue[ChannelFrame](maxsize=1)
    queue.put_nowait(ChannelFrame(b"other", should_close=False))
    outbox = outbox_over(queue)
    outbox.send(1, [ContentBody(b"one")])
    await asyncio.sleep(0)
    assert (await queue.get()).payload == b"other"
    assert b"one" in (await asyncio.wait_for(queue.get(), 5)).payload


async def test_room_comes_back_when_the_write_is_done() -> None:
    queue = asyncio.Queue[ChannelFrame]()
    outbox = outbox_over(queue)
    outbox.send(1, [ContentBody(b"one")])
    first = await queue.get()
    assert not outbox.full
    await outbox.room()
    outbox.send(1, [LARGE, LARGE])
    assert outbox.full
    waiting = asyncio.create_task(outbox.room())
    first.drain()
    (await queue.get()).drain()
    await asyncio.wait_for(waiting, 5)
    assert not outbox.full


async def test_a_lost_connection_fails_whoever_waits() -> None:
    queue = asyncio.Queue[ChannelFrame](maxsize=1)
    queue.put_nowait(ChannelFrame(b"other", should_close=False))
    outbox = outbox_over(queue)
    outbox.send(1, [ContentBody(b"one")])
    flushing = asyncio.create_task(outbox.flush())
    await asyncio.sleep(0)
    outbox.send(1, [LARGE, LARGE])
    waiting = asyncio.create_task(outbox.room())
    await asyncio.sleep(0)
    outbox.fail(bus_down("it was cut"))
    for attempt in (flushing, waiting, outbox.flush()):
        with pytest.raises(Unavailable, match="cut"):
            await attempt
    outbox.send(1, [ContentBody(b"late")])
    assert (await queue.get()).payload == b"other"
    assert queue.empty()
