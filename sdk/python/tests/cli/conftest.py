"""Running the command line: in this process, as a process of its own, and with a person (a terminal) before it."""

from __future__ import annotations

import os
import pty
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner, Result

from omega_mesh.home import Credentials
from omegamesh.cli.app import app
from omegamesh.client import setup

COMMAND = [sys.executable, "-c", "from omegamesh.cli import main; main()"]
Om = Callable[..., Result]
Person = Callable[..., tuple[int, str]]


@pytest.fixture
def om(nobody_home: Path) -> Om:
    """Run `om` in this process, without configuration unless the test sets some: exit_code, stdout, stderr."""

    def run(*arguments: object, env: dict[str, str] | None = None) -> Result:
        return CliRunner().invoke(app, [str(each) for each in arguments], env=env, prog_name="om")

    return run


@pytest.fixture
def person(nobody_home: Path) -> Iterator[Person]:
    """Run `om` in a terminal, with a person who answers questions as they come: the exit status, and what was shown."""
    with ExitStack() as stack:

        def run(*arguments: object, answers: Sequence[tuple[str, str]] = ()) -> tuple[int, str]:
            ours, theirs = pty.openpty()
            words = ["setsid", "--ctty", *COMMAND, *(str(each) for each in arguments)]
            environment = os.environ | {"COLUMNS": "200", "TERM": "dumb"}
            process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
            stack.enter_context(process)
            stack.callback(process.kill)
            os.close(theirs)
            with os.fdopen(ours, "rb+", buffering=0) as terminal:
                shown = b""
                for question, text in answers:
                    shown += _read_until(terminal, question.encode())
                    terminal.write(f"{text}\n".encode())
                shown += _read_until(terminal, None)
            return process.wait(), shown.decode().replace("\r\n", "\n")

        yield run


def _read_until(terminal: IO[bytes], question: bytes | None) -> bytes:
    """Read what is shown up to a question, or to the end of the process."""
    found = b""
    try:
        while question is None or question not in found:
            found += terminal.read(65536)
    except OSError:
        assert question is None, f"the process ended without asking {question!r}: {found!r}"
    return found


@pytest.fixture
def mesh_om(om: Om, embedded_mesh: Credentials, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Om:
    """Run `om` on a real mesh, in a bucket and a folder of the test's own; a failure that was not expected is shown."""
    monkeypatch.setenv("OMEGA_URL", embedded_mesh.url)
    monkeypatch.setenv("OMEGA_USERID", embedded_mesh.userid)
    monkeypatch.setenv("OMEGA_APIKEY", embedded_mesh.apikey)
    monkeypatch.setenv("OMEGA_BUCKET", f"test-{secrets.token_hex(6)}")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, fails: int = 0) -> Result:
        result = om(*arguments)
        assert result.exit_code == fails, (arguments, result.output, result.exception)
        return result

    return run


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    """A CSV file of four rows: columns x, y and target."""
    path = tmp_path / "sales.csv"
    path.write_text("x,y,target\n1,2,0\n2,3,1\n3,4,1\n0,1,0\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def fitted_bucket(embedded_mesh: Credentials) -> Iterator[str]:
    """A bucket of a real mesh with the dataset `sales` and the model `m`, fitted on it by a worker."""
    with closing(setup(embedded_mesh.userid, embedded_mesh.apikey, embedded_mesh.url, "fitted")) as om:
        om.datasets.put(pd.DataFrame({"x": [1, 2, 3, 0], "y": [2, 3, 4, 1], "target": [0, 1, 1, 0]}), "sales")
        om.models.put(LogisticRegression(), "m")
        om.runtime.model("m").fit("sales[^target]", "sales[target]").get(timeout=100)
    yield "fitted"


@pytest.fixture
def fitted(mesh_om: Om, fitted_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Om:
    """Run `om` in that bucket; tests may add to it, and change nothing in it."""
    monkeypatch.setenv("OMEGA_BUCKET", fitted_bucket)
    return mesh_om
