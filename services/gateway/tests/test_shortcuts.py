"""Shortcuts answer what the routes would: the same request is sent both ways, and what comes back is compared."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.types import Message

from omega_gateway.shortcut import Reply, answer, whole_body
from omegaproto.errors import Overloaded, TooLarge
from omegaproto.ids import new_id

from .conftest import ADMIN_KEY, BUCKET, Gateways, Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")
OWN_LOOP = pytest.mark.asyncio(loop_scope="function")
"""For tests with a mesh of their own."""
TASKS = "/api/v1/tasks"
JSON = {"Content-Type": "application/json"}
ROUTED = {"async": "1"}
"""What no route of tasks looks at, and no shortcut takes."""


def fast(mesh: Mesh) -> float:
    """Give how many requests the shortcut of tasks answered."""
    text = mesh.kit.metrics.render().decode()
    return sum(map(float, re.findall(r'omega_http_seconds_count\{[^}]*route="fast task"[^}]*\} (\S+)', text)))


def shown(answer: Any) -> tuple[int, Any, dict[str, str]]:
    """Give what must be the same both ways."""
    headers = {name: value for name, value in answer.headers.items() if name not in {"date", "x-request-id"}}
    return answer.status_code, answer.json(), headers


async def known(client: Any) -> Any:
    """Have the client's key known to the gateway."""
    assert (await client.get("/api/v1/ping")).status_code == 200
    return client


async def both_ways(mesh: Mesh, client: Any, *request: Any, **more: Any) -> Any:
    """Send a request by the shortcut and by the route; give the answer when it is the same."""
    headers, before = more.pop("headers", {}), fast(mesh)
    short = await client.request(*request, headers=headers | {"X-Request-ID": "short"}, **more)
    taken = fast(mesh) - before
    routed = await client.request(*request, headers=headers | ROUTED | {"X-Request-ID": "routed"}, **more)
    assert fast(mesh) - before == taken, "the other way must lead to the route"
    assert shown(short) == shown(routed)
    assert (short.headers["X-Request-ID"], routed.headers["X-Request-ID"]) == ("short", "routed")
    short.taken = taken == 1
    return short


async def submitted(client: Any, **fields: Any) -> str:
    made = await client.post(TASKS, json={"specs": [{"action": "noop"} | fields]})
    assert made.status_code == 200, made.text
    return str(made.json()["items"][0]["id"])


async def test_a_submit_and_a_result(shared: Mesh) -> None:
    async with shared.client() as client:
        await known(client)
        spec = {"action": "noop", "idempotency_key": new_id(), "params": {"result": {"ü": [1, None, 2.5]}}}
        task_id = await submitted(client, **spec)
        result = f"/api/v1/task/{task_id}/result?wait=20"
        assert (await client.get(result)).status_code == 200
        again = await both_ways(shared, client, "POST", TASKS, json={"specs": [spec]})
        assert (again.taken, again.status_code, again.json()["items"][0]["id"]) == (True, 200, task_id)
        ended = await both_ways(shared, client, "GET", result)
        assert (ended.taken, ended.status_code) == (True, 200)
        assert ended.json()["result"]["value"] == {"ü": [1, None, 2.5]}
        assert ended.headers["Content-Type"] == "application/json"


async def test_202_while_it_runs(shared: Mesh) -> None:
    shared.worker.open.clear()
    shared.worker.arrived.clear()
    async with shared.client() as client:
        task_id = await submitted(await known(client))
        await shared.worker.arrived.wait()
        answer = await both_ways(shared, client, "GET", f"/api/v1/task/{task_id}/result?wait=0.05")
        shared.worker.open.set()
        assert (answer.taken, answer.status_code, answer.json()["state"]) == (True, 202, "running")
        assert (await client.get(f"/api/v1/task/{task_id}/result?wait=20")).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b'{"specs": []}',
        b'{"specs": [{}]}',
        b'{"specs": [{"action": "noop", "timeout_seconds": -1}]}',
        b'{"specs": [{"action": "noop", "not_before": "soon"}]}',
        b'{"specs": [{"action": "noop", "params": {"a": NaN}}]}',
        b'{"specs": [{"action": "noop", "params": {"a": "\\ud800"}}]}',
        b'{"specs": [{"action": "\xff"}]}',
        b"[" * 100_000,
    ],
)
async def test_a_body_that_does_not_fit(shared: Mesh, body: bytes) -> None:
    async with shared.client() as client:
        answer = await both_ways(shared, await known(client), "POST", TASKS, content=body, headers=JSON)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_body")


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"action": "dance"}, "unknown_action"),
        ({"action": "noop", "label": "quantum"}, "unknown_label"),
        ({"action": "noop", "bucket": "elsewhere"}, "bad_request"),
        ({"action": "model.predict", "target": "a[[["}, "bad_name"),
        ({"action": "noop", "params": {"x": "y" * 300_000}}, "too_large"),
    ],
)
async def test_a_task_that_is_refused(shared: Mesh, spec: dict[str, Any], code: str) -> None:
    async with shared.client() as client:
        answer = await both_ways(shared, await known(client), "POST", TASKS, json={"specs": [spec]})
    assert (answer.taken, answer.json()["error"]["code"]) == (True, code)


