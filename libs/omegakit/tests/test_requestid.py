"""The request id goes from one service to the next and into its logs."""

from __future__ import annotations

from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from omegakit.http import open_client
from omegakit.requestid import HEADER, RequestIds, outgoing
from omegakit.server import HttpServer
from omegakit.settings import HttpSettings


async def bound(_request: Request) -> Response:
    return JSONResponse({"bound": structlog.contextvars.get_contextvars().get("request_id"), "next": outgoing()})


async def ask(headers: dict[str, str]) -> Any:
    server = HttpServer(RequestIds(Starlette(routes=[Route("/", bound)])), HttpSettings())
    await server.start()
    async with open_client(server.url) as client:
        answer = (await client.get("/", headers=headers)).json()
    await server.stop()
    return answer


async def test_the_caller_s_id_is_bound_and_passed_on() -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        sent = outgoing()
    assert sent == {HEADER: "r1"}
    assert await ask(sent) == {"bound": "r1", "next": {HEADER: "r1"}}


async def test_without_an_id_none_is_passed_on() -> None:
    assert outgoing() == {}
    assert await ask({}) == {"bound": None, "next": {}}


async def test_a_very_long_id_is_cut() -> None:
    assert len((await ask({HEADER: "x" * 1000}))["bound"]) == 128
