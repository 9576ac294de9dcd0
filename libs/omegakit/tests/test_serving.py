"""A service as its process runs it: listening, health, metrics, drain."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from omegakit.health import health_routes
from omegakit.http import open_client
from omegakit.metrics import Metrics
from omegakit.server import HttpServer
from omegakit.settings import HttpSettings
from omegaproto.errors import Unavailable


class TinyService:
    """Answers one slow route, and says when it is well."""

    def __init__(self) -> None:
        self.well = True
        self.entered, self.release = asyncio.Event(), asyncio.Event()
        self.metrics = Metrics("tiny")
        routes = [*health_routes(self.metrics, {"part": self.check, "other": self.other}), Route("/slow", self.slow)]
        self.asgi = Starlette(routes=routes)

    async def check(self) -> None:
        if not self.well:
            raise Unavailable("The part is away.")

    async def other(self) -> None:
        if not self.well:
            raise RuntimeError("odd")

    async def slow(self, _request: Request) -> Response:
        self.entered.set()
        await self.release.wait()
        return PlainTextResponse("done")


@pytest.fixture(params=["tcp", "unix"])
def listening(request: pytest.FixtureRequest, tmp_path: Path) -> HttpSettings:
    return HttpSettings(uds=tmp_path / "s") if request.param == "unix" else HttpSettings()


async def test_health_and_metrics(listening: HttpSettings) -> None:
    service = TinyService()
    server = HttpServer(service.asgi, listening)
    await server.start()
    async with open_client(server.url) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok", "service": "tiny"}
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]) == (200, {"part": "ok", "other": "ok"})
        service.well = False
        away = await client.get("/readyz")
        assert away.status_code == 503
        assert away.json()["checks"] == {"part": "The part is away.", "other": "RuntimeError: odd"}
        text = (await client.get("/metrics")).text
        assert "omega_up 0.0" in text
    await server.stop()
    if listening.uds is not None:
        assert not listening.uds.exists()


async def test_a_running_request_is_answered_before_the_server_stops(listening: HttpSettings) -> None:
    service = TinyService()
    server = HttpServer(service.asgi, listening)
    await server.start()
    async with open_client(server.url) as client:
        answer = asyncio.create_task(client.get("/slow"))
        await service.entered.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        service.release.set()
        assert (await answer).text == "done"
        await stopping


async def test_a_port_that_is_taken_is_told_at_once() -> None:
    first = HttpServer(TinyService().asgi, HttpSettings())
    await first.start()
    port = int(first.url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match="in use"):
        HttpServer(TinyService().asgi, HttpSettings(port=port))
    await first.stop()


def test_metrics_of_two_services_live_in_one_process() -> None:
    first, second = Metrics("a"), Metrics("b")
    counter = first.counter("omega_things_total", "Things.", ("kind",))
    counter.labels("x").inc()
    with first.timed(first.histogram("omega_seconds", "Seconds.", ("name",)), "n"):
        pass
    with first.timed(first.histogram("omega_plain_seconds", "Seconds.")):
        pass
    assert b'omega_things_total{kind="x"} 1.0' in first.render()
    assert b'omega_seconds_count{name="n"} 1.0' in first.render()
    assert b"omega_things" not in second.render()


def test_a_service_process_starts_and_drains_on_sigterm(tmp_path: Path) -> None:
    environment: dict[str, Any] = os.environ | {
        "OMEGA_BUS__URL": "memory://",
        "OMEGA_DOCS__URL": f"sqlite:///{tmp_path / 'd'}",
        "OMEGA_AUTH__SECRET": "s" * 40,
        "OMEGA_AUTH__PEPPER": "p" * 40,
    }
    command = [sys.executable, "-m", "omega_metadata"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert '"started"' in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(30) == 0
    assert '"draining"' in rest
    assert "Traceback" not in rest


RELAYING = """
import resource
from omegakit.server import keep_freed_memory

keep_freed_memory()
for cycle in range(101):
    chunks = [bytes(256 * 1024) for _ in range(20)]
    del chunks
    if cycle == 0:
        warm = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - warm)
"""


def test_memory_that_was_freed_is_used_again_without_being_brought_in_anew() -> None:
    """20 chunks of 64 pages, 100 times: 50,000 page faults and more when the C library gives them back each time."""
    told = subprocess.run([sys.executable, "-c", RELAYING], capture_output=True, text=True, check=True).stdout
    assert int(told) < 5000
