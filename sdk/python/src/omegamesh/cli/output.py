"""How results are shown: text that other programs can read when piped, tables in a terminal, JSON when asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], plain: Iterable[str]) -> None:
    """Show `rows` as a table in a terminal; elsewhere one `plain` line each."""
    if not sys.stdout.isatty():
        for line in plain:
            typer.echo(line)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console().print(table)


def show_json(value: Any) -> None:
    """Print a value (pydantic models included) as indented JSON."""
    from pydantic_core import to_json

    typer.echo(to_json(value, indent=2, fallback=_fallback).decode())


def show_value(value: Any, *, as_json: bool = False) -> None:
    """Print what a call gave."""
    if as_json:
        show_json(value)
    else:
        typer.echo(text_of(value))


def text_of(value: Any) -> str:
    """Give a result as text: arrays and plain data as JSON on one line, frames whole, text as it is."""
    if isinstance(value, str):
        return value
    if hasattr(value, "to_string"):
        return str(value.to_string())
    plain = value.tolist() if hasattr(value, "tolist") else value
    try:
        return json.dumps(plain)
    except (TypeError, ValueError):
        return repr(value)


def _fallback(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return value.tolist() if hasattr(value, "tolist") else repr(value)
