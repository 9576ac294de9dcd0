"""The five services as processes, where one does not start; the rest is what the end-to-end tests run on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from omega_mesh.catalog import NAMES
from omega_mesh.processes import MeshProcesses
from omegaproto.errors import Unavailable


@pytest.fixture
def no_such_broker(tmp_path: Path) -> Iterator[MeshProcesses]:
    """Services that are sent to a broker of a kind that does not exist."""
    mesh = MeshProcesses(tmp_path, "mongodb://127.0.0.1:1/x", "nonsense://127.0.0.1")
    yield mesh
    mesh.stop()


def test_a_service_that_does_not_start_shows_the_end_of_its_log(no_such_broker: MeshProcesses) -> None:
    with pytest.raises(Unavailable, match=r"scheduler did not get ready\.(.|\n)*nonsense") as caught:
        no_such_broker.start("scheduler")
    assert len(caught.value.action) < 3100


def test_when_one_does_not_start_none_is_left(no_such_broker: MeshProcesses) -> None:
    with pytest.raises(Unavailable, match="metadata did not get ready"), no_such_broker:
        pytest.fail("it must not get here")
    assert not [name for name in NAMES if psutil.pid_exists(no_such_broker.pid(name))]


def test_each_service_listens_at_a_port_of_its_own(tmp_path: Path) -> None:
    mesh = MeshProcesses(tmp_path, "mongodb://x", "amqp://x")
    assert mesh.credentials.url == mesh.url
    assert mesh.credentials.userid == "admin"
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", int(mesh.url.rpartition(":")[2])))
