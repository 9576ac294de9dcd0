"""A real mongod as a replica set of one node, so that transactions and w:majority are as in production."""

import os
from types import TracebackType
from typing import Any, Self

from omegakit.testing.servers import binaries
from omegakit.testing.servers.process import ServerProcess, free_port, new_folder, remove_folder

_START_SECONDS = 60
_SMALL = ["--replSet", "rs0", "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64", "--quiet"]
_SMALL += ["--setParameter", "ttlMonitorSleepSecs=1", "--setParameter", "diagnosticDataCollectionEnabled=false"]


class MongoServer:
    """MongoDB on a free port with its own folder. Calls block; the data stays until `stop()` or the end of `with`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = new_folder("mongo")
        self._process: ServerProcess | None = None

    @property
    def url(self) -> str:
        """The replica set's address without a database."""
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet=rs0"

    @property
    def pid(self) -> int | None:
        """The running server's process id, None when it is down."""
        return self._process.pid if self._process is not None and self._process.alive else None

    def start(self) -> Self:
        """Start, initiate the replica set on the first start, and return when the node is a writable primary."""
        program, extra = binaries.mongod()
        data = self.folder / "db"
        data.mkdir(exist_ok=True)
        where = ["--dbpath", str(data), "--port", str(self.port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
        self._process = ServerProcess(
            [program, *where, *_SMALL],
            folder=self.folder,
            log=self.folder / "mongod.log",
            env={**os.environ, **extra},
        )
        self._process.wait_until(self._is_primary, seconds=_START_SECONDS)
        return self

    def kill9(self) -> None:
        """Kill the server as a crash does; the data folder and the port are kept for `restart()`."""
        if self._process is not None:
            self._process.kill9()

    def shutdown(self) -> None:
        """Stop the server cleanly; the data folder and the port are kept for `restart()`."""
        if self._process is not None:
            self._process.terminate()

    def restart(self) -> Self:
        """Start again on the same data and port, after `kill9()`, after `shutdown()`, or (cleanly) while running."""
        self.shutdown()
        return self.start()

    def restart_cleanly(self) -> Self:
        """Stop cleanly and start again; the same as `restart()` on a running server."""
        return self.restart()

    def stop(self) -> None:
        """Stop for good, at once, and remove the data."""
        self.kill9()
        remove_folder(self.folder)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def _is_primary(self) -> bool:
        from pymongo import MongoClient
        from pymongo.errors import ConnectionFailure, OperationFailure

        client: MongoClient[dict[str, Any]]
        with MongoClient("127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=500) as client:
            try:
                hello = client.admin.command("hello")
                if hello.get("isreplicaset"):  # up, and not yet told that it is a replica set
                    member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
                    client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
            except (ConnectionFailure, OperationFailure):
                return False
            return bool(hello.get("isWritablePrimary"))
