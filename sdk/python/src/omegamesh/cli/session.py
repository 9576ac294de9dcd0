"""What the global options chose: which mesh and bucket, and how to talk to the person, if there is one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from omegamesh.client import Omega


@dataclass
class Session:
    """One run of the command line."""

    bucket: str | None = None
    config: Path | None = None
    loglevel: str | None = None
    local_runtime: bool = False
    noinput: bool = False
    regexp: bool = False
    json: bool = False

    @cached_property
    def om(self) -> Omega:
        """Give the API of the chosen mesh and bucket. Raises ValueError when the configuration is not usable."""
        from omegamesh.client import setup

        if self.config is not None and not self.config.expanduser().is_file():
            raise ValueError(f"There is no file {self.config}. Write it with: om init --config {self.config}")
        om = setup(bucket=self.bucket, config_file=self.config)
        if self.local_runtime:
            om.runtime.mode(local=True)
        return om

    @property
    def person(self) -> bool:
        """Say whether somebody can be asked."""
        return sys.stdin.isatty() and not self.noinput

    def close(self) -> None:
        """Close the connections, if any were opened."""
        if "om" in self.__dict__:
            self.om.close()


def session(context: typer.Context) -> Session:
    """Give the session of a running command."""
    found: Session = context.find_root().obj
    return found
