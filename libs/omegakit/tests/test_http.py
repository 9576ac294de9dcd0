"""HTTP between services: the same over TCP, a Unix socket and within the process, and what a broken transfer is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog
from starlette.types import Message, Receive, Send

from omegakit.http import AsyncClient, TransportError, open_client
from omegakit.server import HttpServer
from omegakit.settings import HttpSettings

pytestmark = pytest.mark.usefixtures("no_leaks")

MIB = 1024 * 1024


class App:
    """An application that does what the path says, and remembers what it saw."""

    def __init__(self) -> None:
        self.scope: Message = {}
        self.received = 0
        self.sent = 0
        self.disconnected = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.scope = scope
        await getattr(self, scope["path"].strip("/"))(receive, send)

    async def echo(self, receive: Receive, send: Send) -> None:
        await self._begin(send, 201)
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnected.set()
                return
            self.received += len(message["body"])
            await send({"type": "http.response.body", "body": message["body"], "more_body": True})
            if not message.get("more_body"):
                break
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def swallow(self, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnected.set()
                return
            self.received += len(message["body"])
            more = message.get("more_body", False)
        await self._begin(send)
        await send({"type": "http.response.body", "body": str(self.received).encode(), "more_body": False})

    async def large(self, _receive: Receive, send: Send) -> None:
        await self._begin(send)
        for _ in range(64):
            await send({"type": "http.response.body", "body": b"x" * MIB, "more_body": True})
            self.sent += MIB
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def cut(self, _receive: Receive, send: Send) -> None:
        await self._begin(send)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("it broke")

    async def broken(self, _receive: Receive, _send: Send) -> None:
        raise RuntimeError("it broke at once")

    async def late(self, _receive: Receive, send: Send) -> None:
        await self.go_on.wait()
        await self._begin(send)
        await send({"type": "http.response.body", "body": b"late", "more_body": False})

    async def stalled(self, _receive: Receive, send: Send) -> None:
        await self._begin(send)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await self.go_on.wait()

    async def watching(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._begin(send)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        self.disconnected.set()

    @staticmethod
    async def _begin(send: Send, status: int = 200) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"x-kind", b"test")]})


class Home:
    """An application, and clients that reach it in one of three ways."""

    def __init__(self, app: App, url: str, peers: dict[str, Any], stack: AsyncExitStack) -> None:
        self.app, self._url, self._peers, self._stack = app, url, peers, stack

    async def client(self, **options: Any) -> AsyncClient:
        client = open_client(self._url, peers=self._peers, **options)
        return await self._stack.enter_async_context(client)


@pytest_asyncio.fixture(params=["tcp", "unix", "process"])
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Home]:
    """The three ways in turn."""
    app, way = App(), request.param
    with structlog.testing.capture_logs():
        async with AsyncExitStack() as stack:
            if way == "process":
                yield Home(app, "unix:///somewhere", {"unix:///somewhere": app}, stack)
                app.go_on.set()
                return
            socket = tmp_path / "s" if way == "unix" else None
            server = HttpServer(app, HttpSettings(port=0, uds=socket, drain_seconds=0.2))
            await server.start()
            stack.push_async_callback(server.stop)
            yield Home(app, server.url, {}, stack)
            app.go_on.set()


async def test_an_exchange(home: Home) -> None:
    client = await home.client()
    assert (await client.get("/swallow")).text == "0"
    answer = await client.post("/echo", params={"a": "ü b"}, content=b"abc", headers={"X-One": "1"})
    assert (answer.status_code, answer.content, answer.headers["x-kind"]) == (201, b"abc", "test")
    scope = home.app.scope
    assert (scope["method"], scope["path"], scope["raw_path"]) == ("POST", "/echo", b"/echo")
    assert scope["query_string"] == b"a=%C3%BC%20b" or scope["query_string"] == b"a=%C3%BC+b"
    assert (b"x-one", b"1") in scope["headers"]


async def test_a_body_without_a_length_streams_up(home: Home) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 100_000

    client = await home.client()
    assert (await client.post("/swallow", content=pieces())).text == "4000000"


async def test_what_nobody_reads_is_not_sent_on(home: Home) -> None:
    client = await home.client()
    async with client.stream("GET", "/large") as answer:
        stream = answer.aiter_raw()
        await anext(stream)
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert home.app.sent < 16 * MIB
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator


@pytest.mark.parametrize("path", ["/cut", "/broken"])
async def test_an_application_that_breaks_never_looks_whole(home: Home, path: str) -> None:
    client = await home.client()
    try:
        answer = await client.get(path)
    except TransportError:
        return
    assert (path, answer.status_code) == ("/broken", 500)


async def test_an_upload_that_breaks_off_is_told_to_both_sides(home: Home) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        raise ValueError("the client went away")

    client = await home.client()
    with pytest.raises(ValueError, match="went away"):
        await client.post("/swallow", content=pieces())
    await asyncio.wait_for(home.app.disconnected.wait(), 5)
    assert home.app.received in {0, 1000}


async def test_who_goes_away_is_noticed(home: Home) -> None:
    client = await home.client()
    async with client.stream("GET", "/watching") as answer:
        assert await anext(answer.aiter_raw()) == b"half"
    await asyncio.wait_for(home.app.disconnected.wait(), 5)


@pytest.mark.parametrize("path", ["/late", "/stalled"])
async def test_nobody_waits_for_ever(home: Home, path: str) -> None:
    client = await home.client(timeout=0.2)
    with pytest.raises(TransportError):
        await client.get(path)
    home.app.go_on.set()


async def test_requests_under_way_are_bounded(home: Home) -> None:
    client = await home.client(timeout=0.3, connections=1)
    async with client.stream("GET", "/stalled"):
        with pytest.raises(TransportError):
            await client.get("/late")
    home.app.go_on.set()
    assert (await client.get("/late")).content == b"late"


async def test_a_caller_that_is_cancelled_frees_its_place(home: Home) -> None:
    client = await home.client(timeout=5, connections=1)
    calling = asyncio.create_task(client.get("/late"))
    while not home.app.scope:
        await asyncio.sleep(0.005)
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    home.app.go_on.set()
    assert (await client.get("/late")).content == b"late"


async def test_large_reads_come_in_large_pieces(home: Home) -> None:
    client = await home.client()
    sizes = []
    async with client.stream("GET", "/large") as answer:
        async for piece in answer.aiter_raw():
            sizes.append(len(piece))
    assert sum(sizes) == 64 * MIB
    assert max(sizes) > 64 * 1024
