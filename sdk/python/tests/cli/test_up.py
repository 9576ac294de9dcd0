"""`om up` as its user sees it: it greets, others attach to it, and it ends well."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "from omegamesh.cli import main; main()"]
Up = Callable[..., tuple["subprocess.Popen[str]", str]]


@pytest.fixture
def up(nobody_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Up]:
    """Start `om up` over an empty folder; gives the process and what it said until it was ready."""
    monkeypatch.setenv("OMEGA_HOME", str(nobody_home / "mesh"))
    with ExitStack() as stack:

        def run(*arguments: str) -> tuple[subprocess.Popen[str], str]:
            process = subprocess.Popen(
                [*COMMAND, "up", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if "/api/v1/ping" in line:
                    break
            return process, said

        yield run


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_it_greets_others_attach_and_it_ends_with_status_0(up: Up, nobody_home: Path) -> None:
    process, said = up("--port", "0")
    key = re.search(r'"apikey": "(\w.*)"', (nobody_home / "mesh" / "credentials").read_text(encoding="utf-8"))
    assert key is not None
    assert key[1] not in said

    exports = "\n".join(line for line in said.splitlines() if line.lstrip().startswith(("export", "curl")))
    assert '"userid":"admin"' in run("bash", "-euc", exports).stdout.replace(" ", "")

    attached = run(sys.executable, "-c", "import omegamesh as om; print(om.datasets.list(), om.buckets)")
    assert attached.stdout == "[] []\n"
    assert attached.stderr == ""

    second = run(*COMMAND, "up", "--port", "0")
    assert second.returncode == 1
    assert "A mesh runs over" in second.stderr

    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "The mesh has ended" in rest
    assert not (nobody_home / "mesh" / "mesh.json").exists()


def test_it_says_that_its_usual_port_is_taken(up: Up) -> None:
    with socket.socket() as sock:
        with suppress(OSError):
            sock.bind(("127.0.0.1", 8000))
            sock.listen()
        process, said = up()
        assert "Port 8000 is taken" in said
        process.terminate()
        assert process.wait(timeout=60) == 0


def test_a_person_sees_the_key_once(
    nobody_home: Path, monkeypatch: pytest.MonkeyPatch, person: Callable[..., tuple[int, str]]
) -> None:
    monkeypatch.setenv("OMEGA_HOME", str(nobody_home / "mesh"))
    status, shown = person("up", "--port", "0", answers=[("/api/v1/ping", "\x03")])
    assert status == 0, shown
    assert shown.count("omk_") == 1


def test_without_a_mesh_of_its_own_a_command_starts_one_for_itself(
    nobody_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMEGA_HOME", str(nobody_home / "mesh"))
    done = run(*COMMAND, "datasets", "list", "--json")
    assert (done.returncode, done.stdout) == (0, "[]\n")
    assert done.stderr.startswith("omegamesh: started an embedded mesh for this process")
