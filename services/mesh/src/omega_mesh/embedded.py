"""The embedded mesh: the five services on one event loop, with the HTTP, serialisation and authentication of pods.

`EmbeddedMesh` runs on a thread of its own, for notebooks and scripts; `run_embedded` is the coroutine behind it, which
``om up`` awaits as its main job.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import uvloop
from starlette.types import ASGIApp

from omega_mesh.catalog import NAMES, entry
from omega_mesh.home import Credentials, Home
from omegakit.bus.connect import open_bus
from omegakit.bus.memory import MemoryBroker
from omegakit.server import HttpServer, hosted
from omegakit.service import make_kit
from omegakit.settings import ServiceSettings
from omegakit.tokens import mesh_public_key, worker_secret

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


def embedded_settings(home: Home, *, host: str, port: int, slots: int) -> dict[str, dict[str, Any]]:
    """Give the settings of each service as they differ from the defaults in an embedded mesh."""
    secrets, (userid, apikey) = home.secrets(), home.administrator()
    sockets = home.folder / "sockets"
    sockets.mkdir(mode=0o700, exist_ok=True)
    common: dict[str, Any] = {"bus": {"url": "memory://"}, "auth": secrets}
    docs = {"docs": {"url": home.docs_url}}
    return {
        "metadata": common
        | docs
        | {"http": {"uds": sockets / "metadata"}, "metadata": {"admin_userid": userid, "admin_apikey": apikey}},
        "blobstore": common | docs | {"http": {"uds": sockets / "blobstore"}, "blobs": {"url": home.blobs_url}},
        "scheduler": common | docs | {"http": {"uds": sockets / "scheduler"}},
        "gateway": common
        | {
            "http": {"host": host, "port": port},
            "gateway": {"blobstore_url": f"unix://{sockets / 'blobstore'}"},
        },
        "worker": common
        | {"auth": worker_auth(secrets["secret"]), "http": {"uds": sockets / "worker"}, "worker": {"slots": slots}},
    }


def worker_auth(mesh_secret: str) -> dict[str, str]:
    """Give what a worker gets instead of the mesh secret: it can claim tasks, and speak for nobody."""
    return {"worker_secret": worker_secret(mesh_secret), "mesh_public_key": mesh_public_key(mesh_secret)}


@asynccontextmanager
async def run_embedded(
    home: Home, *, host: str = "127.0.0.1", port: int = 0, slots: int = 2
) -> AsyncIterator[Credentials]:
    """Run the mesh of `home` while the block runs; gives where it listens and how to log in.

    The caller holds the folder's lock. `slots` is how many tasks run at once.
    """
    chosen = embedded_settings(home, host=host, port=port, slots=slots)
    broker, peers = MemoryBroker(), dict[str, ASGIApp]()
    async with AsyncExitStack() as stack:
        servers: dict[str, HttpServer] = {}
        for name in (*(name for name in NAMES if name != "worker"), "worker"):
            if name == "worker":
                chosen[name]["worker"]["gateway_url"] = servers["gateway"].url
            servers[name] = await _start(stack, broker, peers, name, chosen[name])
        userid, apikey = home.administrator()
        home.announce(servers["gateway"].url)
        stack.callback(home.withdraw)
        yield Credentials(servers["gateway"].url, userid, apikey)


async def _start(
    stack: AsyncExitStack, broker: MemoryBroker, peers: dict[str, ASGIApp], name: str, chosen: dict[str, Any]
) -> HttpServer:
    service = entry(name)
    settings: ServiceSettings = service.settings(**chosen)
    bus = open_bus(settings.bus.url, broker)
    await bus.start()
    stack.push_async_callback(bus.close)
    made = service.create(make_kit(name, settings, bus, peers=peers), settings)
    server = await stack.enter_async_context(hosted(made, settings.http))
    peers[server.url] = made.asgi
    return server


class EmbeddedMesh:
    """The mesh of a folder on a thread of its own, for the life of this process or until `stop`."""

    def __init__(self, home: Home, *, host: str = "127.0.0.1", port: int = 0, slots: int = 2) -> None:
        self._arguments: dict[str, Any] = {"host": host, "port": port, "slots": slots}
        self._home = home
        self._started: Future[Credentials] = Future()
        self._ended: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="omega-mesh", daemon=True)

    def start(self) -> Credentials:
        """Start, and give where the mesh listens once every service is ready.

        Raises what went wrong; the thread has ended then.
        """
        self._thread.start()
        try:
            return self._started.result(timeout=_START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Drain and end the mesh; returns when it has ended. Nothing happens when it has not been started."""
        if self._thread.ident is None:
            return
        if self._loop is not None and self._ended is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop is closed: the thread is on its last steps
                self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(timeout=_STOP_SECONDS)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._ended, self._loop = asyncio.Event(), asyncio.get_running_loop()
        try:
            async with run_embedded(self._home, **self._arguments) as credentials:
                self._started.set_result(credentials)
                await self._ended.wait()
        except Exception as error:
            if self._started.done():
                raise
            self._started.set_exception(error)
