"""A real RabbitMQ node with the management API, under whoever runs the tests: no system user, no system folders.

epmd, Erlang's name server, is started beside each node on a port of its own, so that nodes never meet.
"""

import os

from omegakit.testing.servers import binaries
from omegakit.testing.servers.management import BrokerApi
from omegakit.testing.servers.process import ServerProcess, free_port
from omegakit.testing.servers.server import Server


class RabbitServer(Server):
    """RabbitMQ on free ports; started when the management API says that AMQP is served."""

    name = "rabbit"
    start_seconds = 90

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self.api = BrokerApi(f"http://guest:guest@127.0.0.1:{free_port()}")
        self._epmd_port, self._dist_port = free_port(), free_port()
        self._epmd: ServerProcess | None = None

    @property
    def url(self) -> str:
        """The broker's AMQP address, on its default virtual host."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def stop(self) -> None:
        """Stop for good, at once, epmd too, and remove the data; no error when stopped before."""
        self.kill9()
        if self._epmd is not None:
            self._epmd.kill9()
        super().stop()

    def _launch(self) -> ServerProcess:
        program = binaries.rabbitmq_server()
        self._write_config()
        if self._epmd is None:
            epmd = ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
            self._epmd = ServerProcess(epmd, folder=self.folder, log=self.folder / "epmd.log")
        return ServerProcess([program], folder=self.folder, log=self.folder / "rabbitmq.log", env=self._environment())

    def _serves(self) -> bool:
        return self.api.ready()

    def _write_config(self) -> None:
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        (self.folder / "rabbitmq-env.conf").write_text("")
        (self.folder / "rabbitmq.conf").write_text(
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
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.folder / "rabbitmq.pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "config"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
