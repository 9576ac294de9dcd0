"""With no configuration: attach to the mesh that runs over the user's folder, or start one in this process."""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import IO

from omega_mesh.home import Credentials, Home
from omegaproto.errors import Unavailable

_PROBE_SECONDS = 2.0
_PATIENCE_SECONDS = 10.0
_PAUSE_SECONDS = 0.1


class LocalMesh:
    """What this process holds when it runs a mesh itself: the lock of the folder, and the mesh on its thread."""

    def __init__(self, home: Home, lock: IO[str]) -> None:
        _refuse_at_exit()
        from omega_mesh.embedded import EmbeddedMesh
        from omegakit.logs import configure_logs
        from omegakit.settings import LogSettings

        configure_logs(LogSettings(file=home.log_file), own_process=False)
        self._lock = lock
        self._mesh = EmbeddedMesh(home)
        self.credentials = self._mesh.start()
        _at_exit(self.stop)

    def stop(self) -> None:
        """End the mesh and give the folder free; nothing happens the second time."""
        self._mesh.stop()
        self._lock.close()


def _at_exit(stop: Callable[[], None]) -> None:
    """Have `stop` called when the interpreter ends, while thread pools still work: atexit comes after their end."""
    threading._register_atexit(stop)  # type: ignore[attr-defined]


def _refuse_at_exit() -> None:
    if not threading.main_thread().is_alive():
        raise Unavailable(
            "This process is ending, and its embedded mesh has ended.", action="Make the call earlier, or run: om up"
        )


def attach_or_start(
    home: Home | None = None, *, patience: float = _PATIENCE_SECONDS, pause: float = _PAUSE_SECONDS
) -> tuple[Credentials, LocalMesh | None]:
    """Give how to reach the user's mesh, and the mesh itself when this process started it.

    Says in one line on standard error that it started one. A mesh of another process that does not answer yet is asked
    every `pause` seconds for `patience` seconds, and once at least.

    Raises:
        Unavailable: another process holds the folder, but its mesh does not answer.
    """
    home = home or Home()
    deadline = time.monotonic() + patience
    while True:
        lock = home.acquire()
        if lock is not None:
            local = _start(home, lock)
            print(f"omegamesh: started an embedded mesh for this process, data in {home.folder}", file=sys.stderr)
            return local.credentials, local
        found = home.announced()
        if found is not None and answers(found.url):
            return found, None
        if time.monotonic() >= deadline:
            break
        time.sleep(pause)
    raise Unavailable(
        f"Another process holds {home.folder}, but its mesh does not answer.",
        action="End that process, or set OMEGA_HOME to another folder.",
    )


def _start(home: Home, lock: IO[str]) -> LocalMesh:
    try:
        return LocalMesh(home, lock)
    except BaseException:
        lock.close()
        raise


def answers(url: str) -> bool:
    """Say whether a mesh answers at `url`."""
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=_PROBE_SECONDS) as reply:  # noqa: S310 - our own address
            found = json.load(reply)
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return isinstance(found, dict) and found.get("service") == "gateway"
