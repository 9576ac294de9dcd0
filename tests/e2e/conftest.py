"""The mesh as its users see it, run twice: embedded, and as five processes over real RabbitMQ and real MongoDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from omega_mesh.embedded import EmbeddedMesh
from omega_mesh.home import Credentials, Home
from omega_mesh.processes import MeshProcesses
from omegakit.testing.urls import with_database
from omegamesh.client import Omega, setup
from omegaproto.ids import new_id


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is end to end."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def embedded_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Credentials]:
    """All five services in this process."""
    mesh = EmbeddedMesh(Home(tmp_path_factory.mktemp("home")))
    yield mesh.start()
    mesh.stop()


@pytest.fixture(scope="session")
def separate_mesh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Credentials]:
    """Five processes over RabbitMQ and MongoDB."""
    mongo = with_database(request.getfixturevalue("mongo_server").url, f"e2e_{new_id()[-8:]}")
    broker = request.getfixturevalue("rabbit_server").url
    with MeshProcesses(tmp_path_factory.mktemp("processes"), mongo, broker) as mesh:
        yield mesh.credentials


@pytest.fixture(scope="session", params=["embedded", pytest.param("separate", marks=pytest.mark.servers)])
def mesh(request: pytest.FixtureRequest) -> Credentials:
    """A running mesh of each kind: where it listens and how to log in."""
    found: Credentials = request.getfixturevalue(f"{request.param}_mesh")
    return found


@pytest.fixture
def om(mesh: Credentials) -> Iterator[Omega]:
    """The SDK in a bucket of its own, as the administrator."""
    made = setup(api_url=mesh.url, userid=mesh.userid, apikey=mesh.apikey, bucket=f"b{new_id()[-10:]}")
    yield made
    made.close()


@pytest.fixture
def http(mesh: Credentials, om: Omega) -> Iterator[httpx2.Client]:
    """Plain HTTP with the administrator's key, in the bucket of `om`."""
    headers = {"Authorization": f"ApiKey {mesh.userid}:{mesh.apikey}", "Bucket": om.client.config.bucket}
    with httpx2.Client(base_url=mesh.url, headers=headers, timeout=60, trust_env=False) as client:
        yield client
