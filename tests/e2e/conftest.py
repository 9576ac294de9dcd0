"""The mesh as its users see it, run twice: embedded, and as five processes over real RabbitMQ and real MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from pymongo import MongoClient

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
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The folder of the embedded mesh."""
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def embedded_mesh(home: Home) -> Iterator[Credentials]:
    """All five services in this process."""
    mesh = EmbeddedMesh(home)
    yield mesh.start()
    mesh.stop()


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest) -> str:
    """The address of the database of the five processes."""
    return with_database(request.getfixturevalue("mongo_server").url, f"e2e_{new_id()[-8:]}")


@pytest.fixture(scope="session")
def separate_mesh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Credentials]:
    """Five processes over RabbitMQ and MongoDB."""
    mongo = request.getfixturevalue("database")
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


@pytest.fixture
def corrupt(request: pytest.FixtureRequest, mesh: Credentials, home: Home) -> Callable[[str], None]:
    """Flips a bit near the end of a stored blob, behind the mesh's back."""
    if mesh is not request.getfixturevalue("embedded_mesh" if "embedded" in request.node.name else "separate_mesh"):
        raise AssertionError("the blob would be looked for in the wrong store")
    if "embedded" in request.node.name:
        return lambda blob_id: flip_in_file(home, blob_id)
    return lambda blob_id: flip_in_gridfs(request.getfixturevalue("database"), blob_id)


def flip_in_file(home: Home, blob_id: str) -> None:
    (path,) = (home.folder / "blobs").rglob(f"*{blob_id[4:]}*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if len(content) > 10_000 else 10] ^= 1  # not in what describes the blob, at its end
    path.write_bytes(content)


def flip_in_gridfs(url: str, blob_id: str) -> None:
    with MongoClient(url) as client:
        database = client.get_default_database()
        file = database["fs.files"].find_one({"filename": blob_id})
        assert file is not None
        chunks = database["fs.chunks"]
        *_, last = chunks.find({"files_id": file["_id"]}).sort("n", 1)
        changed = bytearray(last["data"])
        changed[len(changed) // 2] ^= 1
        chunks.update_one({"_id": last["_id"]}, {"$set": {"data": bytes(changed)}})
