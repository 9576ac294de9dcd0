"""``/healthz`` (the process lives), ``/readyz`` (it can do its work now; says what is missing) and ``/metrics``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from omegakit.metrics import CONTENT_TYPE, Metrics
from omegaproto.errors import OmegaError

Check = Callable[[], Awaitable[None]]
_CHECK_SECONDS = 2.0


def health_routes(metrics: Metrics, checks: Mapping[str, Check]) -> list[Route]:
    """Give the three routes. A check returns when its part is well and raises when it is not."""

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "service": metrics.service})

    async def readyz(_request: Request) -> Response:
        found = dict(zip(checks, await asyncio.gather(*map(_probe, checks.values())), strict=True))
        ready = all(state == "ok" for state in found.values())
        metrics.up.set(ready)
        body = {"status": "ok" if ready else "unavailable", "service": metrics.service, "checks": found}
        return JSONResponse(body, status_code=200 if ready else 503)

    async def metrics_page(_request: Request) -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics_page)]


def health_app(metrics: Metrics, checks: Mapping[str, Check]) -> Starlette:
    """Give an application with the three routes alone: for services that speak no other HTTP."""
    return Starlette(routes=health_routes(metrics, checks))


async def _probe(check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except OmegaError as error:
        return error.message
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "ok"
