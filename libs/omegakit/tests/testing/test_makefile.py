"""The Makefile explains itself and stays small: every target has a line of help and a recipe of one to three lines."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE).group(1).split()


def test_help_lists_every_target() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = re.findall(r"^  make (\w+) +\S", shown.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(TARGETS)


@pytest.mark.parametrize("target", [*TARGETS, r"\.venv/\.installed"])
def test_a_recipe_is_one_to_three_lines(target: str) -> None:
    rule = re.search(rf"^{target}:.*\n((?:\t.*\n)*)", MAKEFILE, re.MULTILINE)
    assert rule is not None
    assert len(rule.group(1).splitlines()) <= 3


@pytest.mark.parametrize("script", [".ci/run", *(f"scripts/{path.name}" for path in (ROOT / "scripts").iterdir())])
def test_scripts_are_executable_and_stop_at_errors(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    assert re.search(r"^set -(e?)uo pipefail$", (ROOT / script).read_text(), re.MULTILINE)


@pytest.fixture
def only_an_old_python(tmp_path: Path) -> dict[str, str]:
    for program in ("dirname", "bash"):
        (tmp_path / program).symlink_to(shutil.which(program))
    for python in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
        (tmp_path / python).write_text("#!/bin/sh\nexit 1\n")  # what `sys.exit(version < (3, 11))` comes to
        (tmp_path / python).chmod(0o755)
    return {"PATH": str(tmp_path)}


def test_an_old_python_is_an_error_that_says_what_is_needed(only_an_old_python: dict[str, str], tmp_path: Path) -> None:
    made = subprocess.run(
        [ROOT / "scripts" / "venv", tmp_path / "made"],
        env=only_an_old_python,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 1
    assert "needs Python 3.11 or newer" in made.stderr
    assert not (tmp_path / "made").exists()


@pytest.fixture
def neither_root_nor_sudo(tmp_path: Path) -> dict[str, str]:
    for program, text in {"id": "echo 1000", "sudo": "exit 1", "apt-get": "exit 0"}.items():
        (tmp_path / program).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / program).chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


def test_who_may_not_install_is_told_what_to_type(neither_root_nor_sudo: dict[str, str]) -> None:
    tried = subprocess.run(
        [ROOT / "scripts" / "apt-install", "some-package"],
        env=neither_root_nor_sudo,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tried.returncode == 1
    assert "sudo apt-get install -y --no-install-recommends some-package" in tried.stderr
