"""Promises: what they say of a task in each of its states, how they wait, and what they raise."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from omegakinds.registry import KindRegistry
from omegamesh.http import MeshClient
from omegamesh.runtime.promise import Promise
from omegamesh.runtime.tasks import TaskApi
from omegaproto.errors import CallTimeout, NotFitted, TaskCancelled, TaskDead, TaskFailed, TaskNotFound
from omegaproto.tasks import TERMINAL, Payload, Task, TaskSpec, TaskState

STATUS = {
    "queued": "PENDING",
    "running": "STARTED",
    "succeeded": "SUCCESS",
    "failed": "FAILURE",
    "dead": "FAILURE",
    "cancelled": "REVOKED",
}
NOT_FITTED = NotFitted("The model was never fitted.", action="Fit it.").info()


def task(state: str, **fields: Any) -> Task:
    now = datetime.now(UTC)
    spec = TaskSpec(bucket="red", action="model.predict", target="m", idempotency_key="k")
    return Task(id="t1", spec=spec, userid="ann", state=TaskState(state), created=now, modified=now, **fields)


@pytest.fixture
def api(client: MeshClient) -> TaskApi:
    """The tasks of bucket red, on the scripted server."""
    return TaskApi(client, KindRegistry())


@pytest.fixture
def says(server: Any, answer: Any) -> Any:
    """Have the server give these tasks, one an answer: 202 for those that go on."""

    def script(*tasks: Task) -> None:
        for each in tasks:
            server.answer(answer(200 if each.state in TERMINAL else 202, each.model_dump(mode="json")))

    return script


@pytest.mark.parametrize("state", sorted(STATUS))
def test_the_status_of_each_state(api: TaskApi, says: Any, state: str) -> None:
    says(task(state))
    promise = Promise(api, task("queued"))
    assert promise.status == STATUS[state]
    assert promise.ready() is (TaskState(state) in TERMINAL)
    assert promise.id == promise.task_id == "t1"
    assert STATUS[state] in repr(promise)


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_task_that_has_ended_is_not_asked_for_again(api: TaskApi, server: Any, state: str) -> None:
    promise = Promise(api, task(state))
    assert promise.ready()
    assert promise.status == STATUS[state]
    assert not server.requests


def test_get_waits_until_the_task_has_ended(api: TaskApi, says: Any, server: Any) -> None:
    says(task("queued"), task("running"), task("succeeded", result=Payload(value=[1, 2])))
    assert Promise(api, task("queued")).get() == [1, 2]
    assert [sent.path for sent in server.requests] == ["/api/v1/task/t1/result?wait=30.0"] * 3


def test_a_result_comes_back_as_the_value_that_it_was(api: TaskApi) -> None:
    import numpy as np

    from omegakinds.wire import encode_value

    value = np.arange(6, dtype="float32").reshape(2, 3)
    result = Promise(api, task("succeeded", result=encode_value(value, None))).get()
    assert result.dtype == value.dtype
    assert (result == value).all()


def test_a_task_without_a_result_gives_none(api: TaskApi) -> None:
    assert Promise(api, task("succeeded")).get() is None


def test_a_timeout_says_that_the_task_goes_on(api: TaskApi, says: Any) -> None:
    says(task("running"), task("succeeded", result=Payload(value=3)))
    promise = Promise(api, task("queued"))
    with pytest.raises(CallTimeout, match=r"Task t1 is queued after 0 s\. It goes on"):
        promise.get(timeout=0)
    assert promise.get(timeout=5) == 3


def test_the_wait_is_never_longer_than_what_is_left(api: TaskApi, says: Any, server: Any) -> None:
    says(task("succeeded"))
    Promise(api, task("queued")).get(timeout=2.0)
    asked = float(server.requests[0].path.partition("wait=")[2])
    assert 0 < asked <= 2.0


def test_an_error_of_the_mesh_comes_as_its_type(api: TaskApi, says: Any) -> None:
    says(task("failed", error=NOT_FITTED))
    with pytest.raises(NotFitted, match="never fitted"):
        Promise(api, task("running")).get()


@pytest.mark.parametrize(("state", "kind"), [("failed", TaskFailed), ("dead", TaskDead)])
def test_an_end_without_an_error_says_where_to_look(api: TaskApi, state: str, kind: type[TaskFailed]) -> None:
    with pytest.raises(kind, match=f"Task t1 ended as {state}. See the worker's log") as caught:
        Promise(api, task(state)).get()
    assert type(caught.value) is kind


def test_a_cancelled_task_has_no_result(api: TaskApi, says: Any, server: Any) -> None:
    says(task("cancelled"))
    promise = Promise(api, task("queued"))
    promise.cancel()
    assert promise.status == "REVOKED"
    with pytest.raises(TaskCancelled, match="Submit it again"):
        promise.get()
    assert [(sent.method, sent.path) for sent in server.requests] == [("DELETE", "/api/v1/task/t1")]


def test_a_task_that_is_not_there(api: TaskApi, server: Any, answer: Any) -> None:
    server.answer(answer(404, {"error": TaskNotFound("There is no task.").info().model_dump()}))
    with pytest.raises(TaskNotFound):
        Promise(api, task("queued")).get()


def test_a_result_that_comes_while_waiting_ends_the_wait(api: TaskApi, server: Any, answer: Any) -> None:
    ended = threading.Event()
    server.answer(answer(body=task("succeeded", result=Payload(value=1)).model_dump(mode="json"), after=ended))
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(Promise(api, task("queued")).get(timeout=20)))
    waiting.start()
    ended.set()
    waiting.join(20)
    assert found == [1]


def test_submitting_names_bucket_and_a_key_for_each_task(api: TaskApi, server: Any, answer: Any) -> None:
    body = {"items": [task("queued").model_dump(mode="json")] * 2}
    server.answer(answer(body=body))
    promises = api.submit_many([{"action": "noop"}, {"action": "noop", "idempotency_key": "mine"}])
    assert [promise.id for promise in promises] == ["t1", "t1"]
    sent = server.requests[0].body
    assert sent.count(b'"bucket":"red"') == 2
    assert b'"idempotency_key":"mine"' in sent


def test_waiting_for_any_gives_those_that_have_ended(api: TaskApi, server: Any, answer: Any) -> None:
    server.answer(answer(body={"items": [task("succeeded").model_dump(mode="json")]}))
    assert [each.state for each in api.fetch_ended(["t1", "t2"], wait=5)] == ["succeeded"]
    assert b'"task_ids":["t1","t2"]' in server.requests[0].body
