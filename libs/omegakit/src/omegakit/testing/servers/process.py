"""One server process that cannot outlive the tests: started, killed and stopped by pid. Knows no particular server."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

# Below the kernel's ephemeral range (32768 and up): no outgoing connection takes a port between kill and restart.
_FIRST_PORT, _PORTS = 18_000, 14_000
# Kills the server's process group and removes its folder when the pipe closes: however the tests end, nothing stays.
_GUARDIAN = 'read -r _; kill -9 -- "-$1" 2>/dev/null; sleep 1; rm -rf -- "$2"'


class ServerFailed(RuntimeError):
    """A server did not start, or ended when it should run; the message ends with the last lines of its log."""


def free_port() -> int:
    """Give a TCP port on 127.0.0.1 that nobody listens on and that no outgoing connection will be given."""
    while True:
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def new_folder(prefix: str) -> Path:
    """Give a fresh folder under the temporary directory; the server that asked for it removes it."""
    return Path(tempfile.mkdtemp(prefix=f"omega-{prefix}-"))


class ServerProcess:
    """A server in a process group of its own, its output in a log file, ended with whoever started it."""

    def __init__(self, argv: Sequence[str], *, folder: Path, log: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        self._name = Path(argv[0]).name
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the tests' own command line
                argv,
                env=env,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._guardian = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _GUARDIAN, "omega-guardian", str(self.pid), str(folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The server's process id, which is also its process group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Return when `ready()` is true; raises ServerFailed when the process ends first or `seconds` pass."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.alive:
                raise ServerFailed(f"{self._name} ended with status {self._process.returncode}:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self._name} was not ready after {seconds:.0f} s:\n{self._log_tail()}")
            time.sleep(0.05)

    def kill9(self) -> None:
        """End the process and its children at once, as a crash does; no error when they have ended."""
        if self._guardian.returncode is not None:
            return  # ended before: the id may be another process's by now
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._guardian.kill()
        self._guardian.communicate()

    def terminate(self, *, seconds: float = 30) -> None:
        """Ask the process to stop, wait for up to `seconds`, then kill what is left of its group."""
        if self.alive:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self.kill9()

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


def remove_folder(folder: Path) -> None:
    """Remove a server's folder with all its data; no error when it is gone."""
    shutil.rmtree(folder, ignore_errors=True)
