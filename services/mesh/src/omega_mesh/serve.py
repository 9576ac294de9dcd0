"""Entry points of the command ``om``: ``om up`` (embedded mesh until interrupted) and ``om serve`` (one service)."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable

import uvloop

from omega_mesh.catalog import entry
from omega_mesh.embedded import run_embedded, worker_auth
from omega_mesh.home import Credentials, Home
from omegakit.logs import configure_logs
from omegakit.server import run_service
from omegakit.settings import LogSettings
from omegaproto.errors import Conflict


def serve(name: str) -> None:
    """Run one service as this process until SIGTERM. Raises BadRequest when there is no such service."""
    service = entry(name)
    run_service(service.create, service.settings(), name)


def worker_environment(mesh_secret: str) -> dict[str, str]:
    """Give the settings that a worker gets instead of the mesh secret, as environment variables."""
    return {f"OMEGA_AUTH__{name.upper()}": value for name, value in worker_auth(mesh_secret).items()}


def up(home: Home, *, host: str, port: int, slots: int, started: Callable[[Credentials], None]) -> None:
    """Run the mesh of `home` until SIGTERM or SIGINT; calls `started` once it is ready.

    Raises Conflict when another process runs the mesh of this folder.
    """
    lock = home.acquire()
    if lock is None:
        found = home.announced()
        raise Conflict(
            f"A mesh runs over {home.folder} already{f', at {found.url}' if found else ''}.",
            action="Use that one, end it, or set OMEGA_HOME to another folder.",
        )
    with lock:
        configure_logs(LogSettings(file=home.log_file))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signalled(home, host, port, slots, started))


async def _until_signalled(
    home: Home, host: str, port: int, slots: int, started: Callable[[Credentials], None]
) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with run_embedded(home, host=host, port=port, slots=slots) as credentials:
        started(credentials)
        sys.stdout.flush()
        await ended.wait()
