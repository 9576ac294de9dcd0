"""HTTP between services, over TCP, a Unix socket, or within this process; the one module of the services with httpx2.

Within a process the other service's application is called directly. Bodies stream both ways, a piece at a time, and a
transfer breaks off as it would on a socket: the one side is told that the other one has gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextvars import Context

import httpx2
from httpcore2._async.http11 import AsyncHTTP11Connection
from starlette.types import ASGIApp, Message, Scope

from omegakit.logs import get_logger

# Bytes of one read: 64 KiB as it comes, which makes a relay of large blobs a matter of counting reads. uvloop gives at
# most 256 KiB at a time.
AsyncHTTP11Connection.READ_NUM_BYTES = 1024 * 1024

AsyncClient = httpx2.AsyncClient
Response = httpx2.Response
TransportError = httpx2.TransportError

_CLOSING_SECONDS = 5.0


def open_client(
    url: str, *, timeout: float = 30.0, connections: int = 256, peers: Mapping[str, ASGIApp] | None = None
) -> AsyncClient:
    """Give a client whose paths are relative to `url`: ``http://host:port`` or ``unix:///path/to/socket``.

    `peers` are the applications of services in this process, by the URL at which they listen.
    """
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
    times = httpx2.Timeout(timeout, pool=timeout)
    if peers and url in peers:
        return AsyncClient(transport=AppTransport(peers[url], connections), base_url="http://mesh", timeout=times)
    if url.startswith("unix://"):
        transport = httpx2.AsyncHTTPTransport(uds=url.removeprefix("unix://"), limits=limits)
        return AsyncClient(transport=transport, base_url="http://mesh", timeout=times)
    return AsyncClient(base_url=url, limits=limits, timeout=times, trust_env=False)


class AppTransport(httpx2.AsyncBaseTransport):
    """Calls an application in this process, `most` requests at a time."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._turns = asyncio.Semaphore(most)
        self._running: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Give the answer once it has begun. Raises PoolTimeout, ReadTimeout, ReadError, and what the body raises."""
        times = request.extensions.get("timeout", {})
        try:
            async with asyncio.timeout(times.get("pool")):
                await self._turns.acquire()
        except TimeoutError:
            raise httpx2.PoolTimeout("too many requests are under way", request=request) from None
        exchange = _Exchange(request, times.get("read"))
        task = asyncio.get_running_loop().create_task(exchange.run(self._app), context=Context())
        self._running.add(task)
        task.add_done_callback(self._ended)
        try:
            status, headers = await exchange.begun()
        except BaseException:
            await exchange.aclose()
            raise
        return httpx2.Response(status, headers=headers, stream=exchange, request=request)

    async def aclose(self) -> None:
        """Return when the application has ended what it was asked, or was given time to."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=_CLOSING_SECONDS)
            for task in late:
                task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._turns.release()


class _Exchange(httpx2.AsyncByteStream):
    """One request and its answer: the application's two callables, and the answer's body."""

    def __init__(self, request: httpx2.Request, seconds: float | None) -> None:
        self._request = request
        self._seconds = seconds
        self._body = _pieces_of(request)
        self._read = False
        self._start: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]] = asyncio.get_running_loop().create_future()
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        self._whole = False
        self._gone = asyncio.Event()

    async def begun(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Wait for the answer's status and headers."""
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(self._start)
        except TimeoutError:
            raise httpx2.ReadTimeout("no answer came in time", request=self._request) from None

    async def run(self, app: ASGIApp) -> None:
        """Have the application answer; whatever it raises ends the transfer, as a lost connection would."""
        try:
            await app(self._scope(), self._receive, self._send)
        except Exception:
            get_logger("http").exception("application_failed", path=self._request.url.path)
        finally:
            if not self._start.done():
                self._start.set_exception(httpx2.ReadError("the answer was cut off", request=self._request))
                self._start.exception()
            if not self._whole:
                await self._put(None)

    def _scope(self) -> Scope:
        url = self._request.url
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self._request.method,
            "scheme": "http",
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in self._request.headers.raw],
            "client": None,
            "server": ("mesh", None),
        }

    async def _receive(self) -> Message:
        """Give the next piece of the request's body; when that breaks off, the application hears that we have gone."""
        if self._read:
            await self._gone.wait()
        if self._gone.is_set():
            return {"type": "http.disconnect"}
        try:
            piece = await anext(self._body, None)
        except Exception as error:
            self._gone.set()
            if not self._start.done():
                self._start.set_exception(error)
            return {"type": "http.disconnect"}
        self._read = piece is None
        return {"type": "http.request", "body": piece or b"", "more_body": not self._read}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if not self._start.done():
                self._start.set_result((message["status"], list(message.get("headers", ()))))
            return
        if message.get("body"):
            await self._put(message["body"])
        if not message.get("more_body", False):
            self._whole = True
            await self._put(None)

    async def _put(self, piece: bytes | None) -> None:
        if not self._gone.is_set():
            await self._pieces.put(piece)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the answer's body. Raises ReadError when it breaks off, ReadTimeout when nothing comes."""
        while True:
            try:
                async with asyncio.timeout(self._seconds):
                    piece = await self._pieces.get()
            except TimeoutError:
                raise httpx2.ReadTimeout("the answer stood still", request=self._request) from None
            if piece is None:
                break
            yield piece
        if not self._whole:
            raise httpx2.ReadError("the answer was cut off", request=self._request)

    async def aclose(self) -> None:
        """Go away: the application is told, and nothing that it still sends is kept."""
        self._gone.set()
        while not self._pieces.empty():
            self._pieces.get_nowait()


async def _pieces_of(request: httpx2.Request) -> AsyncIterator[bytes]:
    if not isinstance(request.stream, httpx2.AsyncByteStream):
        raise TypeError("The body of an asynchronous request is an asynchronous stream.")
    async for piece in request.stream:
        yield piece
