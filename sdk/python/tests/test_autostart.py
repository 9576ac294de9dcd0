"""The embedded default between processes: who runs the mesh may end at any time, and the others go on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from omegamesh.client import Omega
from omegamesh.config import Config

Spawn = Callable[[str], "subprocess.Popen[str]"]
OWN = "import omegamesh as om\nom.datasets.put({'n': 0}, 'kept')\nprint('ready', flush=True)\ninput()"
GO_ON = """
import io, sys
import omegamesh as om
name = {name!r}
assert om.datasets.get("kept") == [dict(n=0)]
red = om["red"]
print("attached", flush=True)
input()
om.datasets.put(io.BytesIO(b"x" * 3_000_000), name)
red.datasets.put([name], name)
print(om.datasets.get(name).read(3), red.datasets.get(name), om.datasets.get("kept"), flush=True)
input()
"""


@pytest.fixture
def spawn(nobody_home: Path) -> Iterator[Spawn]:
    """Run Python code in processes that share an embedded mesh; each is killed when the test ends before it."""
    with ExitStack() as stack:

        def run(code: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", code],
                env=os.environ | {"OMEGA_HOME": str(nobody_home / "mesh")},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield run


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_when_the_owner_is_killed_one_of_the_others_takes_over_and_all_go_on(spawn: Spawn) -> None:
    owner = spawn(OWN)
    assert said(owner) == "ready"
    others = {name: spawn(GO_ON.format(name=name)) for name in ("b", "c")}
    assert [said(process) for process in others.values()] == ["attached", "attached"]

    owner.kill()
    owner.wait()
    for process in others.values():
        tell(process)
    for name, process in others.items():
        assert said(process) == f"b'xxx' [['{name}']] [{{'n': 0}}]", process.communicate("\n")[1]

    errors = [process.communicate("\n", timeout=60)[1] for process in others.values()]
    assert [process.returncode for process in others.values()] == [0, 0]
    assert sorted(text.count("omegamesh: started an embedded mesh for this process") for text in errors) == [0, 1]
    assert "".join(errors).count("\n") == 1


def test_the_embedded_default_is_shown_as_such() -> None:
    assert repr(Omega(Config(bucket="red"))) == "<Omega embedded bucket=red>"