async def test_a_task_that_is_not_there(shared: Mesh) -> None:
    async with shared.client() as client, shared.client(bucket="sales") as elsewhere:
        await known(client)
        answer = await both_ways(shared, client, "GET", f"/api/v1/task/{'0' * 32}/result?wait=1")
        assert (answer.taken, answer.status_code) == (True, 404)
        task_id = await submitted(client)
        answer = await both_ways(shared, await known(elsewhere), "GET", f"/api/v1/task/{task_id}/result?wait=1")
        assert (answer.taken, answer.status_code) == (True, 404)


@OWN_LOOP
@pytest.mark.parametrize("pieces", [1, 20])
async def test_a_body_over_the_limit(meshes: Gateways, pieces: int) -> None:
    mesh = await meshes(json_body_bytes=2000)

    async def chunks() -> Any:
        for _ in range(pieces):
            yield b" " * (20_000 // pieces)

    async with mesh.client() as client:
        await known(client)
        spec = {"specs": [{"action": "noop", "params": {"x": "y" * 2000}}]}
        answer = await both_ways(mesh, client, "POST", TASKS, json=spec)
        assert (answer.taken, answer.status_code) == (True, 413)
        streamed = await client.post(TASKS, content=chunks(), headers=JSON)
        assert (streamed.status_code, streamed.json()) == (413, answer.json())
        assert await submitted(client)


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", None])
async def test_a_body_of_another_type_goes_to_the_route(shared: Mesh, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    async with shared.client() as client:
        body = b'{"specs": [{"action": "noop"}]}'
        answer = await both_ways(shared, await known(client), "POST", TASKS, content=body, headers=headers)
    assert (answer.taken, answer.status_code) == (False, 400)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_by_another_name_is_json(shared: Mesh, content_type: str) -> None:
    before = fast(shared)
    async with shared.client() as client:
        body = b'{"specs": [{"action": "noop"}]}'
        answer = await (await known(client)).post(TASKS, content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, fast(shared)) == (200, before + 1)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 202),
        ("?", 202),
        ("?wait=nan", 400),
        ("?wait=-1", 400),
        ("?wait=1e-3", 202),
        ("?wait=0&wait=0", 202),
        ("?wait=0&other=1", 202),
        ("?wait=9999", 400),
    ],
)
async def test_other_queries_go_to_the_route(shared: Mesh, query: str, status: int) -> None:
    async with shared.client() as client:
        task_id = await submitted(await known(client), not_before="2100-01-01T00:00:00Z")
        before = fast(shared)
        answer = await client.get(f"/api/v1/task/{task_id}/result{query}")
        assert (answer.status_code, fast(shared)) == (status, before), answer.text
        await client.delete(f"/api/v1/task/{task_id}")


async def test_other_paths_and_methods_go_to_the_route(shared: Mesh) -> None:
    async with shared.client() as client:
        await known(client)
        before = fast(shared)
        for method, path, status in (
            ("GET", "/api/v1/task/a%20b/result?wait=1", 400),
            ("GET", f"/api/v1/task/{'x' * 129}/result?wait=1", 400),
            ("GET", "/api/v1/task/x%0A/result?wait=1", 400),
            ("POST", f"{TASKS}?x=1", 400),
            ("PUT", TASKS, 405),
            ("POST", f"{TASKS}/", 404),
        ):
            assert (await client.request(method, path)).status_code == status, path
        assert fast(shared) == before


