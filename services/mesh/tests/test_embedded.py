"""The embedded mesh on its thread: it starts, answers, ends, and its folder keeps what was put."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from omega_mesh.attach import answers
from omega_mesh.embedded import EmbeddedMesh, embedded_settings
from omega_mesh.home import Credentials, Home
from omegamesh.client import Omega, setup


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "omega-mesh"]


def user(credentials: Credentials) -> Omega:
    return setup(credentials.userid, credentials.apikey, credentials.url)


@pytest.fixture
def folder_of_blobs_is_a_file(home: Home) -> Home:
    """A folder in which the mesh cannot start: where its blobs should lie is a file."""
    (home.folder / "blobs").write_text("in the way", encoding="utf-8")
    return home


@pytest.fixture
def document_store_is_garbage(home: Home) -> Home:
    """A folder in which the mesh cannot start: its SQLite file is none."""
    (home.folder / "mesh.sqlite3").write_bytes(b"not a database" * 1000)
    return home


@pytest.fixture
def port_taken() -> Iterator[int]:
    """A port of this machine at which somebody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


def test_it_answers_until_it_is_stopped_and_its_data_outlives_it(home: Home) -> None:
    mesh = EmbeddedMesh(home, slots=1)
    credentials = mesh.start()
    try:
        assert threads() == ["omega-mesh"]
        assert home.announced() == credentials
        assert answers(credentials.url)
        with closing(user(credentials)) as om:
            om.datasets.put({"a": 1}, "kept")
    finally:
        mesh.stop()
    assert (threads(), home.announced(), answers(credentials.url)) == ([], None, False)
    mesh.stop()

    again = EmbeddedMesh(home, slots=1)
    try:
        with closing(user(again.start())) as om:
            assert om.datasets.get("kept") == [{"a": 1}]
    finally:
        again.stop()
    assert not list((home.folder / "sockets").iterdir())


@pytest.mark.parametrize("reason", ["folder_of_blobs_is_a_file", "document_store_is_garbage"])
def test_a_failed_start_raises_and_leaves_no_thread(request: pytest.FixtureRequest, reason: str) -> None:
    home: Home = request.getfixturevalue(reason)
    with pytest.raises(Exception, match=r"blobs|database"):
        EmbeddedMesh(home).start()
    assert threads() == []
    assert home.announced() is None


def test_a_port_that_is_taken_leaves_nothing_behind(home: Home, port_taken: int) -> None:
    with pytest.raises(OSError, match="in use"):
        EmbeddedMesh(home, port=port_taken).start()
    assert threads() == []
    assert not list((home.folder / "sockets").iterdir())


def test_a_mesh_can_be_stopped_while_its_thread_is_on_its_last_steps(home: Home) -> None:
    loop_closed, go_on = threading.Event(), threading.Event()

    class Lingering(EmbeddedMesh):
        def _run(self) -> None:
            super()._run()
            loop_closed.set()
            go_on.wait()

    mesh = Lingering(home)
    mesh.start()
    mesh._loop.call_soon_threadsafe(mesh._ended.set)
    loop_closed.wait()
    threading.Timer(0.1, go_on.set).start()
    mesh.stop()
    assert threads() == []


def test_a_mesh_that_was_never_started_can_be_stopped(home: Home) -> None:
    EmbeddedMesh(home).stop()
    assert threads() == []


def test_only_the_worker_lacks_the_mesh_secret(home: Home) -> None:
    chosen = embedded_settings(home, host="127.0.0.1", port=0, slots=3)
    secret = home.secrets()["secret"]
    assert [name for name, settings in chosen.items() if secret not in json.dumps(settings, default=str)] == ["worker"]
    assert chosen["worker"]["worker"]["slots"] == 3
