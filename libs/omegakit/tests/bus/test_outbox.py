"""The outbox: one write for each turn of the event loop, and nobody waits for a connection that has gone."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from omegakit.bus.amqp_lane import Outbox
from omegakit.bus.wire import bus_down
from omegaproto.errors import Unavailable

pytestmark = pytest.mark.usefixtures("no_leaks")

LARGE = b"x" * 600_000
"""More than the sockets and the transport hold while the peer does not read; twice it is more than the outbox holds."""


class LazyPeer:
    """A connection whose other end reads only when it is told to."""

    def __init__(self, far: socket.socket, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._far = far

    @property
    def held(self) -> int:
        """Give how many bytes the transport has and the socket does not take."""
        return self.writer.transport.get_write_buffer_size()

    def arrived(self) -> bytes:
        """Give what can be read now."""
        try:
            return self._far.recv(2**20)
        except BlockingIOError:
            return b""

    async def read(self, count: int) -> bytes:
        """Read so many bytes, or up to the end of the connection."""
        loop, data = asyncio.get_running_loop(), b""
        async with asyncio.timeout(5):
            while len(data) < count and (piece := await loop.sock_recv(self._far, 2**16)):
                data += piece
        return data

    def vanish(self) -> None:
        """Close the connection from the other end."""
        self._far.close()


@pytest_asyncio.fixture
async def lazy_peer(no_leaks: None) -> AsyncIterator[LazyPeer]:
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    far.setblocking(False)
    _, writer = await asyncio.open_connection(sock=near)
    yield LazyPeer(far, writer)
    far.close()
    writer.close()
    await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])


async def turns(count: int = 5) -> None:
    """Let the event loop turn, for all that does not depend on the peer to happen."""
    for _ in range(count):
        await asyncio.sleep(0)


async def clogged(peer: LazyPeer) -> Outbox:
    """Give an outbox whose write is under way: the peer has yet to read LARGE."""
    outbox = Outbox(peer.writer)
    outbox.send([LARGE])
    await turns()
    assert peer.held
    return outbox


async def test_what_is_sent_in_one_turn_is_one_write(lazy_peer: LazyPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    transport, writes = lazy_peer.writer.transport, list[bytes]()
    write = transport.write

    def counted(data: bytes) -> None:
        writes.append(data)
        write(data)

    monkeypatch.setattr(transport, "write", counted)
    outbox = Outbox(lazy_peer.writer)
    outbox.send([b"one ", b"two "])
    outbox.send(iter([b"three "]))
    assert lazy_peer.arrived() == b""
    await asyncio.sleep(0)
    assert lazy_peer.arrived() == b"one two three "
    outbox.send([b"four"])
    await outbox.flush()
    assert lazy_peer.arrived() == b"four"
    assert writes == [b"one two three ", b"four"]


async def test_what_is_sent_while_a_write_is_under_way_is_the_next_write(lazy_peer: LazyPeer) -> None:
    outbox = await clogged(lazy_peer)
    held = lazy_peer.held
    outbox.send([b"one "])
    flushing = asyncio.create_task(outbox.flush())
    await turns()
    outbox.send([b"two"])
    await turns()
    assert lazy_peer.held == held
    assert not flushing.done()
    assert await lazy_peer.read(len(LARGE) + 7) == LARGE + b"one two"
    await asyncio.wait_for(flushing, 5)
    await asyncio.wait_for(outbox.flush(), 5)


async def test_a_flush_waits_for_the_write_that_is_under_way(lazy_peer: LazyPeer) -> None:
    outbox = await clogged(lazy_peer)
    flushing = asyncio.create_task(outbox.flush())
    await turns()
    assert not flushing.done()
    await lazy_peer.read(len(LARGE))
    await asyncio.wait_for(flushing, 5)


async def test_room_comes_back_when_the_peer_reads(lazy_peer: LazyPeer) -> None:
    outbox = await clogged(lazy_peer)
    assert not outbox.full
    await asyncio.wait_for(outbox.room(), 5)
    outbox.send([LARGE, LARGE])
    assert outbox.full
    waiting = asyncio.create_task(outbox.room())
    await turns()
    assert not waiting.done()
    await lazy_peer.read(3 * len(LARGE))
    await asyncio.wait_for(waiting, 5)
    assert not outbox.full


async def test_a_waiter_that_gave_up_is_in_nobodys_way(lazy_peer: LazyPeer) -> None:
    outbox = await clogged(lazy_peer)
    given_up = asyncio.create_task(outbox.flush())
    flushing = asyncio.create_task(outbox.flush())
    await turns()
    given_up.cancel()
    await lazy_peer.read(len(LARGE))
    await asyncio.wait_for(flushing, 5)
    assert given_up.cancelled()


async def test_a_lost_connection_fails_whoever_waits(lazy_peer: LazyPeer) -> None:
    outbox = await clogged(lazy_peer)
    flushing = asyncio.create_task(outbox.flush())
    outbox.send([LARGE, LARGE])
    waiting = asyncio.create_task(outbox.room())
    given_up = asyncio.create_task(outbox.room())
    await turns()
    given_up.cancel()
    outbox.fail(bus_down("it was cut"))
    for attempt in (flushing, waiting, outbox.flush(), outbox.room()):
        with pytest.raises(Unavailable, match="cut"):
            await asyncio.wait_for(attempt, 5)


async def test_what_waits_or_comes_after_a_loss_is_dropped(lazy_peer: LazyPeer) -> None:
    outbox = await clogged(lazy_peer)
    outbox.send([b"waits"])
    outbox.fail(bus_down("it was cut"))
    outbox.send([b"late"])
    lazy_peer.writer.close()
    assert await lazy_peer.read(2 * len(LARGE)) == LARGE


async def test_a_write_that_was_due_at_the_loss_is_dropped(lazy_peer: LazyPeer) -> None:
    outbox = Outbox(lazy_peer.writer)
    outbox.send([b"due"])
    outbox.fail(bus_down("it was cut"))
    await turns()
    lazy_peer.writer.close()
    assert await lazy_peer.read(1) == b""


async def test_an_idle_outbox_fails_a_flush_after_the_loss(lazy_peer: LazyPeer) -> None:
    outbox = Outbox(lazy_peer.writer)
    outbox.fail(bus_down("it was cut"))
    outbox.send([b"late"])
    with pytest.raises(Unavailable, match="cut"):
        await asyncio.wait_for(outbox.flush(), 5)


async def test_a_peer_that_vanishes_during_a_write_fails_whoever_waits(lazy_peer: LazyPeer) -> None:
    outbox = await clogged(lazy_peer)
    outbox.send([LARGE, LARGE])
    attempts = [asyncio.create_task(outbox.flush()), asyncio.create_task(outbox.room())]
    await turns()
    lazy_peer.vanish()
    for attempt in attempts:
        with pytest.raises(Unavailable, match="lost"):
            await asyncio.wait_for(attempt, 5)


async def test_a_peer_that_vanished_before_the_write_fails_the_flush(lazy_peer: LazyPeer) -> None:
    outbox = Outbox(lazy_peer.writer)
    lazy_peer.vanish()
    outbox.send([b"to nobody"])
    with pytest.raises(Unavailable, match="lost"):
        await asyncio.wait_for(outbox.flush(), 5)
