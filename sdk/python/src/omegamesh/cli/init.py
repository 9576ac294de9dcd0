"""``om init``: write down which mesh to use and how to log in, once that is known to work."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from omegamesh.cli.session import Session, session
from omegamesh.config import CONFIG_FILE, Config, save_config, shown_bucket, stored_bucket

_NOTHING_NEEDED = (
    "Nothing is needed for the embedded mesh: om.* starts one by itself, or uses the one that `om up` keeps running.\n"
    "For another mesh: om init --url https://… --userid … --apikey …"
)


def init(
    context: typer.Context,
    url: Annotated[str | None, typer.Option("--url", help="The address of the mesh's gateway.")] = None,
    userid: Annotated[str | None, typer.Option("--userid", help="Who you are there.")] = None,
    apikey: Annotated[str | None, typer.Option("--apikey", help="Your API key; safer typed when asked for.")] = None,
) -> None:
    """Log in to a mesh and remember it.

    Asks for what is missing. --bucket names the bucket to start from. Once the login worked, ~/.omegaml/config.yml is
    written, or the file that --config names.
    """
    chosen = session(context)
    config = ask(Config(url, userid, apikey, bucket=stored_bucket(chosen.bucket)), chosen)
    if config is None:
        typer.echo(_NOTHING_NEEDED)
        return
    greeted = check_login(config)
    path = save_config(config, chosen.config or Path(os.environ.get("OMEGA_CONFIG_FILE") or CONFIG_FILE))
    typer.echo(f"Logged in at {config.url} as {greeted}, bucket {shown_bucket(config.bucket)}. Written to {path}")


def ask(config: Config, chosen: Session) -> Config | None:
    """Ask the person for what is missing; None when no mesh is named, which means the embedded one.

    Raises BadParameter when something is missing and nobody can be asked.
    """
    if config.url is None and chosen.person:
        config = replace(config, url=typer.prompt("URL of the mesh (empty: the embedded one)", default="") or None)
    if config.url is None:
        if config.userid or config.apikey:
            raise typer.BadParameter("The address of the mesh is missing.", param_hint="--url")
        return None
    if not config.url.startswith(("http://", "https://", "unix://")):
        raise typer.BadParameter(f"{config.url!r} does not start with https:// or http://.", param_hint="--url")
    userid = config.userid or _asked("User id", "--userid", chosen)
    apikey = config.apikey or _asked("API key", "--apikey", chosen, hidden=True)
    return replace(config, url=config.url.rstrip("/"), userid=userid, apikey=apikey)


def _asked(question: str, option: str, chosen: Session, *, hidden: bool = False) -> str:
    if not chosen.person:
        raise typer.BadParameter(f"{question} is missing.", param_hint=option)
    return str(typer.prompt(question, hide_input=hidden))


def check_login(config: Config) -> str:
    """Log in and give the user id that the mesh knows us by.

    Raises Unauthenticated, Forbidden, Unavailable; BadRequest when what answers is not a mesh.
    """
    from omegamesh.http import MeshClient
    from omegaproto.errors import BadRequest, OmegaError

    client = MeshClient(config)
    try:
        answer = client.call("GET", "/api/v1/ping", repeatable=False)
        return str(answer["userid"])
    except OmegaError as error:
        if error.code != OmegaError.code:
            raise
        raise BadRequest(f"{config.url} does not answer as a mesh: {error.message}", action="Check --url.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadRequest(f"{config.url} does not answer as a mesh.", action="Check --url.") from error
    finally:
        client.close()
