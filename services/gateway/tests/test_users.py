"""Users over HTTP: made, given keys and grants, and shut out at once."""

from __future__ import annotations

import pytest

from .conftest import Gateways, Mesh


async def test_a_user_from_first_key_to_last(mesh: Mesh) -> None:
    async with mesh.client() as admin:
        made = await admin.post("/api/v1/users", json={"userid": "ann", "grants": {"omegaml": "reader"}})
        assert made.status_code == 201 and made.json()["apikey"].startswith("omk_")
        more = (await admin.post("/api/v1/users/ann/keys")).json()
        async with mesh.client(f"ann:{more['apikey']}") as ann:
            assert (await ann.get("/api/v1/objects/models")).status_code == 200
            assert (await ann.post("/api/v1/blobs", content=b"x")).status_code == 403
            grants = await admin.put("/api/v1/users/ann/grants", json={"grants": {"omegaml": "writer"}})
            assert grants.status_code == 204
            assert (await ann.post("/api/v1/blobs", content=b"x")).status_code == 201
            assert (await admin.delete(f"/api/v1/keys/{more['key_id']}")).status_code == 204
            assert (await ann.get("/api/v1/objects/models")).status_code == 401
        async with mesh.client(f"ann:{made.json()['apikey']}") as ann:
            assert (await ann.get("/api/v1/objects/models")).status_code == 200


async def test_a_key_revoked_at_one_gateway_is_refused_by_another(meshes: Gateways) -> None:
    mesh = await meshes()
    _, second, _ = await mesh.second_gateway()
    async with mesh.client() as admin:
        made = (await admin.post("/api/v1/users", json={"userid": "ann", "grants": {"*": "reader"}})).json()
        async with mesh.client(f"ann:{made['apikey']}") as ann:
            assert (await ann.get(f"{second.url}/api/v1/ping")).status_code == 200
            await admin.delete(f"/api/v1/keys/{made['key_id']}")
            assert (await ann.get(f"{second.url}/api/v1/ping")).status_code == 401


async def test_an_expired_key_opens_nothing(mesh: Mesh) -> None:
    async with mesh.client() as admin:
        await admin.post("/api/v1/users", json={"userid": "ann", "grants": {"*": "reader"}})
        body = {"expires_at": "2001-01-01T00:00:00Z"}
        key = (await admin.post("/api/v1/users/ann/keys", json=body)).json()["apikey"]
    async with mesh.client(f"ann:{key}") as ann:
        assert (await ann.get("/api/v1/ping")).status_code == 401


async def test_bad_requests_about_users(mesh: Mesh) -> None:
    async with mesh.client() as admin:
        await admin.post("/api/v1/users", json={"userid": "ann"})
        cases = [
            (await admin.post("/api/v1/users", json={"userid": "ann"}), 409, "duplicate_key"),
            (await admin.post("/api/v1/users", json={"userid": "a b"}), 400, "bad_body"),
            (await admin.post("/api/v1/users", json={"userid": "b", "grants": {"x": "king"}}), 400, "bad_body"),
            (await admin.post("/api/v1/users", json={"userid": "b", "grants": {"x": "service"}}), 403, "forbidden"),
            (await admin.post("/api/v1/users/nobody/keys"), 404, "user_not_found"),
            (await admin.put("/api/v1/users/nobody/grants", json={"grants": {}}), 404, "user_not_found"),
            (await admin.delete("/api/v1/keys/nothing"), 404, "user_not_found"),
        ]
    for answer, status, code in cases:
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


@pytest.mark.parametrize("bucket", ["omegaml", "sales"])
async def test_an_administrator_of_a_bucket_manages_no_users(mesh: Mesh, bucket: str) -> None:
    async with mesh.client(await mesh.user("boss", **{bucket: "admin"}), bucket=bucket) as boss:
        assert (await boss.post("/api/v1/users", json={"userid": "x"})).status_code == 403
