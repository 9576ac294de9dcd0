"""The five services by name: how each is made, and which settings it reads. Each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from omegakit.service import Kit, Service
from omegakit.settings import ServiceSettings
from omegaproto.errors import BadRequest

NAMES = ("metadata", "blobstore", "scheduler", "worker", "gateway")
"""In the order in which they start: each needs only those before it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One service."""

    name: str
    create: Callable[[Kit, Any], Service]
    settings: type[ServiceSettings]


def entry(name: str) -> Entry:
    """Give the service called `name`. Raises BadRequest when there is none."""
    if name not in NAMES:
        raise BadRequest(f"There is no service {name!r}.", action=f"Use one of: {', '.join(NAMES)}.")
    package = f"omega_{name}"
    create = import_module(f"{package}.app").create
    settings = getattr(import_module(f"{package}.settings"), f"{name.capitalize()}Settings")
    return Entry(name, create, settings)
