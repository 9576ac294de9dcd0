"""Serving: an ASGI application on a TCP port or a Unix socket, and the life of a service as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

import uvicorn
from starlette.types import ASGIApp

from omegakit.bus.connect import open_bus
from omegakit.logs import configure_logs
from omegakit.service import Kit, Service, make_kit
from omegakit.settings import HttpSettings, ServiceSettings

_COLLECT_AFTER = 10_000, 20, 20
"""Objects more than were let go of before the young are looked through, and how many times before the old are."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's mallopt(3)."""
_KEPT_FREE = 64 * 1024 * 1024
_LARGEST_KEPT = 4 * 1024 * 1024

SettingsT = TypeVar("SettingsT", bound=ServiceSettings)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: several servers can share a process, and the process decides."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """One listening socket with an application behind it."""

    def __init__(self, app: ASGIApp, settings: HttpSettings) -> None:
        self._settings = settings
        self._socket = _bind(settings)
        config = uvicorn.Config(
            app,
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, int(settings.drain_seconds)),
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Give the address that clients use: ``http://host:port`` or ``unix:///path``."""
        if self._settings.uds is not None:
            return f"unix://{self._settings.uds}"
        host, port = self._socket.getsockname()[:2]
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104

    async def start(self) -> None:
        """Begin to serve."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({listening, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            listening.cancel()
            await self._task

    async def stop(self) -> None:
        """Take no more connections, let running requests end within the drain time, and close."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()
        if self._settings.uds is not None:
            self._settings.uds.unlink(missing_ok=True)


def _bind(settings: HttpSettings) -> socket.socket:
    tcp = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(tcp if settings.uds is None else socket.AF_UNIX)
    try:
        if settings.uds is not None:
            settings.uds.unlink(missing_ok=True)
            sock.bind(str(settings.uds))
            settings.uds.chmod(0o600)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((settings.host, settings.port))
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


@asynccontextmanager
async def hosted(service: Service, http: HttpSettings) -> AsyncIterator[HttpServer]:
    """Run a service with its HTTP server; on the way out drain first, then stop. A failed start leaves nothing open."""
    server = HttpServer(service.asgi, http)
    try:
        try:
            await service.start()
        except BaseException:
            await server.stop()
            raise
        await server.start()
        try:
            yield server
        finally:
            await service.drain()
            await server.stop()
    finally:
        await service.stop()


async def _serve_until_signalled(factory: Callable[[Kit, SettingsT], Service], settings: SettingsT, name: str) -> None:
    bus = open_bus(settings.bus.url)
    await bus.start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        kit = make_kit(name, settings, bus)
        async with hosted(factory(kit, settings), settings.http) as server:
            settle_heap()
            kit.log.info("started", url=server.url)
            await stop.wait()
            kit.log.info("draining")
    finally:
        await bus.close()


def settle_heap() -> None:
    """Keep what a start left behind out of later garbage collections, and have fewer: they pause the event loop."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def keep_freed_memory() -> None:
    """Have the C library keep up to 64 MiB that were freed, for the next chunks of bytes that pass through.

    By default it gives them back to the kernel at once, and has every page of the next chunk brought in anew, which was
    a third of what relaying a byte cost. Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE)


def run_service(factory: Callable[[Kit, SettingsT], Service], settings: SettingsT, name: str) -> None:
    """Run one service as this process until SIGTERM or SIGINT, then drain and return."""
    configure_logs(settings.log)
    keep_freed_memory()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve_until_signalled(factory, settings, name))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop

    return uvloop.new_event_loop