@pytest.mark.parametrize("bucket", ["a/b", "ü", "x" * 129])
async def test_a_bucket_that_cannot_be_one_goes_to_the_route(shared: Mesh, bucket: str) -> None:
    async with shared.client() as client:
        headers = {"Bucket": bucket.encode()}
        answer = await (await known(client)).post(TASKS, json={"specs": [{"action": "noop"}]}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")


async def test_the_first_of_two_headers_counts_as_it_does_for_the_route(shared: Mesh) -> None:
    ann = await shared.user("ann2", sales="runner")
    for headers, status in (
        ([("Authorization", ann), ("Authorization", f"ApiKey admin:{ADMIN_KEY}")], 403),
        ([("Authorization", ann), ("Bucket", "sales"), ("Bucket", BUCKET)], 200),
        ([("Authorization", ann), ("Bucket", BUCKET), ("Bucket", "sales")], 403),
    ):
        async with shared.client(ann, bucket="sales") as client, shared.client() as admin:
            await known(admin)
            await client.get("/api/v1/task/x/result?wait=0")
        async with shared.client(None) as client:
            answer = await client.post(TASKS, json={"specs": [{"action": "noop"}]}, headers=headers)
            assert answer.status_code == status, (headers, answer.text)


@pytest.mark.parametrize("bucket", ["", "default", BUCKET])
async def test_the_names_of_the_default_bucket(shared: Mesh, bucket: str) -> None:
    async with shared.client() as client:
        task_id = await submitted(await known(client))
        path = f"/api/v1/task/{task_id}/result?wait=20"
        assert (await client.get(path)).status_code == 200
        answer = await both_ways(shared, client, "GET", path, headers={"Bucket": bucket})
        assert (answer.taken, answer.status_code, answer.json()["spec"]["bucket"]) == (True, 200, BUCKET)


async def test_a_reader_reads_and_may_not_submit(shared: Mesh) -> None:
    async with shared.client(await shared.user("rita", omegaml="reader")) as reader, shared.client() as admin:
        task_id = await submitted(await known(admin))
        path = f"/api/v1/task/{task_id}/result?wait=20"
        assert (await reader.get(path)).status_code == 200
        assert (await both_ways(shared, reader, "GET", path)).taken
        answer = await both_ways(shared, reader, "POST", TASKS, json={"specs": [{"action": "noop"}]})
        assert (answer.taken, answer.status_code, answer.json()["error"]["code"]) == (False, 403, "forbidden")
        fit = {"specs": [{"action": "model.fit", "target": "m"}]}
        async with shared.client(await shared.user("rudi", omegaml="runner")) as runner:
            assert await submitted(runner)
            answer = await both_ways(shared, runner, "POST", TASKS, json=fit)
            assert (answer.taken, answer.status_code) == (True, 403)


async def test_a_revoked_key_is_refused_both_ways(shared: Mesh) -> None:
    async with shared.client() as admin:
        made = (await admin.post("/api/v1/users", json={"userid": "eve", "grants": {BUCKET: "runner"}})).json()
        async with shared.client(f"ApiKey eve:{made['apikey']}") as eve:
            await submitted(eve)
            before = fast(shared)
            task_id = await submitted(eve)
            assert fast(shared) == before + 1
            assert (await admin.delete(f"/api/v1/keys/{made['key_id']}")).status_code == 204
            for request in (("POST", TASKS), ("GET", f"/api/v1/task/{task_id}/result?wait=1")):
                answer = await both_ways(shared, eve, *request, headers=JSON)
                assert (answer.taken, answer.status_code) == (False, 401)
                assert "ApiKey" in answer.headers["WWW-Authenticate"]


@OWN_LOOP
async def test_a_bus_that_is_down_is_told_both_ways(meshes: Gateways) -> None:
    mesh = await meshes()
    async with mesh.client() as client:
        await known(client)
        await mesh.kit.bus.close()
        result = await both_ways(mesh, client, "GET", f"/api/v1/task/{'0' * 32}/result?wait=1")
        submit = await both_ways(mesh, client, "POST", TASKS, json={"specs": [{"action": "noop"}]})
    for each in (result, submit):
        assert (each.taken, each.status_code, each.headers.get("Retry-After")) == (True, 503, "1"), each.text


@OWN_LOOP
@pytest.mark.parametrize("sent", [b"", b'{"specs": [{"act'])
async def test_a_client_that_hangs_up_within_its_body_breaks_nothing(meshes: Gateways, sent: bytes) -> None:
    mesh = await meshes(max_requests=1)
    async with mesh.client() as client:
        await known(client)
        url = urlsplit(mesh.url)
        _, writer = await asyncio.open_connection(url.hostname, url.port)
        head = f"POST {TASKS} HTTP/1.1\r\nHost: x\r\nAuthorization: ApiKey admin:{ADMIN_KEY}\r\n"
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 500\r\n\r\n".encode() + sent)
        await writer.drain()
        while not mesh.gateway._edge._running:
            await asyncio.sleep(0)
        writer.close()
        async with asyncio.timeout(20):
            while mesh.gateway._edge._running:
                await asyncio.sleep(0)
        assert fast(mesh) == 1
        assert await submitted(client)
        assert (await client.get(TASKS)).json()["items"][1:] == []


async def asked(work: Any) -> tuple[int, list[Message]]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"0123456789", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    return await answer(work, receive, send, b"id"), sent


async def test_what_nobody_expected_is_told_by_an_error_id_alone() -> None:
    async def breaks(_receive: Any, _request_id: str) -> Reply:
        raise LookupError("the password is secret")

    status, (start, body) = await asked(breaks)
    assert (status, start["status"]) == (500, 500)
    assert b"secret" not in body["body"]
    assert b"error id" in body["body"]
    assert (b"x-request-id", b"id") in start["headers"]


async def test_errors_carry_their_headers_and_length() -> None:
    async def refuses(_receive: Any, _request_id: str) -> Reply:
        raise Overloaded("too many")

    status, (start, body) = await asked(refuses)
    assert status == 429
    assert {(b"retry-after", b"1"), (b"content-length", b"%d" % len(body["body"]))} <= set(start["headers"])


@pytest.mark.parametrize(("limit", "status"), [(9, 413), (10, 200)])
async def test_a_body_that_comes_whole_is_bounded_too(limit: int, status: int) -> None:
    async def gives_back(receive: Any, _request_id: str) -> Reply:
        return Reply(200, await whole_body(receive, limit, lambda most: TooLarge(f"over {most}")))

    assert (await asked(gives_back))[0] == status
