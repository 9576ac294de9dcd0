"""Five processes over servers of their own, all of which may be killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from omega_mesh.processes import MeshProcesses
from omegakit.testing.servers import MongoServer, RabbitServer
from omegakit.testing.urls import with_database
from omegamesh.client import Omega, setup

LEASE_SECONDS = 6


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here kills something."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.chaos)
            item.add_marker(pytest.mark.servers)


@dataclass
class Victim:
    """A mesh and its servers, to be killed piece by piece."""

    mesh: MeshProcesses
    mongo: MongoServer
    rabbit: RabbitServer

    def client(self, bucket: str) -> Omega:
        found = self.mesh.credentials
        return setup(api_url=found.url, userid=found.userid, apikey=found.apikey, bucket=bucket)

    def kill_and_restart(self, part: str) -> None:
        """kill -9, then start again and wait until everything is ready."""
        server: Any = {"mongo": self.mongo, "rabbit": self.rabbit}.get(part)
        if server is not None:
            server.kill9()
            server.restart()
        else:
            self.mesh.kill(part)
            self.mesh.start(part)
        self.mesh.await_ready()


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """A running mesh with short leases."""
    settings = {
        "OMEGA_SCHEDULER__LEASE_SECONDS": str(LEASE_SECONDS),
        "OMEGA_SCHEDULER__RING_AGAIN_SECONDS": "3",
        "OMEGA_SCHEDULER__SWEEP_SECONDS": "1",
    }
    with MongoServer() as mongo, RabbitServer() as rabbit:
        folder = tmp_path_factory.mktemp("chaos")
        with MeshProcesses(folder, with_database(mongo.url, "chaos"), rabbit.url, settings=settings) as mesh:
            # A quorum queue that was declared seconds before a kill can be left without a leader on one node.
            rabbit.restart_cleanly()
            mesh.await_ready()
            yield Victim(mesh, mongo, rabbit)
