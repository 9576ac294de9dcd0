"""What every server offers to tests: start, kill, restart, stop. Calls block; async tests use `asyncio.to_thread`."""

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from omegakit.testing.servers.process import ServerProcess, new_folder, remove_folder


class Server(ABC):
    """A real server on a port and in a folder of its own; both are kept until `stop()` or the end of `with`."""

    name: ClassVar[str]
    start_seconds: ClassVar[float]

    def __init__(self) -> None:
        self.folder: Path = new_folder(self.name)
        self._process: ServerProcess | None = None

    @property
    def pid(self) -> int | None:
        """The running server's process id, None when it is down."""
        return self._process.pid if self._process is not None and self._process.alive else None

    def start(self) -> Self:
        """Start; return when clients are served. Raises MissingComponent or ServerFailed, and leaves nothing then."""
        try:
            self._process = self._launch()
            self._process.wait_until(self._serves, seconds=self.start_seconds)
        except BaseException:
            self.stop()
            raise
        return self

    def kill9(self) -> None:
        """Kill the server as a crash does; data and ports are kept for `restart()`.

        RabbitMQ 3.10: a quorum queue declared only seconds ago may have no leader after this (measured, on one node).
        A kill test calls `restart_cleanly()` once after it has declared its queues.
        """
        if self._process is not None:
            self._process.kill9()

    def shutdown(self) -> None:
        """Stop the server cleanly; data and ports are kept for `restart()`."""
        if self._process is not None:
            self._process.terminate()

    def restart(self) -> Self:
        """Start again on the same data and ports: after `kill9()`, after `shutdown()`, or (cleanly) while running."""
        self.shutdown()
        return self.start()

    def restart_cleanly(self) -> Self:
        """Stop cleanly and start again, which also settles freshly declared quorum queues."""
        return self.restart()

    def stop(self) -> None:
        """Stop for good, at once, and remove the data; no error when stopped before."""
        self.kill9()
        remove_folder(self.folder)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @abstractmethod
    def _launch(self) -> ServerProcess:
        """Start the process on this server's data and ports."""

    @abstractmethod
    def _serves(self) -> bool:
        """Whether clients are served now."""
