"""Wiring of the gateway."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from omega_gateway.auth import Authenticator
from omega_gateway.edge import Edge
from omega_gateway.errors import on_disconnect, on_http_error, on_omega_error, on_validation_error
from omega_gateway.fastpath import FastPredict
from omega_gateway.fasttasks import FastTasks
from omega_gateway.parts import Parts
from omega_gateway.predict import Predictor
from omega_gateway.relay import Blobstore
from omega_gateway.routes import ROUTERS
from omega_gateway.settings import GatewaySettings
from omega_gateway.waiting import TaskWaiters
from omegakit.health import health_routes
from omegakit.service import Kit
from omegaproto.errors import OmegaError, Unavailable


class GatewayService:
    """The public REST API over the other services."""

    def __init__(self, kit: Kit, settings: GatewaySettings) -> None:
        options = settings.gateway
        self._kit = kit
        self._draining = False
        self._parts = Parts(
            options=options,
            bus=kit.bus,
            tokens=kit.tokens,
            keys=Authenticator(kit.bus, kit.tokens, options),
            blobstore=Blobstore(options, kit.peers),
            predictor=Predictor(kit.bus, kit.tokens, kit.metrics, options),
            waiters=TaskWaiters(kit.bus, options),
        )
        self.api = make_api(self._parts)
        self.api.router.routes.extend(health_routes(kit.metrics, {"bus": self._check_bus, "drain": self._check_drain}))
        shortcuts = (FastPredict(self._parts.keys, self._parts.predictor, options), FastTasks(self._parts))
        self._edge = Edge(self.api, shortcuts, kit.metrics, options)

    @property
    def asgi(self) -> ASGIApp:
        """Give the whole application."""
        return self._edge

    async def start(self) -> None:
        """Listen for what makes the caches forget and the waiters wake."""
        await self._parts.keys.start()
        await self._parts.predictor.start()
        await self._parts.waiters.start()

    async def drain(self) -> None:
        """Be not ready, let waiting requests answer with what they have, and predictions end."""
        self._draining = True
        self._parts.waiters.drain()
        await self._parts.predictor.drain()

    async def stop(self) -> None:
        """Close connections."""
        await self._parts.keys.stop()
        await self._parts.predictor.stop()
        await self._parts.blobstore.stop()

    async def _check_bus(self) -> None:
        if not self._kit.bus.connected:
            raise Unavailable("The broker cannot be reached.")

    async def _check_drain(self) -> None:
        if self._draining:
            raise Unavailable("The gateway is draining.")


def make_api(parts: Parts) -> FastAPI:
    """Give the application with all routes, and errors as the mesh's own."""
    api = FastAPI(
        title="Omega Mesh",
        summary="Store data and models, run them anywhere, and serve them.",
        version=version("omegamesh"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    api.state.parts = parts
    for router in ROUTERS:
        api.router.routes.extend(router.routes)
    api.add_exception_handler(OmegaError, on_omega_error)
    api.add_exception_handler(RequestValidationError, on_validation_error)
    api.add_exception_handler(HTTPException, on_http_error)
    api.add_exception_handler(ClientDisconnect, on_disconnect)
    api.add_exception_handler(Exception, on_omega_error)
    return api


def create(kit: Kit, settings: GatewaySettings) -> GatewayService:
    """Make the service."""
    return GatewayService(kit, settings)
