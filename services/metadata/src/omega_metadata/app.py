"""Wiring of the metadata service."""

from __future__ import annotations

from starlette.types import ASGIApp

from omega_metadata.handlers import ObjectHandlers, UserHandlers
from omega_metadata.repository import HISTORY, OBJECTS, ObjectRepository
from omega_metadata.service import ObjectService
from omega_metadata.settings import MetadataSettings
from omega_metadata.users import KEYS, USERS, UserService
from omegakit.docs.connect import open_docs
from omegakit.health import health_app
from omegakit.service import Kit
from omegaproto.errors import Unavailable


class MetadataService:
    """Objects, revisions, users and keys, over one document store."""

    def __init__(self, kit: Kit, settings: MetadataSettings) -> None:
        if settings.auth.pepper is None:
            raise ValueError("OMEGA_AUTH__PEPPER is not set: give 32 random characters or more, and never change them.")
        self._kit = kit
        self._options = settings.metadata
        self._docs = open_docs(settings.docs.url)
        self._users = UserService(self._docs, kit.clock, settings.auth.pepper.get_secret_value())
        objects = ObjectService(
            ObjectRepository(self._docs), kit.clock, commit_attempts=settings.metadata.commit_attempts
        )
        self._handlers = (ObjectHandlers(kit, objects), UserHandlers(kit, self._users))
        self._rpc = kit.rpc()
        self._asgi = health_app(kit.metrics, {"docs": self._docs.ping, "bus": self._check_bus})

    @property
    def asgi(self) -> ASGIApp:
        """Give the health application: metadata is spoken to over the bus."""
        return self._asgi

    async def start(self) -> None:
        """Open the store, make the first administrator, and answer."""
        await self._docs.start((OBJECTS, HISTORY, USERS, KEYS))
        if self._options.admin_apikey is not None:
            await self._users.ensure_admin(self._options.admin_userid, self._options.admin_apikey.get_secret_value())
        for handlers in self._handlers:
            await handlers.serve(self._rpc)

    async def drain(self) -> None:
        """Take no more requests and let the running ones end."""
        await self._rpc.stop()

    async def stop(self) -> None:
        """Close the store."""
        await self._docs.close()

    async def _check_bus(self) -> None:
        if not self._kit.bus.connected:
            raise Unavailable("The broker cannot be reached.")


def create(kit: Kit, settings: MetadataSettings) -> MetadataService:
    """Make the service."""
    return MetadataService(kit, settings)
