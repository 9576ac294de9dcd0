"""The service as its process sees it."""

from __future__ import annotations

from typing import Any

import pytest

from omega_metadata.app import create
from omega_metadata.settings import MetadataSettings
from omegakit.bus.memory import MemoryBroker, MemoryBus
from omegakit.service import make_kit
from omegakit.settings import AuthSettings


async def test_health_and_metrics_answer(service: Any) -> None:
    made, _, _ = service
    transport = HttpProbe(made)
    assert (await transport.get("/healthz"))[0] == 200
    status, body = await transport.get("/readyz")
    assert status == 200, body
    assert b"omega_up 1.0" in (await transport.get("/metrics"))[1]


async def test_a_store_that_is_closed_is_not_ready(service: Any) -> None:
    made, _, _ = service
    await made.stop()
    assert (await HttpProbe(made).get("/readyz"))[0] == 503


def test_without_a_pepper_there_is_no_service() -> None:
    settings = MetadataSettings(auth=AuthSettings(secret="s" * 40))
    kit = make_kit("metadata", settings, MemoryBus(MemoryBroker()))
    with pytest.raises(ValueError, match="OMEGA_AUTH__PEPPER"):
        create(kit, settings)


class HttpProbe:
    """Asks an ASGI application in this event loop."""

    def __init__(self, service: Any) -> None:
        self._app = service.asgi

    async def get(self, path: str) -> tuple[int, bytes]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
                 "headers": [], "http_version": "1.1", "scheme": "http", "root_path": ""}  # fmt: skip
        await self._app(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])
