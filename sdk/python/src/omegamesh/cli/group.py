"""The root command group: global options may stand anywhere, and every error is one line and an exit status."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

_WITH_VALUE = frozenset({"--bucket", "--config", "--loglevel"})
_FLAGS = frozenset({"-q", "--noinput", "--local-runtime", "--debug", "--json"})


def hoisted(arguments: Sequence[str]) -> list[str]:
    """Give the arguments with the global options first; what follows ``--`` stays as it is.

    An option that lacks its value comes last and alone, for the parser to refuse.
    """
    found: list[str] = []
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            others += [argument, *rest]
        elif argument in _FLAGS or argument.partition("=")[0] in _WITH_VALUE:
            found.append(argument)
            if argument in _WITH_VALUE:
                value = next(rest, None)
                if value is None:
                    return found
                found.append(value)
        else:
            others.append(argument)
    return found + others


class OmGroup(TyperGroup):
    """The group behind ``om``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, with the global options wherever they stand."""
        return super().parse_args(ctx, hoisted(args))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what goes wrong is said in one line, with a traceback only for ``--debug``."""
        try:
            with _short_warnings():
                return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError):
            raise
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            typer.secho(described(error), fg=typer.colors.RED, err=True)
            raise typer.Exit(1) from error


def described(error: Exception) -> str:
    """Give an error as one line: what happened, why, and what to do."""
    from omegaproto.errors import OmegaError

    if isinstance(error, OmegaError):
        text = str(error)
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    elif type(error) in {ValueError, ModuleNotFoundError}:
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error} (see the traceback with --debug)"
    return " ".join(text.split())


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Show warnings as one yellow line, without the place in the code that gave them."""

    def show(message: Warning | str, category: type[Warning], *_place: Any, **_file: Any) -> None:
        if not issubclass(category, DeprecationWarning | ResourceWarning):
            typer.secho(f"warning: {message}", fg=typer.colors.YELLOW, err=True)

    before = warnings.showwarning
    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
