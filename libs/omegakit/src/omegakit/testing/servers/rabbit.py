"""A real RabbitMQ node with the management API, under whoever runs the tests: no system user, no system folders.

epmd, Erlang's name server, is started beside each node on a port of its own, so that nodes never meet.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from omegakit.testing.servers import binaries
from omegakit.testing.servers.management import BrokerApi
from omegakit.testing.servers.process import ServerProcess, free_port, new_folder, remove_folder

_START_SECONDS = 90


class RabbitServer:
    """RabbitMQ on free ports with its own folder. Calls block; the data stays until `stop()` or the end of `with`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.api = BrokerApi(f"http://guest:guest@127.0.0.1:{free_port()}")
        self.folder = new_folder("rabbit")
        self._epmd_port, self._dist_port = free_port(), free_port()
        self._epmd: ServerProcess | None = None
        self._node: ServerProcess | None = None

    @property
    def url(self) -> str:
        """The broker's AMQP address, on its default virtual host."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int | None:
        """The Erlang virtual machine's process id, None when it is down."""
        return self._node.pid if self._node is not None and self._node.alive else None

    def start(self) -> Self:
        """Start epmd and the node; return when the management API says that AMQP is served."""
        program = binaries.rabbitmq_server()
        self._write_config()
        if self._epmd is None:
            epmd = ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
            self._epmd = ServerProcess(epmd, folder=self.folder, log=self.folder / "epmd.log")
        self._node = ServerProcess(
            [program], folder=self.folder, log=self.folder / "rabbitmq.log", env=self._environment()
        )
        self._node.wait_until(self.api.ready, seconds=_START_SECONDS)
        return self

    def kill9(self) -> None:
        """Kill the virtual machine as a crash does; data, node name and ports are kept for `restart()`.

        A quorum queue declared only seconds ago may stay without a leader after this (measured on 3.10 with one
        node): a kill test calls `restart_cleanly()` once after it has declared its queues.
        """
        if self._node is not None:
            self._node.kill9()

    def shutdown(self) -> None:
        """Stop the node cleanly; data, node name and ports are kept for `restart()`."""
        if self._node is not None:
            self._node.terminate()

    def restart(self) -> Self:
        """Start again on the same data and ports, after `kill9()`, after `shutdown()`, or (cleanly) while running."""
        self.shutdown()
        return self.start()

    def restart_cleanly(self) -> Self:
        """Stop cleanly and start again, which also settles freshly declared quorum queues."""
        return self.restart()

    def stop(self) -> None:
        """Stop for good and at once, epmd too, and remove the data."""
        self.kill9()
        if self._epmd is not None:
            self._epmd.kill9()
        remove_folder(self.folder)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def _write_config(self) -> None:
        self._file("enabled_plugins").write_text("[rabbitmq_management].\n")
        self._file("rabbitmq-env.conf").write_text("")
        self._file("rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.api.port}\n"
        )

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return inherited | {
            "HOME": str(self.folder),  # the Erlang cookie lives here
            "RUNNING_UNDER_SYSTEMD": "1",  # the script then becomes the virtual machine, so its pid is ours
            "RABBITMQ_NODENAME": f"omega{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(self._file("mnesia")),
            "RABBITMQ_LOG_BASE": str(self._file("log")),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self._file("rabbitmq.pid")),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._file("enabled_plugins")),
            "RABBITMQ_CONFIG_FILE": str(self._file("rabbitmq.conf")),
            "RABBITMQ_CONF_ENV_FILE": str(self._file("rabbitmq-env.conf")),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self._file("config")),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def _file(self, name: str) -> Path:
        return self.folder / name
