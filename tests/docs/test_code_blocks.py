"""Every code block of the README and of docs/ runs: Python in one namespace a page, bash as it stands, in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from omega_mesh.docs import pages
from omega_mesh.embedded import EmbeddedMesh
from omega_mesh.home import Credentials, Home

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
pytestmark = [pytest.mark.e2e]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(found[1], found[2], text.count("\n", 0, found.start()) + 2) for found in BLOCK.finditer(text)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Credentials]]:
    """A mesh that runs as `om up` would have it run."""
    folder = Home(tmp_path_factory.mktemp("home"))
    mesh = EmbeddedMesh(folder)
    yield folder, mesh.start()
    mesh.stop()


@pytest.fixture
def environment(home: tuple[Home, Credentials], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user's shell in which the mesh is configured."""
    folder, credentials = home
    values = {
        "OMEGA_HOME": str(folder.folder),
        "OMEGA_URL": credentials.url,
        "OMEGA_USERID": credentials.userid,
        "OMEGA_APIKEY": credentials.apikey,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    import omegamesh

    monkeypatch.setattr(omegamesh, "_om", None)


def runnable(page: Path) -> bool:
    return any(block.language in {"python", "bash"} for block in blocks(page))


@pytest.mark.parametrize("page", list(filter(runnable, PAGES)), ids=lambda page: page.name)
@pytest.mark.usefixtures("environment")
def test_a_page_runs(page: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language == "python":
            with warnings.catch_warnings():
                warnings.simplefilter("default")
                exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), namespace)
        elif block.language == "bash":
            subprocess.run(["bash", "-euo", "pipefail", "-c", block.code], check=True, timeout=60)
    if "om" in namespace:
        namespace["om"].close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_no_block_that_nobody_runs(page: Path) -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for block in blocks(page):
        assert block.language in {"python", "bash", "sh", "text"}, f"{page}:{block.line}"
        if block.language == "sh":
            for line in block.code.splitlines():
                command = line.split("#")[0].split()
                assert command[0] == "make" and command[1] in targets, f"{page}:{block.line}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page}: {target}"


@pytest.mark.parametrize(("name", "text"), list(pages().items()), ids=list(pages()))
def test_a_generated_page_is_up_to_date(name: str, text: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, "run: make docs"
