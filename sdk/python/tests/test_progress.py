"""Progress is shown to a person, on standard error, and to nobody else."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from omegamesh.progress import somebody_looks, transfer, waiting

MIB = 1024 * 1024


class ZMQInteractiveShell:
    """Named as the shell of a notebook's kernel is."""


class Terminal(io.StringIO):
    """Keeps what is shown, and says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Have a person look at standard error from now on; gives what is shown."""

    def begin() -> Terminal:
        monkeypatch.delenv("OMEGA_PROGRESS", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        shown = Terminal()
        monkeypatch.setattr(sys, "stderr", shown)
        return shown

    return begin


def test_nobody_looks_at_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("OMEGA_PROGRESS", raising=False)
    assert not somebody_looks()
    with waiting("model.fit m"), transfer("sending", 100 * MIB) as advance:
        advance(MIB)
    assert capsys.readouterr().err == ""


def test_a_terminal_is_looked_at_unless_told_otherwise(
    look: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    look()
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
def test_a_long_transfer_has_a_bar(look: Callable[[], Terminal], total: int | None) -> None:
    shown = look()
    with transfer("sending", total) as advance:
        advance(50 * MIB)
    assert "sending" in shown.getvalue()


def test_a_short_transfer_has_none(look: Callable[[], Terminal]) -> None:
    shown = look()
    with transfer("sending", MIB) as advance:
        advance(MIB)
    assert shown.getvalue() == ""


def test_a_wait_is_shown(look: Callable[[], Terminal]) -> None:
    shown = look()
    with waiting("model.fit m"):
        """Nothing to do: the wait is over at once."""
    assert "model.fit m" in shown.getvalue()
