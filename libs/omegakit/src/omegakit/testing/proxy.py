"""A TCP proxy that breaks connections on command, to put between a client and a real server. Linux, one event loop.

The idea is aio-pika's test suite's: faults are made on the wire, so that client, server and kernel behave as they do
in a real outage.
"""

import asyncio
from types import TracebackType
from typing import Self

from omegakit.testing.servers.process import free_port
from omegakit.testing.urls import address_of, with_address

_CHUNK = 64 * 1024


class TcpProxy:
    """Forwards a port on 127.0.0.1 to the server a URL names: `async with TcpProxy(url) as proxy`, `proxy.url`."""

    def __init__(self, target: str) -> None:
        self.port = free_port()
        self.accepted = 0
        self.forwarded = 0
        self._target = target
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._budget: int | None = None
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """The target's URL with this proxy's address."""
        return with_address(self._target, "127.0.0.1", self.port)

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._sessions)

    def cut(self) -> None:
        """Drop all connections now, both ways; new ones are taken."""
        for writer in self._writers:
            writer.transport.abort()
        for session in self._sessions:
            session.cancel()

    def stall(self) -> None:
        """Forward nothing more, while connections stay open, as a network that swallows packets does."""
        self._flowing.clear()

    def resume(self) -> None:
        """Forward again, beginning with what was held back by `stall()`."""
        self._flowing.set()

    def cut_after(self, n_bytes: int) -> None:
        """Forward exactly `n_bytes` more, counted over both directions, then `cut()` once."""
        self._budget = n_bytes

    def refuse(self) -> None:
        """Refuse new connections, as a server that is down does; open ones stay. `cut()` drops those."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def accept(self) -> None:
        """Take new connections again, on the same port."""
        if self._server is None:
            self._server = await asyncio.start_server(self._on_client, "127.0.0.1", self.port)

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.refuse()
        self.cut()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        session = asyncio.create_task(self._serve(reader, writer), name=f"proxy session {self.accepted}")
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._track(writer)
        upstream: asyncio.StreamWriter | None = None
        try:
            answers, upstream = await asyncio.open_connection(*address_of(self._target))
            self._track(upstream)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, upstream))
                pumps.create_task(self._pump(answers, writer))
        except* OSError:
            pass  # either side closed or is down: the other side learns it by the same means, below
        finally:
            for each in (writer, upstream):
                if each is not None:
                    self._writers.discard(each)
                    each.transport.abort()

    def _track(self, writer: asyncio.StreamWriter) -> None:
        # Drained then means handed to the kernel, so that no later cut loses it.
        writer.transport.set_write_buffer_limits(0)
        self._writers.add(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            await self._flowing.wait()
            allowed = self._spend(len(chunk))
            writer.write(chunk[:allowed])
            await writer.drain()
            self.forwarded += allowed
            if allowed < len(chunk) or self._budget == 0:
                self._budget = None
                self.cut()
        if writer.can_write_eof():
            writer.write_eof()

    def _spend(self, n_bytes: int) -> int:
        if self._budget is None:
            return n_bytes
        allowed = min(n_bytes, self._budget)
        self._budget -= allowed
        return allowed
