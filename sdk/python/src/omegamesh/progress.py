"""Progress of long transfers and waits: a bar when a person is looking (terminal or notebook), silence otherwise."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_LONG_BYTES = 16 * 1024 * 1024


class Advance(Protocol):
    """Says how far a transfer got."""

    def __call__(self, amount: int) -> None:
        """Add `amount` bytes."""


def somebody_looks() -> bool:
    """Say whether a person watches: standard error is a terminal, or this is a notebook; OMEGA_PROGRESS=0 says no."""
    if os.environ.get("OMEGA_PROGRESS") == "0":
        return False
    return sys.stderr.isatty() or _in_notebook()


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    current = shell.get_ipython() if shell is not None else None
    return type(current).__name__ == "ZMQInteractiveShell"


@contextmanager
def transfer(title: str, total: int | None) -> Iterator[Advance]:
    """Show a bar of bytes while the block runs; nothing for short transfers or when nobody looks."""
    if not somebody_looks() or (total is not None and total < _LONG_BYTES):
        yield lambda amount: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(title, total=total)
        yield lambda amount: bars.advance(bar, amount)


@contextmanager
def waiting(title: str) -> Iterator[None]:
    """Show a spinner while the block waits; nothing when nobody looks."""
    if not somebody_looks():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(title):
        yield
