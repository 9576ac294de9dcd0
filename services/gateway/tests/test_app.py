"""The gateway as a whole: health, ids, bounds, unknown routes, errors, drain."""

from __future__ import annotations

from typing import Any


async def test_health_says_what_it_is(mesh: Any) -> None:
    async with mesh.client(None) as anyone:
        assert (await anyone.get("/healthz")).json() == {"status": "ok", "service": "gateway"}
        ready = await anyone.get("/readyz")
        assert ready.status_code == 200 and ready.json()["checks"] == {"bus": "ok", "drain": "ok"}
        assert "omega_http_seconds" in (await anyone.get("/metrics")).text


async def test_ping_says_who_asks(admin: Any) -> None:
    answer = await admin.get("/api/v1/ping")
    assert answer.status_code == 200
    assert (answer.json()["userid"], answer.json()["bucket"]) == ("admin", "omegaml")


async def test_smoke(admin: Any, mesh: Any) -> None:
    made = await mesh.put_model("a/m")
    assert made["name"] == "a/m"
    answer = await admin.post("/api/v1/model/a/m/predict", json={"data": [[1, 2]]})
    assert answer.json() == {"model": "a/m", "result": [3], "resource_uri": "/api/v1/model/a/m/predict"}, answer.text
    answer = await admin.post("/api/v1/model/a/m/predict", json={"data": [[1, 2]]})
    assert answer.json()["result"] == [3]
    answer = await admin.put("/api/v1/model/a/m/fit?datax=x&datay=y")
    assert answer.json()["result"] == [1.5], answer.text
    answer = await admin.post("/api/v1/tasks", json={"specs": [{"action": "noop"}]})
    task = answer.json()["items"][0]
    answer = await admin.get(f"/api/v1/task/{task['id']}/result?wait=10")
    assert answer.status_code == 200, answer.text
