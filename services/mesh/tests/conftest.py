"""What the tests of the mesh stand on: a folder of its own, and processes that run or use the mesh of a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from omega_mesh.home import Home

Spawn = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty folder for a mesh."""
    return Home(tmp_path / "mesh")


@pytest.fixture
def spawn(home: Home) -> Iterator[Spawn]:
    """Run Python code in a process whose OMEGA_HOME is that folder; it is killed when the test ends before it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMEGA_")}
    with ExitStack() as stack:

        def run(code: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", code],
                env=kept | {"OMEGA_HOME": str(home.folder)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield run
