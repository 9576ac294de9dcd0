"""The five services as five processes over a given RabbitMQ and MongoDB: what pods do, on one machine.

For tests and benchmarks; platform teams use the Helm chart. Each process can be killed and started again by name.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from omega_mesh.catalog import NAMES
from omega_mesh.home import Credentials
from omega_mesh.serve import worker_environment
from omegaproto.errors import Unavailable

_READY_SECONDS = 60.0
_STOP_SECONDS = 40.0


class MeshProcesses:
    """Five processes with their settings, on free ports of this machine. Use it as a context manager."""

    def __init__(
        self,
        folder: Path,
        mongo_url: str,
        amqp_url: str,
        *,
        labels: str = "cpu",
        slots: int = 2,
        log_level: str = "info",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare; `settings` are further environment variables of every service."""
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = {name: free_port() for name in NAMES}
        self._apikey = f"omk_{secrets.token_hex(8)}_{secrets.token_urlsafe(32)}"
        secret, pepper = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
        common = self._common(amqp_url, mongo_url, log_level) | dict(settings or {})
        trusted = {"OMEGA_AUTH__SECRET": secret, "OMEGA_AUTH__PEPPER": pepper}
        untrusted = worker_environment(secret) | {
            "OMEGA_WORKER__GATEWAY_URL": self.url,
            "OMEGA_WORKER__LABELS": labels,
            "OMEGA_WORKER__SLOTS": str(slots),
        }
        self._environments = {
            name: common | {"OMEGA_HTTP__PORT": str(port)} | (untrusted if name == "worker" else trusted)
            for name, port in self._ports.items()
        }

    @property
    def url(self) -> str:
        """Give the gateway's address."""
        return f"http://127.0.0.1:{self._ports['gateway']}"

    @property
    def credentials(self) -> Credentials:
        """Give where the mesh listens and how to log in as its administrator."""
        return Credentials(self.url, "admin", self._apikey)

    def _common(self, amqp_url: str, mongo_url: str, log_level: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("OMEGA_")}
        return kept | {
            "OMEGA_BUS__URL": amqp_url,
            "OMEGA_DOCS__URL": mongo_url,
            "OMEGA_BLOBS__URL": mongo_url,
            "OMEGA_LOG__LEVEL": log_level,
            "OMEGA_METADATA__ADMIN_APIKEY": self._apikey,
            "OMEGA_GATEWAY__BLOBSTORE_URL": f"http://127.0.0.1:{self._ports['blobstore']}",
        }

    def start(self, *names: str) -> None:
        """Start the named services (all when none is named) and return when they are ready.

        Raises Unavailable when one does not get ready in time; its log is in the folder.
        """
        chosen = names or NAMES
        for name in chosen:
            self._spawn(name)
        self.await_ready(*chosen)

    def await_ready(self, *names: str) -> None:
        """Return when the named services (all when none is named) are ready. Raises Unavailable after a minute."""
        for name in names or NAMES:
            self._await_ready(name)

    def _spawn(self, name: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", f"omega_{name}"]
            environment = self._environments[name]
            self._processes[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)  # noqa: S603

    def _await_ready(self, name: str) -> None:
        url = f"http://127.0.0.1:{self._ports[name]}/readyz"
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline and self._processes[name].poll() is None:
            try:
                with urllib.request.urlopen(url, timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        log = (self._folder / f"{name}.log").read_text(errors="replace")[-3000:]
        raise Unavailable(f"{name} did not get ready.", action=f"Its log ends with:\n{log}")

    def pid(self, name: str) -> int:
        """Give the process id of a service."""
        return self._processes[name].pid

    def kill(self, name: str) -> None:
        """Kill a service as a power cut would (SIGKILL)."""
        self._processes[name].kill()
        self._processes[name].wait()

    def stop(self, *names: str) -> None:
        """Let the named services (all when none is named) drain and end."""
        chosen = [self._processes[name] for name in reversed(names or NAMES) if name in self._processes]
        for process in chosen:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in chosen:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> MeshProcesses:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()


def free_port() -> int:
    """Give a TCP port that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
