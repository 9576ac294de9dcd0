"""Running the command line: in this process, as a process of its own, and with a person (a terminal) before it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pytest
from omegamesh.cli.app import app
from typer.testing import CliRunner, Result

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
            words = [*COMMAND, *(str(each) for each in arguments)]
            environment = os.environ | {"COLUMNS": "200", "TERM": "dumb"}
            process = subprocess.Popen(
                words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
            )
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
