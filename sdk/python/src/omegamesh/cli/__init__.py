"""The command ``om``: the API of :mod:`omegamesh` for the shell, and the commands that run a mesh.

Nothing heavy is imported before a command needs it, so that ``om --help`` and completion answer at once.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (that of the process when None) and exit: 0 done, 1 refused or failed, 2 misused."""
    from omegamesh.cli.app import app

    app(args=arguments, prog_name="om")
