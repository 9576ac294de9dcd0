"""``om datasets``: files in, files out, and what every store has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from omegamesh.cli.output import show_json
from omegamesh.cli.session import session
from omegamesh.cli.values import Format, format_of, parse_pairs

app = typer.Typer(help="Store, fetch and look at datasets.", no_args_is_help=True)

Csv = Annotated[
    list[str] | None, typer.Option("--csv", metavar="KEY=VALUE", help="An option of pandas' csv functions.")
]


@app.command()
def put(
    context: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file; for csv and parquet also a URL.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The dataset's name.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace what is there.")] = False,
    append: Annotated[bool, typer.Option("--append", help="Add to what is there.")] = False,
    csv: Csv = None,
    given: Annotated[Format | None, typer.Option("--format", help="Default: by the path's ending.")] = None,
) -> None:
    """Store a file: tables as frames, images as arrays, everything else as it is."""
    from omegamesh.cli.files import read_dataset

    if replace and append:
        raise typer.BadParameter("Choose one of --replace and --append.")
    value = read_dataset(path, given or format_of(path), parse_pairs(csv or (), "--csv"))
    metadata = session(context).om.datasets.put(value, name, replace=replace, append=True if append else None)
    if session(context).json:
        show_json(metadata)
    elif metadata is not None:
        typer.echo(repr(metadata))


@app.command()
def get(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A name, with columns or a version if wanted: sales[x,y]@v1.")
    ],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Where to write it.")],
    csv: Csv = None,
    given: Annotated[
        Literal["csv", "parquet", "binary"] | None, typer.Option("--format", help="Default: by the path's ending.")
    ] = None,
) -> None:
    """Write a dataset to a file, which appears whole or not at all."""
    from omegamesh.cli.files import write_dataset
    from omegamesh.cli.stores import found_metadata

    datasets = session(context).om.datasets
    if found_metadata(datasets, name).kind == "python.file":
        datasets.get(name, local=path)
    else:
        write_dataset(datasets.get(name), path, given or format_of(str(path)), parse_pairs(csv or (), "--csv"))
    typer.echo(str(path))
