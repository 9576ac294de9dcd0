"""Every route with every role, generated from the routes and the scope table; a route without a scope cannot exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from omega_gateway.access import Guard, guard_of, scoped_router
from omega_gateway.routes import ROUTERS
from omegaproto.scopes import OPERATIONS, RANK, Principal, Role, allows

from .conftest import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")
ROLES = list(RANK)
FILL = {"store": "models", "name": "x", "action": "predict"}


def all_routes() -> Iterator[tuple[str, APIRoute]]:
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            for method in sorted(route.methods or ()):
                yield method, route


async def test_every_route_carries_an_operation_of_the_table(shared: Mesh) -> None:
    served = [route for route in shared.gateway.api.routes if getattr(route, "path", "").startswith("/api")]
    assert len(served) == sum(len(router.routes) for router in ROUTERS) > 25
    for route in served:
        assert isinstance(route, APIRoute)
        assert guard_of(route).operation in OPERATIONS
    others = {getattr(route, "path", "") for route in shared.gateway.api.routes} - {route.path for route in served}
    assert others == {"/openapi.json", "/healthz", "/readyz", "/metrics"}


async def test_a_route_without_a_scope_cannot_be_made() -> None:
    router = scoped_router("test")
    with pytest.raises(TypeError, match="0 guards"):

        @router.get("/open")
        async def open_to_all() -> None: ...


async def test_a_scope_outside_the_table_cannot_be_named() -> None:
    with pytest.raises(ValueError, match="not in the scope table"):
        Guard("object.invent")


@pytest.mark.parametrize(
    ("method", "route"), [pytest.param(*pair, id=f"{pair[0]} {pair[1].path}") for pair in all_routes()]
)
async def test_a_role_opens_exactly_the_routes_of_its_operations(shared: Mesh, method: str, route: APIRoute) -> None:
    guard = guard_of(route)
    path = re.sub(r"{(\w+)(:path)?}", lambda found: FILL.get(found[1], "abc"), route.path)
    for role in ROLES:
        for everywhere in (False, True):
            grants = {"*" if everywhere else "omegaml": role}
            status = await status_of(shared, method, path, grants)
            admitted = allows(role, guard.operation) and (everywhere or guard.scope != "mesh")
            assert (status not in {401, 403}) is admitted, (role, everywhere, status)


@pytest.mark.parametrize(
    ("method", "route"), [pytest.param(*pair, id=f"{pair[0]} {pair[1].path}") for pair in all_routes()]
)
async def test_a_role_in_another_bucket_opens_nothing_here(shared: Mesh, method: str, route: APIRoute) -> None:
    path = re.sub(r"{(\w+)(:path)?}", lambda found: FILL.get(found[1], "abc"), route.path)
    status = await status_of(shared, method, path, {"elsewhere": Role.admin})
    assert status == (200 if guard_of(route).scope == "anywhere" else 403)


async def status_of(mesh: Mesh, method: str, path: str, grants: dict[str, Role]) -> int:
    token = mesh.kit.tokens._cached(Principal(userid="ann", grants=grants))
    async with mesh.client(f"Bearer {token}") as client:
        answer: Any = await client.request(method, path, content=b"", headers={"Content-Type": "application/json"})
        return answer.status_code


async def test_a_stranger_learns_nothing_from_a_body(shared: Mesh) -> None:
    async with shared.client(None) as stranger:
        answer = await stranger.put("/api/v1/objects/models/x", content=b"{not json")
    assert answer.status_code == 401


async def test_fitting_by_a_task_needs_a_writer(shared: Mesh) -> None:
    runner = await shared.user("runa", omegaml="runner")
    async with shared.client(runner) as client:
        spec = {"action": "model.fit", "target": "m", "inputs": {"X": "x"}}
        refused = await client.post("/api/v1/tasks", json={"specs": [spec]})
        assert refused.status_code == 403 and "model.fit" in refused.json()["message"]
        allowed = await client.post("/api/v1/tasks", json={"specs": [{"action": "noop"}]})
        assert allowed.status_code == 200
    assert all(claimed.task.spec.action == "noop" for claimed in shared.worker.tasks)


async def test_buckets_are_shown_to_those_who_may_read_them(shared: Mesh) -> None:
    async with shared.client(bucket="sales") as client:
        body = {"kind": "k", "kind_meta": {}}
        assert (await client.put("/api/v1/objects/datasets/d", json=body)).status_code == 200
    await shared.put_model()
    async with shared.client() as admin:
        assert (await admin.get("/api/v1/buckets")).json()["items"] == ["omegaml", "sales"]
    async with shared.client(await shared.user("sally", sales="reader")) as sally:
        assert (await sally.get("/api/v1/buckets")).json()["items"] == ["sales"]
    async with shared.client(await shared.user("nobody")) as nobody:
        assert (await nobody.get("/api/v1/buckets")).status_code == 403
