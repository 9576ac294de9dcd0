"""The gateway as a whole: health, ids, bounds, unknown routes, bodies that are no JSON, errors without internals."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from omega_gateway.errors import from_http
from omegaproto.errors import BadBody, OmegaError, TooLarge

from .conftest import Gateways, Mesh


async def test_health_says_what_it_is(mesh: Mesh) -> None:
    async with mesh.client(None) as anyone:
        assert (await anyone.get("/healthz")).json() == {"status": "ok", "service": "gateway"}
        ready = await anyone.get("/readyz")
        assert ready.status_code == 200 and ready.json()["checks"] == {"bus": "ok", "drain": "ok"}
        await anyone.get("/api/v1/ping")
        assert 'route="/api/v1/ping",status="401"' in (await anyone.get("/metrics")).text
        await mesh.kit.bus.close()
        assert (await anyone.get("/readyz")).status_code == 503


async def test_every_answer_carries_the_request_id(mesh: Mesh) -> None:
    await mesh.put_model()
    async with mesh.client() as client:
        ids = set()
        for path in ("/api/v1/ping", "/nothing", "/healthz"):
            ids.add((await client.get(path)).headers["X-Request-ID"])
            mine = await client.get(path, headers={"X-Request-ID": "my-id.1"})
            assert mine.headers["X-Request-ID"] == "my-id.1"
        assert len(ids) == 3
        strange = await client.get("/api/v1/ping", headers={"X-Request-ID": "a b\tc"})
        assert strange.headers["X-Request-ID"] != "a b\tc"
        for _ in range(2):
            answer = await client.post(
                "/api/v1/model/m/predict", json={"data": [[1]]}, headers={"X-Request-ID": "predict-1"}
            )
            assert answer.headers["X-Request-ID"] == "predict-1"


async def test_unknown_paths_and_methods(mesh: Mesh) -> None:
    async with mesh.client() as client:
        for path in ("/nothing", "/api/v1/nothing", "/api/v1/ping/", "/docs"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        answer = await client.delete("/api/v1/ping")
        assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe{}",
        b'{"specs": NaN}',
        b'{"specs": [{"action": "noop", "params": {"a": Infinity}}]}',
        b'{"specs": [{"action": "noop", "params": {"a": "\\ud800"}}]}',
        b"[" * 100_000,
        b"",
        b"null",
        b"[]",
    ],
)
async def test_a_body_that_is_not_what_is_asked_for(mesh: Mesh, body: bytes) -> None:
    async with mesh.client() as client:
        answer = await client.post("/api/v1/tasks", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_body"), answer.text


async def test_a_body_of_another_type_is_refused(mesh: Mesh) -> None:
    async with mesh.client() as client:
        answer = await client.post("/api/v1/tasks", content=b"{}", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_body")


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_body_over_the_limit_is_refused(meshes: Gateways, streamed: bool) -> None:
    mesh = await meshes(json_body_bytes=10_000)

    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 1000

    async with mesh.client() as client:
        content = chunks() if streamed else b" " * 100_000
        answer = await client.post("/api/v1/tasks", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["details"]) == (413, {"limit": 10_000})
        assert (await client.get("/api/v1/ping")).status_code == 200


async def test_a_request_over_the_bound_is_told_to_come_back(meshes: Gateways) -> None:
    mesh = await meshes(max_requests=1)
    async with mesh.client() as client:
        mesh.worker.open.clear()
        task = (await client.post("/api/v1/tasks", json={"specs": [{"action": "noop"}]})).json()["items"][0]
        waiting = asyncio.create_task(client.get(f"/api/v1/task/{task['id']}/result?wait=30"))
        while not mesh.gateway._parts.waiters.count:
            await asyncio.sleep(0)
        refused = await client.get("/api/v1/ping")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert (await client.get("/healthz")).status_code == 200
        mesh.worker.open.set()
        assert (await waiting).status_code == 200
        assert (await client.get("/api/v1/ping")).status_code == 200


async def test_an_unexpected_exception_shows_an_id_and_nothing_else(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: Any, **_named: Any) -> str:
        raise RuntimeError("a secret of the inside")

    await mesh.put_model()
    async with mesh.client() as client:
        await client.post("/api/v1/model/m/predict", json={"data": [[1]]})
        monkeypatch.setattr(type(mesh.kit.tokens), "acting_for", broken)
        predictor = type(mesh.gateway._parts.predictor)
        monkeypatch.setattr(predictor, "item", broken)
        for answer in (
            await client.get("/api/v1/objects/models"),
            await client.post("/api/v1/model/m/predict", json={"data": [[1]]}),
        ):
            assert answer.status_code == 500
            assert answer.json()["error"]["details"]["error_id"] in answer.json()["message"]
            assert "secret" not in answer.text and "RuntimeError" not in answer.text


async def test_a_bucket_that_cannot_be_one(mesh: Mesh) -> None:
    async with mesh.client(bucket="a b") as client:
        assert (await client.get("/api/v1/ping")).json()["error"]["code"] == "bad_request"


async def test_metadata_away_is_said_so(meshes: Gateways) -> None:
    mesh = await meshes()
    async with mesh.client() as client:
        mesh.broker._requests.clear()
        for path in ("/api/v1/ping", "/api/v1/objects/models"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")


async def test_a_client_that_leaves_in_its_body_leaves_no_trace(mesh: Mesh, caplog: pytest.LogCaptureFixture) -> None:
    await mesh.put_model()
    host, port = mesh.url.removeprefix("http://").split(":")
    async with mesh.client() as client:
        credentials = client.headers["Authorization"]
        for warm in (False, True):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                f"POST /api/v1/model/m/predict HTTP/1.1\r\nHost: x\r\nAuthorization: {credentials}\r\n"
                "Content-Length: 100\r\n\r\n{".encode()
            )
            await writer.drain()
            while not mesh.gateway._edge._running:
                await asyncio.sleep(0)
            writer.transport.abort()
            while mesh.gateway._edge._running:
                await asyncio.sleep(0)
            if not warm:
                await client.post("/api/v1/model/m/predict", json={"data": [[1]]})
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("error", "kind"), [(HTTPException(413), TooLarge), (HTTPException(400), BadBody), (HTTPException(500), OmegaError)]
)
def test_what_the_framework_raises_becomes_our_own(error: HTTPException, kind: type[OmegaError]) -> None:
    assert type(from_http(error, "GET", "/x")) is kind


async def test_the_openapi_page_documents_routes_errors_and_credentials(mesh: Mesh) -> None:
    async with mesh.client(None) as anyone:
        page = (await anyone.get("/openapi.json")).json()
    assert page["components"]["securitySchemes"].keys() == {"ApiKey", "Bucket"}
    for path, methods in page["paths"].items():
        for operation in methods.values():
            assert {"400", "401", "403", "413", "429", "503"} <= operation["responses"].keys(), path
    assert "/api/v1/model/{name}/{action}" in page["paths"]
