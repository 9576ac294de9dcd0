"""Wiring of the blobstore service."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from omega_blobstore.blobs import BlobService
from omega_blobstore.frames.service import FrameService
from omega_blobstore.handlers import Handlers
from omega_blobstore.manifests import FRAMES, ManifestRepository
from omega_blobstore.metrics import BlobstoreMetrics
from omega_blobstore.responses import on_http_error, on_omega_error
from omega_blobstore.routes import BlobRoutes, FrameRoutes
from omega_blobstore.settings import BlobstoreSettings
from omega_blobstore.sweep import Sweeper
from omegakit.blobs.connect import open_blobs
from omegakit.docs.connect import open_docs
from omegakit.health import health_routes
from omegakit.requestid import RequestIds
from omegakit.service import Kit
from omegaproto.errors import OmegaError, Unavailable


class BlobstoreService:
    """Blobs over HTTP, frames over their parts, and the sweep of what nobody refers to."""

    def __init__(self, kit: Kit, settings: BlobstoreSettings) -> None:
        self._kit = kit
        options = settings.blobstore
        self._docs = open_docs(settings.docs.url, clock=kit.clock)
        self._blobs = open_blobs(settings.blobs.url, clock=kit.clock)
        metrics = BlobstoreMetrics(kit.metrics)
        manifests = ManifestRepository(self._docs)
        blobs = BlobService(self._blobs, metrics, options.max_blob_bytes)
        self._frames = FrameService(self._blobs, blobs, manifests, metrics, kit.clock, options)
        self._sweeper = Sweeper(kit, self._blobs, manifests, metrics, options)
        self._handlers = Handlers(blobs, self._frames, self._sweeper)
        self._rpc = kit.rpc()
        checks = {"docs": self._docs.ping, "blobs": self._blobs.ping, "bus": self._check_bus}
        self._asgi = Starlette(
            routes=[
                *BlobRoutes(kit, blobs, metrics).routes(),
                *FrameRoutes(kit, self._frames, metrics).routes(),
                *health_routes(kit.metrics, checks),
            ],
            middleware=[Middleware(RequestIds)],
            exception_handlers={OmegaError: on_omega_error, HTTPException: on_http_error},
        )

    @property
    def asgi(self) -> ASGIApp:
        """Give the HTTP application."""
        return self._asgi

    async def start(self) -> None:
        """Open the stores, answer, and begin to sweep."""
        await self._docs.start((FRAMES,))
        await self._blobs.start()
        await self._handlers.serve(self._rpc)
        self._sweeper.start()

    async def drain(self) -> None:
        """Stop sweeping, take no more bus requests and let the running ones end. The server drains HTTP."""
        await self._sweeper.stop()
        await self._rpc.stop()

    async def stop(self) -> None:
        """Close the stores."""
        self._frames.close()
        await self._blobs.close()
        await self._docs.close()

    async def _check_bus(self) -> None:
        if not self._kit.bus.connected:
            raise Unavailable("The broker cannot be reached.")


def create(kit: Kit, settings: BlobstoreSettings) -> BlobstoreService:
    """Make the service."""
    return BlobstoreService(kit, settings)
