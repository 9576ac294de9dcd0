"""``om models``: models in, models out, tags, and what every store has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omegamesh.cli.output import show_json
from omegamesh.cli.session import session

app = typer.Typer(help="Store, fetch, tag and look at models.", no_args_is_help=True)


@app.command()
def put(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="module.callable that makes the model, or a .skops or .joblib file.")
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model's name; name@tag tags the new version.")],
    trust: Annotated[bool, typer.Option("--trust", help="Load a file that may run code of its writer.")] = False,
) -> None:
    """Store a model as a new version."""
    from omegamesh.cli.files import read_model

    metadata = session(context).om.models.put(read_model(source, trust=trust), name)
    if session(context).json:
        show_json(metadata)
    else:
        typer.echo(repr(metadata))


@app.command()
def get(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name, with a version if wanted: m@tag, m^.")],
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="Where to write it: a path that ends in .skops or .joblib.")
    ],
) -> None:
    """Write a model to a file, which appears whole or not at all."""
    from omegamesh.cli.files import write_model
    from omegamesh.cli.stores import found_metadata

    models = session(context).om.models
    found_metadata(models, name)
    write_model(models.get(name), path)
    typer.echo(str(path))


@app.command()
def tag(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The model, with a version if not the newest: m^, m@<revision>.")
    ],
    label: Annotated[str, typer.Argument(metavar="TAG", help="The tag; it moves when it names another version.")],
) -> None:
    """Give a version of a model a name of its own."""
    found = session(context).om.models.tag(name, label)
    typer.echo(f"{found.name}@{label}")
