"""A service as the process around it sees it: what it needs, how it starts, drains, and says whether it is ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.types import ASGIApp

from omegakit.bus import Bus
from omegakit.clock import Clock, SystemClock
from omegakit.logs import get_logger
from omegakit.metrics import Metrics
from omegakit.rpc import RpcServer
from omegakit.settings import ServiceSettings
from omegakit.tokens import Tokens


@dataclass(frozen=True)
class Kit:
    """What every service stands on. The bus is started and closed by whoever made the kit."""

    name: str
    bus: Bus
    tokens: Tokens
    metrics: Metrics
    clock: Clock
    peers: Mapping[str, ASGIApp] = field(default_factory=dict)
    """The applications of services in this process, by the URL at which they listen."""

    @property
    def log(self) -> Any:
        """Give the service's logger."""
        return get_logger(self.name)

    def rpc(self) -> RpcServer:
        """Give an empty set of guarded bus handlers."""
        return RpcServer(self.bus, self.tokens, self.metrics)


def make_kit(
    name: str,
    settings: ServiceSettings,
    bus: Bus,
    clock: Clock | None = None,
    peers: Mapping[str, ASGIApp] | None = None,
) -> Kit:
    """Put the kit of the service `name` together."""
    return Kit(
        name=name,
        bus=bus,
        tokens=Tokens(settings.auth, name),
        metrics=Metrics(name),
        clock=clock or SystemClock(),
        peers=peers or {},
    )


class Service(Protocol):
    """One of the five services, made by its ``app.py`` from a kit and its settings."""

    @property
    def asgi(self) -> ASGIApp:
        """Give the HTTP application, with ``/healthz``, ``/readyz`` and ``/metrics``."""
        ...

    async def start(self) -> None:
        """Open stores and begin to take work."""
        ...

    async def drain(self) -> None:
        """Take no more work, and return when what runs has ended or was handed back."""
        ...

    async def stop(self) -> None:
        """Close everything that `start` opened. Called after `drain`."""
        ...
