"""Progress is shown to a person, on standard error, and to nobody else."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from omegamesh.progress import somebody_looks, transfer, waiting

MIB = 1024 * 1024


class ZMQInteractiveShell:
    """Named as the shell of a notebook's kernel is."""


@pytest.fixture
def person_looks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard error is a terminal."""
    monkeypatch.delenv("OMEGA_PROGRESS", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)


def test_nobody_looks_at_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("OMEGA_PROGRESS", raising=False)
    assert not somebody_looks()
    with waiting("model.fit m"), transfer("sending", 100 * MIB) as advance:
        advance(MIB)
    assert capsys.readouterr().err == ""


def test_a_terminal_is_looked_at_unless_told_otherwise(person_looks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert somebody_looks()
    monkeypatch.setenv("OMEGA_PROGRESS", "0")
    assert not somebody_looks()


def test_a_notebook_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMEGA_PROGRESS", raising=False)
    notebook = ModuleType("IPython")
    notebook.get_ipython = ZMQInteractiveShell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    assert somebody_looks()


@pytest.mark.parametrize("total", [100 * MIB, None])
def test_a_long_transfer_has_a_bar(person_looks: None, capsys: pytest.CaptureFixture[str], total: int | None) -> None:
    with transfer("sending", total) as advance:
        advance(50 * MIB)
    assert "sending" in capsys.readouterr().err


def test_a_short_transfer_has_none(person_looks: None, capsys: pytest.CaptureFixture[str]) -> None:
    with transfer("sending", MIB) as advance:
        advance(MIB)
    assert capsys.readouterr().err == ""


def test_a_wait_is_shown(person_looks: None, capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("model.fit m"):
        pass
    assert "model.fit m" in capsys.readouterr().err
