"""Tasks over HTTP: submitting, long polls, cancelling, model verbs that become tasks, and results."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from omega_gateway.routes.models import result_of
from omega_gateway.tasking import MAX_MESSAGE_BYTES, in_messages, operation_of
from omegaproto.errors import NotFitted, OmegaError, TaskCancelled, TaskDead, TooLarge, UnknownAction, Unprocessable
from omegaproto.ids import new_id
from omegaproto.messages import MAX_MESSAGE_BYTES as LIMIT
from omegaproto.tasks import Payload, Task, TaskSpec, TaskState

from .conftest import Gateways, Mesh

NOW = "2026-11-21T00:00:00Z"


def spec(**fields: Any) -> TaskSpec:
    return TaskSpec(**({"bucket": "b", "action": "noop", "idempotency_key": new_id()} | fields))


def ended(state: str, **fields: Any) -> Task:
    return Task(id="t", spec=spec(), userid="ann", state=TaskState(state), created=NOW, modified=NOW, **fields)


async def submit(client: Any, *specs: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await client.post("/api/v1/tasks", json={"specs": list(specs) or [{"action": "noop"}]})
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def test_specs_are_split_into_messages_in_order() -> None:
    specs = [spec(params={"x": "y" * 5000}) for _ in range(100)]
    groups = list(in_messages(specs))
    assert [one for group in groups for one in group] == specs
    assert len(groups) > 2
    assert all(sum(len(one.model_dump_json()) for one in group) < LIMIT * 3 // 4 for group in groups)
    assert list(in_messages([])) == []


def test_a_spec_that_fits_no_message_is_refused() -> None:
    with pytest.raises(TooLarge, match="dataset"):
        list(in_messages([spec(params={"x": "y" * MAX_MESSAGE_BYTES})]))


@pytest.mark.parametrize("action", ["dance", "model.", "model.dance", "modelpredict", "predict", "model.noop"])
def test_unknown_actions(action: str) -> None:
    with pytest.raises(UnknownAction, match=r"model\.predict"):
        operation_of(action)


def test_operations_of_actions() -> None:
    found = [operation_of(action) for action in ("noop", "model.predict", "model.score", "model.fit")]
    assert found == ["task.submit", "model.predict", "model.predict", "model.fit"]


def test_the_result_of_a_task() -> None:
    assert result_of(ended("succeeded", result=Payload(value=[1]))) == [1]
    assert result_of(ended("succeeded")) is None
    cases: dict[type[OmegaError], Task] = {
        Unprocessable: ended("succeeded", result=Payload(kind="numpy.ndarray", data=b"x")),
        TaskCancelled: ended("cancelled"),
        TaskDead: ended("dead"),
        NotFitted: ended("failed", error=NotFitted("fit it").info()),
    }
    for kind, task in cases.items():
        with pytest.raises(kind):
            result_of(task)


async def test_a_task_from_submit_to_result(mesh: Mesh) -> None:
    async with mesh.client() as client:
        (task,) = await submit(client, {"action": "noop", "params": {"result": {"a": 1}}, "bucket": "omegaml"})
        answer = await client.get(f"/api/v1/task/{task['id']}/result?wait=20")
        assert (answer.status_code, answer.json()["result"]["value"]) == (200, {"a": 1})
        status = (await client.get(f"/api/v1/task/{task['id']}/status")).json()
        assert (status["task_id"], status["status"]) == (task["id"], "SUCCESS")
        listed = (await client.get("/api/v1/tasks?state=succeeded")).json()["items"]
        assert [one["id"] for one in listed] == [task["id"]]
        assert (await client.get("/api/v1/tasks?state=queued")).json()["items"] == []


async def test_a_long_poll_wakes_when_the_task_ends_and_not_before(mesh: Mesh) -> None:
    mesh.worker.open.clear()
    async with mesh.client() as client:
        (task,) = await submit(client)
        path = f"/api/v1/task/{task['id']}/result"
        assert (await client.get(path)).status_code == 202
        waiting = asyncio.create_task(client.get(path, params={"wait": 30}))
        while not mesh.gateway._parts.waiters.count:
            await asyncio.sleep(0)
        await mesh.worker.arrived.wait()
        begin = time.monotonic()
        mesh.worker.open.set()
        answer = await waiting
    assert answer.status_code == 200 and time.monotonic() - begin < 5


async def test_a_wait_ends_with_202_when_nothing_does(meshes: Gateways) -> None:
    mesh = await meshes(wait_seconds=0.05)
    mesh.worker.open.clear()
    async with mesh.client() as client:
        (task,) = await submit(client)
        answer = await client.get(f"/api/v1/task/{task['id']}/result?wait=1000")
        assert answer.status_code == 202 and answer.json()["state"] in {"queued", "running"}
        both = await client.post("/api/v1/tasks/wait", json={"task_ids": [task["id"]], "wait": 1})
        assert both.json()["items"] == []
    mesh.worker.open.set()


async def test_waiting_for_several_gives_those_that_ended(mesh: Mesh) -> None:
    async with mesh.client() as client:
        (done,) = await submit(client)
        await client.get(f"/api/v1/task/{done['id']}/result?wait=20")
        mesh.worker.open.clear()
        (open_,) = await submit(client)
        body = {"task_ids": [open_["id"], done["id"]], "wait": 30}
        answer = await client.post("/api/v1/tasks/wait", json=body)
        assert [task["id"] for task in answer.json()["items"]] == [done["id"]]
        mesh.worker.open.set()


async def test_results_too_large_for_one_message_come_all_the_same(mesh: Mesh) -> None:
    async with mesh.client() as client:
        large = {"action": "noop", "params": {"result": "x" * 60_000}}
        tasks = [(await submit(client, large))[0] for _ in range(6)]
        for task in tasks:
            assert (await client.get(f"/api/v1/task/{task['id']}/result?wait=20")).status_code == 200
        ids = [task["id"] for task in tasks]
        answer = await client.post("/api/v1/tasks/wait", json={"task_ids": ids, "wait": 20})
    assert [task["id"] for task in answer.json()["items"]] == ids


async def test_cancelling(mesh: Mesh) -> None:
    mesh.worker.open.clear()
    async with mesh.client() as client:
        later = {"action": "noop", "not_before": "2100-01-01T00:00:00Z"}
        (task,) = await submit(client, later)
        answer = await client.delete(f"/api/v1/task/{task['id']}")
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        assert (await client.delete(f"/api/v1/task/{task['id']}")).status_code == 200
        assert (await client.get(f"/api/v1/task/{task['id']}/status")).json()["status"] == "REVOKED"
        assert (await client.delete("/api/v1/task/nothing")).status_code == 404
    mesh.worker.open.set()


async def test_the_same_idempotency_key_is_the_same_task(mesh: Mesh) -> None:
    async with mesh.client() as client:
        one = {"action": "noop", "idempotency_key": "once"}
        first, second = await submit(client, one), await submit(client, one)
        assert first[0]["id"] == second[0]["id"]
        other = one | {"params": {"result": 2}}
        answer = await client.post("/api/v1/tasks", json={"specs": [other]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_mismatch")


async def test_bad_tasks(mesh: Mesh) -> None:
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"specs": []}, 400, "bad_body"),
        ({"specs": [{}]}, 400, "bad_body"),
        ({"specs": [{"action": "noop", "label": "quantum"}]}, 400, "unknown_label"),
        ({"specs": [{"action": "dance"}]}, 400, "unknown_action"),
        ({"specs": [{"action": "model.predict", "target": "a[[["}]}, 400, "bad_name"),
        ({"specs": [{"action": "model.predict", "target": "m", "inputs": {"X": "["}}]}, 400, "bad_name"),
        ({"specs": [{"action": "noop", "bucket": "elsewhere"}]}, 400, "bad_request"),
        ({"specs": [{"action": "noop", "timeout_seconds": -1}]}, 400, "bad_body"),
    ]
    async with mesh.client() as client:
        for body, status, code in cases:
            answer = await client.post("/api/v1/tasks", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        for path in ("/api/v1/task/nothing/status", "/api/v1/task/nothing/result?wait=5"):
            assert (await client.get(path)).json()["error"]["code"] == "task_not_found"
        assert (await client.get("/api/v1/task/a b/status")).status_code == 400
        assert (await client.get("/api/v1/task/x/result?wait=nan")).status_code == 400


async def test_another_bucket_does_not_see_a_task(mesh: Mesh) -> None:
    async with mesh.client() as client, mesh.client(bucket="sales") as elsewhere:
        (task,) = await submit(client)
        assert (await elsewhere.get(f"/api/v1/task/{task['id']}/status")).status_code == 404


async def test_a_fit_waits_for_its_task(mesh: Mesh) -> None:
    await mesh.put_model()
    async with mesh.client() as client:
        answer = await client.put("/api/v1/model/m/fit?datax=sample[^y]&datay=sample[y]")
        assert answer.json() == {"model": "m", "result": [1.5], "resource_uri": "/api/v1/model/m/fit"}
        assert (await client.post("/api/v1/model/m/partial_fit?datax=x")).status_code == 200
        assert (await client.get("/api/v1/model/m/score?datax=x&datay=y")).status_code == 200
        assert (await client.put("/api/v1/model/m/fit")).status_code == 400
        assert (await client.put("/api/v1/model/none/fit?datax=x")).status_code == 404
    ran = mesh.worker.tasks[0].task.spec
    assert (ran.action, ran.target, ran.inputs) == ("model.fit", "m", {"X": "sample[^y]", "Y": "sample[y]"})
    assert (ran.params, ran.label) == ({"__format": "json"}, "cpu")


@pytest.mark.parametrize("how", [{"params": {"async": "1"}}, {"headers": {"async": "true"}}])
async def test_an_async_verb_says_where_its_result_will_be(mesh: Mesh, how: dict[str, Any]) -> None:
    await mesh.put_model()
    async with mesh.client() as client:
        await client.post("/api/v1/model/m/predict", json={"data": [[1]]})
        answer = await client.post("/api/v1/model/m/predict", json={"data": [[1]]}, **how)
        assert answer.status_code == 202
        assert answer.headers["Location"] == answer.json()["resource_uri"]
        assert (answer.json()["model"], answer.json()["result"]) == ("m", "pending")
        result = await client.get(answer.headers["Location"], params={"wait": 20})
        assert (result.status_code, result.json()["result"]["value"]) == (200, [1.5])
        assert (await client.post("/api/v1/model/m/predict", content=b"{", **how)).status_code == 400
    assert mesh.worker.tasks[0].task.spec.inputs["X"].value == {"data": [[1]]}


async def test_a_repeated_verb_runs_once(mesh: Mesh) -> None:
    await mesh.put_model()
    async with mesh.client() as client:
        for _ in range(2):
            answer = await client.put("/api/v1/model/m/fit?datax=x", headers={"Idempotency-Key": "once"})
            assert answer.status_code == 200
    assert len(mesh.worker.tasks) == 1


async def test_a_verb_that_takes_too_long_says_how_to_go_on(meshes: Gateways) -> None:
    mesh = await meshes(sync_seconds=0.05)
    await mesh.put_model()
    mesh.worker.open.clear()
    async with mesh.client() as client:
        answer = await client.put("/api/v1/model/m/fit?datax=x")
        mesh.worker.open.set()
        assert answer.status_code == 504
        task_id = answer.json()["error"]["details"]["task_id"]
        assert (await client.get(f"/api/v1/task/{task_id}/result?wait=20")).status_code == 200


async def test_the_runtime_tells_of_workers_and_labels(mesh: Mesh) -> None:
    async with mesh.client() as client:
        workers = (await client.get("/api/v1/runtime/workers")).json()
        assert [(one["worker"], one["slots"]) for one in workers["items"]] == [("w1", 16)]
        assert (await client.get("/api/v1/runtime/labels")).json()["items"] == ["cpu"]
