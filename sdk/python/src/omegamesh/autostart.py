"""With no mesh configured: attach to the user's own, or start one. The one module of the SDK that reaches the mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from omegamesh.config import Config

_NOTHING = (
    "No mesh is configured, and the embedded one is not installed. "
    "Set OMEGA_URL, OMEGA_USERID and OMEGA_APIKEY (om init asks for them), or have the embedded one."
)


@dataclass(frozen=True, slots=True)
class Running:
    """An embedded mesh that is ready: where it listens, how to log in, and the folder of its data."""

    url: str
    userid: str
    apikey: str
    folder: Path

    def __repr__(self) -> str:
        return f"Running(url={self.url!r}, userid={self.userid!r}, folder={str(self.folder)!r})"


def embedded(config: Config) -> tuple[Config, Callable[[], str]]:
    """Give `config` completed with the address and credentials of the embedded mesh, and how to find that mesh again.

    The mesh may end with the process that runs it. Finding it again attaches to its next owner or makes this process
    the next one, over the same folder and so with the same login, and gives the new address.

    Raises:
        ModuleNotFoundError: only the thin SDK is installed, so there is nothing to start.
        Unavailable: another process holds the mesh's folder, but does not answer.
    """
    with _installed(_NOTHING):
        from omega_mesh.attach import attach_or_start
        from omega_mesh.home import Home

        home = Home()
        found, _ = attach_or_start(home)
    return Config(found.url, found.userid, found.apikey, bucket=config.bucket), lambda: attach_or_start(home)[0].url


def up(*, host: str, port: int, slots: int, started: Callable[[Running], None]) -> None:
    """Run the embedded mesh until SIGTERM or SIGINT, drain, and return; calls `started` once it is ready.

    Raises:
        ModuleNotFoundError: only the thin SDK is installed.
        Conflict: another process runs the mesh of this folder.
    """
    with _installed("The embedded mesh is not installed."):
        from omega_mesh.home import Credentials, Home
        from omega_mesh.serve import up as run_until_signalled

        home = Home()

        def ready(credentials: Credentials) -> None:
            started(Running(credentials.url, credentials.userid, credentials.apikey, home.folder))

        run_until_signalled(home, host=host, port=port, slots=slots, started=ready)


def serve(name: str) -> None:
    """Run one service of a mesh, by the settings in the environment, until SIGTERM.

    Raises:
        ModuleNotFoundError: what that service needs is not installed.
        BadRequest: there is no such service.
        ValueError: its settings are not usable.
    """
    with _installed(f"What the service {name} needs is not installed.", extra=name):
        from omega_mesh.serve import serve as run_service

        run_service(name)


def fresh_secrets() -> tuple[dict[str, str], dict[str, str]]:
    """Give new secrets of a mesh as settings in the environment: those of its services, and those of its workers.

    Raises ModuleNotFoundError when only the thin SDK is installed.
    """
    import secrets

    with _installed("The services are not installed."):
        from omega_mesh.serve import worker_environment

        secret, pepper = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
        return {"OMEGA_AUTH__SECRET": secret, "OMEGA_AUTH__PEPPER": pepper}, worker_environment(secret)


@contextmanager
def _installed(otherwise: str, extra: str = "local") -> Iterator[None]:
    """Say what to install when the block misses a package."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{otherwise} Install it: pip install "omegamesh[{extra}]" ({error.name} is missing).', name=error.name
        ) from error
