"""The commands that every store has: list, drop, metadata, revisions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from omegamesh.cli.output import show_json, show_table
from omegamesh.cli.session import session

StoreName = Literal["datasets", "models"]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The object's name.")]


def add_store_commands(app: typer.Typer, store: StoreName) -> None:
    """Add the commands to the group of a store."""

    @app.command("list")
    def list_(
        context: typer.Context,
        pattern: Annotated[
            str | None, typer.Argument(metavar="PATTERN", help="A name in which * stands for anything.")
        ] = None,
        raw: Annotated[bool, typer.Option("--raw", help="Show each object's metadata.")] = False,
        regexp: Annotated[bool, typer.Option("--regexp", "-E", help="The pattern is a regular expression.")] = False,
        hidden: Annotated[bool, typer.Option("--hidden", help="Show hidden objects too.")] = False,
    ) -> None:
        """List what is stored, by name."""
        chosen = {"regexp" if regexp or session(context).regexp else "pattern": pattern}
        found = getattr(session(context).om, store).list(**chosen, raw=True, hidden=hidden or None)
        if session(context).json:
            show_json(found if raw else [item.name for item in found])
        else:
            rows = [(item.name, item.kind, item.revision.number, f"{item.modified:%Y-%m-%d %H:%M}") for item in found]
            plain = (repr(item) if raw else item.name for item in found)
            show_table(("name", "kind", "revision", "modified"), rows, plain)

    @app.command()
    def drop(
        context: typer.Context,
        name: Annotated[str, typer.Argument(metavar="NAME", help="A name; with * every match is dropped.")],
        force: Annotated[bool, typer.Option("--force", help="No error when there is nothing to drop.")] = False,
    ) -> None:
        """Drop an object with all its revisions."""
        dropped = getattr(session(context).om, store).drop(name, force=force, report=True)
        gone = [found for found, done in dropped.items() if done]
        if session(context).json:
            show_json(gone)
        for found in () if session(context).json else gone:
            typer.echo(f"dropped {found}")

    @app.command()
    def metadata(context: typer.Context, name: Name) -> None:
        """Show what is known about an object, as JSON."""
        show_json(found_metadata(getattr(session(context).om, store), name))

    @app.command()
    def revisions(context: typer.Context, name: Name) -> None:
        """List an object's revisions, oldest first."""
        objects = getattr(session(context).om, store)
        found = objects.revisions(name, raw=True)
        if session(context).json:
            show_json(found)
        else:
            rows = [
                (item.number, item.id, ", ".join(item.tags), f"{item.created:%Y-%m-%d %H:%M}", item.created_by)
                for item in found
            ]
            path = found_metadata(objects, name).name
            plain = (f"{path}@{item.tags[0] if item.tags else item.id}" for item in found)
            show_table(("number", "id", "tags", "created", "by"), rows, plain)


def found_metadata(objects: Any, name: str) -> Any:
    """Give the Metadata of `name`. Raises ObjectNotFound."""
    metadata = objects.metadata(name)
    if metadata is None:
        from omegaproto.errors import ObjectNotFound

        raise ObjectNotFound(
            f"There is no {name!r} in {objects.store}.",
            action=f"List what is there: om {objects.store} list",
            name=name,
        )
    return metadata
