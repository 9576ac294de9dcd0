"""``om up`` keeps an embedded mesh running for the user's own work; ``om serve`` runs one service of a mesh."""

from __future__ import annotations

import errno
import os
import shlex
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from omegamesh.cli.session import session

if TYPE_CHECKING:
    from omegamesh.autostart import Running

DEFAULT_PORT = 8000
_LEAST_SLOTS = 2

Service = Literal["metadata", "blobstore", "scheduler", "worker", "gateway", "secrets"]


def up(
    context: typer.Context,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port to listen on.  [default: 8000, or a free one]")
    ] = None,
    slots: Annotated[
        int | None, typer.Option("--slots", min=1, help="How many tasks run at once.  [default: one a CPU, at least 2]")
    ] = None,
) -> None:
    """Keep an embedded mesh running for your own work, until Ctrl-C."""
    from omegamesh.autostart import up as run_mesh

    chosen = choose_port(host, port)
    taken = port is None and chosen != DEFAULT_PORT

    def ready(running: Running) -> None:
        if taken:
            typer.echo(f"Port {DEFAULT_PORT} is taken, so this mesh has another.")
        typer.echo(greeting(running, person=sys.stdout.isatty()))

    run_mesh(host=host, port=chosen, slots=slots or max(_LEAST_SLOTS, os.cpu_count() or 1), started=ready)
    typer.echo("The mesh has ended. Its data stays.")


def choose_port(host: str, port: int | None) -> int:
    """Give the port to listen on: `port`, else 8000, else 0, which takes a free one.

    Raises Conflict when `port` was asked for and is taken, OSError when `host` is not an address of this machine.
    """
    wanted = DEFAULT_PORT if port is None else port
    if not _is_taken(host, wanted):
        return wanted
    if port is None:
        return 0
    from omegaproto.errors import Conflict

    raise Conflict(f"Port {port} of {host} is taken.", action="Choose another --port, or leave it out.")


def _is_taken(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return True
    return False


def greeting(running: Running, *, person: bool) -> str:
    """Give what to tell the user about a mesh that is ready. The API key itself is shown only when a person looks."""
    credentials = running.folder / "credentials"
    key = shlex.quote(running.apikey) if person else _read_key(credentials)
    return f"""\
Omega Mesh runs. Ctrl-C ends it.

  listens at   {running.url}
  data in      {running.folder}
  user id      {running.userid}
  API key      in {credentials}

In Python on this machine there is nothing to set:

  import omegamesh as om
  om.datasets.list()

Elsewhere, and for curl:

  export OMEGA_URL={running.url}
  export OMEGA_USERID={running.userid}
  export OMEGA_APIKEY={key}
  curl -H "Authorization: $OMEGA_USERID:$OMEGA_APIKEY" $OMEGA_URL/api/v1/ping
"""


def _read_key(credentials: Path) -> str:
    """Give the shell words that read the key out of its file."""
    code = 'import json, sys; print(json.load(open(sys.argv[1]))["apikey"])'
    return f'"$(python3 -c {shlex.quote(code)} {shlex.quote(str(credentials))})"'


def serve(
    context: typer.Context,
    service: Annotated[Service, typer.Argument(metavar="SERVICE", help="Which service, or secrets.")],
) -> None:
    """Run one service of a mesh, until SIGTERM.

    Its settings come from the environment, as OMEGA_… variables.

    `om serve secrets` prints new secrets, as lines for the environment, and runs nothing.
    """
    from omegamesh import autostart

    if service == "secrets":
        typer.echo(secret_lines(*autostart.fresh_secrets()))
        return
    if level := session(context).loglevel:
        os.environ["OMEGA_LOG__LEVEL"] = level
    autostart.serve(service)


def secret_lines(services: dict[str, str], workers: dict[str, str]) -> str:
    """Give secrets as the text of an environment file."""
    parts = ["# For every service but the workers:", *(f"{name}={value}" for name, value in services.items())]
    parts += ["# For the workers, and nothing else:", *(f"{name}={value}" for name, value in workers.items())]
    return "\n".join(parts)
