"""A real mongod as a replica set of one node, so that transactions and w:majority are as in production."""

import os
from typing import Any

from omegakit.testing.servers import binaries
from omegakit.testing.servers.process import ServerProcess, free_port
from omegakit.testing.servers.server import Server

_OPTIONS = ["--bind_ip", "127.0.0.1", "--nounixsocket", "--replSet", "rs0", "--quiet"]
_OPTIONS += ["--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64"]
# Expired documents go within a second, not within the minute that a server in production takes.
_OPTIONS += ["--setParameter", "ttlMonitorSleepSecs=1", "--setParameter", "diagnosticDataCollectionEnabled=false"]


class MongoServer(Server):
    """MongoDB on a free port; started when it is a writable primary."""

    name = "mongo"
    start_seconds = 60

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    @property
    def url(self) -> str:
        """The replica set's address without a database."""
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet=rs0"

    def _launch(self) -> ServerProcess:
        program, extra = binaries.mongod()
        data = self.folder / "db"
        data.mkdir(exist_ok=True)
        return ServerProcess(
            [program, "--dbpath", str(data), "--port", str(self.port), *_OPTIONS],
            folder=self.folder,
            log=self.folder / "mongod.log",
            env={**os.environ, **extra},
        )

    def _serves(self) -> bool:
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
