"""The command tree and the global options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import omegamesh
from omegamesh.cli import datasets, init, mesh, models, runtime
from omegamesh.cli.group import OmGroup
from omegamesh.cli.session import Session
from omegamesh.cli.stores import add_store_commands

app = typer.Typer(
    cls=OmGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"omegamesh {omegamesh.__version__}")
        raise typer.Exit


@app.callback()
def om(
    context: typer.Context,
    bucket: Annotated[str | None, typer.Option("--bucket", help="The bucket to work in.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Read this file, not ~/.omegaml/config.yml.")] = None,
    noinput: Annotated[bool, typer.Option("--noinput", "-q", help="Ask nothing.")] = False,
    local_runtime: Annotated[bool, typer.Option("--local-runtime", help="Run models in this process.")] = False,
    regexp: Annotated[bool, typer.Option("-E", help="Patterns are regular expressions.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON where there is something to read.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    loglevel: Annotated[
        Literal["debug", "info", "warning", "error"] | None, typer.Option("--loglevel", help="Least level logged.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """Store data and models, run them anywhere, serve them over HTTP.

    Global options may stand anywhere on the line.
    """
    if loglevel:
        import logging

        logging.basicConfig(level=loglevel.upper())
    found = Session(bucket, config, loglevel, local_runtime, noinput, regexp, json)
    context.obj = found
    context.call_on_close(found.close)


add_store_commands(datasets.app, "datasets")
add_store_commands(models.app, "models")
app.add_typer(datasets.app, name="datasets")
app.add_typer(models.app, name="models")
app.add_typer(runtime.app, name="runtime")
app.command()(mesh.up)
app.command()(mesh.serve)
app.command()(init.init)


@app.command("help")
def help_(
    context: typer.Context,
    commands: Annotated[list[str] | None, typer.Argument(metavar="COMMAND", help="Such as: datasets put")] = None,
) -> None:
    """Show what om, or one of its commands, can do."""
    app(args=[*(commands or ()), "--help"], prog_name="om")
