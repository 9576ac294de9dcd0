"""With no configuration: the first process runs the mesh of the folder, the next ones attach to it."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import IO, Any

import pytest

from omega_mesh.attach import answers, attach_or_start
from omega_mesh.home import Home
from omegaproto.errors import Unavailable

USE = """
import sys
from omega_mesh.attach import attach_or_start
credentials, local = attach_or_start()
print(credentials.url, "runs it" if local else "attached", flush=True)
sys.stdin.read()
"""
USE_AT_EXIT = """
import atexit
from omega_mesh.attach import attach_or_start
from omega_mesh.home import Home

def use():
    try:
        attach_or_start()
    except Exception as error:
        print(type(error).__name__, error, Home().acquire() is not None)

atexit.register(use)
"""
FAIL_TO_START = """
import threading
from omega_mesh.attach import attach_or_start
from omega_mesh.home import Home

try:
    attach_or_start()
except Exception as error:
    print(type(error).__name__, Home().acquire() is not None, [each.name for each in threading.enumerate()])
"""
STARTED = "omegamesh: started an embedded mesh for this process, data in {}\n"


def first_line(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n").split(" ", 1)


def ended(process: subprocess.Popen[str]) -> str:
    """Let a process end; gives what it said on standard error."""
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return said


@pytest.fixture
def held(home: Home) -> Iterator[IO[str]]:
    """A folder that another process holds without a word."""
    lock = home.acquire()
    assert lock is not None
    with closing(lock):
        yield lock


@pytest.fixture
def somebody_else() -> Iterator[Callable[[bytes], str]]:
    """Programs that listen where a mesh was, and answer everything with the given bytes; gives their addresses."""
    with ExitStack() as stack:

        def listen(reply: bytes) -> str:
            sock = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def talk() -> None:
                with suppress(OSError):
                    while True:
                        peer, _ = sock.accept()
                        with peer:
                            peer.recv(65536)
                            peer.sendall(reply)

            thread = threading.Thread(target=talk)
            thread.start()
            stack.callback(thread.join)
            stack.callback(sock.shutdown, socket.SHUT_RDWR)
            return f"http://127.0.0.1:{sock.getsockname()[1]}"

        yield listen


def reply(body: Any) -> bytes:
    content = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(content), content)


def test_the_first_starts_a_mesh_the_next_attaches_and_the_third_takes_over(home: Home, spawn: Any) -> None:
    owner = spawn(USE)
    url, role = first_line(owner)
    assert role == "runs it"
    attached = spawn(USE)
    assert first_line(attached) == [url, "attached"]
    assert ended(attached) == ""
    assert answers(url)

    assert ended(owner) == STARTED.format(home.folder)
    assert home.announced() is None
    assert not answers(url)

    last = spawn(USE)
    assert first_line(last)[1] == "runs it"
    assert ended(last) == STARTED.format(home.folder)


def test_what_a_killed_process_announced_is_ignored(
    home: Home, spawn: Any, somebody_else: Callable[[bytes], str]
) -> None:
    stale = somebody_else(reply({"service": "gateway"}))
    home.announce(stale)
    next_one = spawn(USE)
    url, role = first_line(next_one)
    assert (role, url != stale) == ("runs it", True)
    ended(next_one)


def test_a_folder_held_by_a_process_that_runs_no_mesh(home: Home, held: IO[str]) -> None:
    with pytest.raises(Unavailable, match=r"holds .*/mesh, but its mesh does not answer\. End that process"):
        attach_or_start(home, patience=0.05, pause=0.01)


def test_a_folder_held_by_a_process_whose_mesh_is_silent(
    home: Home, held: IO[str], somebody_else: Callable[[bytes], str]
) -> None:
    home.announce(somebody_else(b""))
    with pytest.raises(Unavailable, match="does not answer"):
        attach_or_start(home, patience=0)


def test_a_mesh_that_is_being_started_is_waited_for(
    home: Home, held: IO[str], somebody_else: Callable[[bytes], str]
) -> None:
    home.announce(somebody_else(reply({"service": "starting"})))
    found: list[Any] = []
    url = somebody_else(reply({"service": "gateway"}))
    waiting = threading.Thread(target=lambda: found.append(attach_or_start(home, patience=30, pause=0.01)))
    waiting.start()
    home.announce(url)
    waiting.join(30)
    assert found == [(home.announced(), None)]


@pytest.mark.parametrize(
    "said", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", reply([]), reply({"service": "x"}), reply("x"), reply({})[:-1]]
)
def test_what_is_no_mesh_does_not_answer_as_one(somebody_else: Callable[[bytes], str], said: bytes) -> None:
    assert not answers(somebody_else(said))


def test_what_answers_as_a_mesh(somebody_else: Callable[[bytes], str]) -> None:
    assert answers(somebody_else(reply({"service": "gateway"})))


def test_a_process_that_is_ending_starts_no_mesh(home: Home, spawn: Any) -> None:
    out, errors = spawn(USE_AT_EXIT).communicate(timeout=60)
    assert errors == ""
    assert out.startswith("Unavailable This process is ending, and its embedded mesh has ended. Make the call earlier")
    assert out.endswith("True\n")


def test_a_failed_start_gives_the_folder_free(home: Home, spawn: Any) -> None:
    (home.folder / "blobs").write_text("in the way", encoding="utf-8")
    out, _ = spawn(FAIL_TO_START).communicate(timeout=60)
    error, free, threads = out.split()
    assert error
    assert (free, threads) == ("True", "['MainThread']")
