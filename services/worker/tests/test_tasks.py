"""Tasks from submit to result, in real children: well-behaved ones, and every way in which user code goes wrong."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from misbehaving import Misbehaving
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.preprocessing import StandardScaler

from omegakinds.wire import decode_value
from omegaproto.tasks import Payload, Task, TaskState

from .conftest import Mesh, spec, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def put_model(mesh: Mesh, name: str, model: Any, bucket: str | None = None) -> None:
    await asyncio.to_thread(mesh.om(bucket).models.put, model, name)


async def put_data(mesh: Mesh) -> pd.DataFrame:
    frame = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 1.0, 0.0, 0.0], "y": [0, 0, 1, 1]})
    om = mesh.om()
    if not await asyncio.to_thread(om.datasets.exists, "sample"):
        await asyncio.to_thread(om.datasets.put, frame, "sample")
    return frame


async def do(mesh: Mesh, verb: str, name: str, X: str | Payload = "sample[a,b]", **more: Any) -> Task:
    inputs = {"X": X} | ({"Y": more.pop("Y")} if "Y" in more else {})
    return await mesh.run(spec(f"model.{verb}", name, inputs=inputs, **more))


def result_of(mesh: Mesh, task: Task) -> Any:
    assert task.state is TaskState.succeeded, task.error
    assert task.result is not None
    return decode_value(task.result, mesh.om().blobs)


async def misbehave(mesh: Mesh, how: str, argument: Any = None, **more: Any) -> Task:
    name = f"bad/{how}"
    await put_model(mesh, name, Misbehaving(how, argument))
    return await do(mesh, "fit", name, Payload(value=[[1.0]]), **more)


async def test_verbs_of_a_classifier(mesh: Mesh) -> None:
    await put_data(mesh)
    await put_model(mesh, "clf", LogisticRegression())
    fitted = result_of(mesh, await do(mesh, "fit", "clf", Y="sample[y]"))
    assert "name=clf" in fitted
    assert len(await asyncio.to_thread(mesh.om().models.revisions, "clf")) == 2
    assert np.asarray(result_of(mesh, await do(mesh, "predict", "clf"))).tolist() == [0, 0, 1, 1]
    assert np.asarray(result_of(mesh, await do(mesh, "predict_proba", "clf"))).shape == (4, 2)
    assert np.asarray(result_of(mesh, await do(mesh, "decision_function", "clf"))).shape == (4,)
    assert result_of(mesh, await do(mesh, "score", "clf", Y="sample[y]")) == 1.0


async def test_transform_and_partial_fit(mesh: Mesh) -> None:
    await put_data(mesh)
    await put_model(mesh, "scaler", StandardScaler())
    result_of(mesh, await do(mesh, "fit", "scaler"))
    assert np.asarray(result_of(mesh, await do(mesh, "transform", "scaler"))).shape == (4, 2)
    await put_model(mesh, "sgd", SGDClassifier(random_state=0))
    result_of(mesh, await do(mesh, "partial_fit", "sgd", Y="sample[y]", params={"classes": [0, 1]}))
    assert len(await asyncio.to_thread(mesh.om().models.revisions, "sgd")) == 2


async def test_a_fit_without_labels(mesh: Mesh) -> None:
    await put_data(mesh)
    await put_model(mesh, "clusters", KMeans(n_clusters=2, n_init=1, random_state=0))
    result_of(mesh, await do(mesh, "fit", "clusters"))


async def test_json_results_for_callers_that_are_not_python(mesh: Mesh) -> None:
    await put_data(mesh)
    await put_model(mesh, "clf2", LogisticRegression())
    result_of(mesh, await do(mesh, "fit", "clf2", Y="sample[y]"))
    task = await do(mesh, "predict", "clf2", params={"__format": "json"})
    assert task.result == Payload(value=[0, 0, 1, 1])


async def test_a_result_can_be_stored_as_a_dataset(mesh: Mesh) -> None:
    await put_data(mesh)
    await put_model(mesh, "clf3", LogisticRegression())
    result_of(mesh, await do(mesh, "fit", "clf3", Y="sample[y]"))
    result_of(mesh, await do(mesh, "predict", "clf3", params={"rName": "answers"}))
    stored = await asyncio.to_thread(mesh.om().datasets.get, "answers")
    assert np.asarray(stored).ravel().tolist() == [0, 0, 1, 1]


async def test_a_large_result_travels_as_a_blob(mesh: Mesh) -> None:
    om = mesh.om()
    wide = pd.DataFrame({"a": np.arange(30_000.0), "b": 1.0})
    await asyncio.to_thread(om.datasets.put, wide, "wide")
    await put_model(mesh, "scaler2", StandardScaler())
    result_of(mesh, await do(mesh, "fit", "scaler2", "wide"))
    task = await do(mesh, "transform", "scaler2", "wide")
    assert task.result is not None
    assert task.result.blobs
    found = await asyncio.to_thread(result_of, mesh, task)
    assert np.asarray(found).shape == (30_000, 2)


async def test_errors_of_the_mesh_keep_their_type(mesh: Mesh) -> None:
    task = await do(mesh, "predict", "no-such-model")
    assert task.error is not None
    assert task.error.code == "object_not_found"
    await put_model(mesh, "unfitted", LogisticRegression())
    await put_data(mesh)
    task = await do(mesh, "predict", "unfitted")
    assert task.error is not None
    assert task.error.code == "not_fitted"
    task = await do(mesh, "fly", "unfitted")
    assert task.error is not None
    assert task.error.code == "unknown_action"


async def test_an_exception_arrives_with_type_and_traceback(mesh: Mesh) -> None:
    task = await misbehave(mesh, "raises", "nothing here")
    assert task.state is TaskState.failed
    assert task.error is not None
    assert task.error.code == "task_failed"
    assert task.error.details["type"] == "LookupError"
    assert "nothing here" in task.error.message
    assert "misbehaving.py" in task.error.details["traceback"]
    assert len(await asyncio.to_thread(mesh.om().models.revisions, "bad/raises")) == 1


async def test_sys_exit_is_a_failure_and_the_child_lives_on(mesh: Mesh) -> None:
    before = set(mesh.services["worker"].task_pool.pids)
    task = await misbehave(mesh, "leaves")
    assert task.error is not None
    assert task.error.details["type"] == "SystemExit"
    assert before <= set(mesh.services["worker"].task_pool.pids)


@pytest.mark.parametrize(
    ("how", "says"), [("exits", "exited with status 3"), ("is_killed", "SIGKILL"), ("hangs_up", "SIGKILL")]
)
async def test_a_child_that_dies_costs_lost_attempts_and_not_the_worker(mesh: Mesh, how: str, says: str) -> None:
    task = await misbehave(mesh, how)
    assert task.state is TaskState.dead
    assert task.lost == 3
    assert task.error is not None
    assert says in str(task.error.model_dump())
    assert (await mesh.run(spec())).state is TaskState.succeeded
    assert 'omega_worker_child_deaths_total{role="tasks"}' in mesh.metrics


async def test_a_task_over_its_time_fails(mesh: Mesh) -> None:
    task = await misbehave(mesh, "sleeps", 60, timeout_seconds=0.5)
    assert task.state is TaskState.failed
    assert task.error is not None
    assert "timed out" in task.error.message
    assert task.error.action


async def test_a_running_task_is_cancelled(mesh: Mesh, tmp_path: Path) -> None:
    await put_model(mesh, "sleeper", Misbehaving("sleeps_at_first", str(tmp_path / "begun")))
    (task_id,) = await mesh.submit(spec("model.fit", "sleeper", inputs={"X": Payload(value=[[1.0]])}))
    await until((tmp_path / "begun").exists)
    await mesh.cancel(task_id)
    task = await mesh.ended(task_id)
    assert task.state is TaskState.cancelled
    assert len(await asyncio.to_thread(mesh.om().models.revisions, "sleeper")) == 1


async def test_a_cancelled_task_that_ignores_sigterm_is_killed_with_all_it_started(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    await put_model(mesh, "stubborn", Misbehaving("ignores_sigterm", str(file)))
    (task_id,) = await mesh.submit(spec("model.fit", "stubborn", inputs={"X": Payload(value=[[1.0]])}))
    await until(lambda: file.exists() and file.read_text())
    await mesh.cancel(task_id)
    assert (await mesh.ended(task_id)).state is TaskState.cancelled
    await until(lambda: not alive(int(file.read_text())))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"


async def test_a_long_task_outlives_its_first_lease_and_token(mesh: Mesh) -> None:
    # The lease is two seconds here and the token ends with it: the put at the end needs a renewed one.
    task = await misbehave(mesh, "sleeps", 7)
    assert task.state is TaskState.succeeded, task.error
    assert task.attempt == 1


async def test_user_code_sees_its_task_and_no_secret(mesh: Mesh, tmp_path: Path) -> None:
    os.environ["OMEGA_AUTH__WORKER_SECRET"] = "hidden"
    try:
        file = tmp_path / "environment"
        task = await misbehave(mesh, "tells_its_environment", str(file))
        told = dict(line.split("=", 1) for line in file.read_text().splitlines())
    finally:
        del os.environ["OMEGA_AUTH__WORKER_SECRET"]
    assert set(told) == {"OMEGA_TASK_ID", "OMEGA_TASK_ATTEMPT", "OMEGA_URL", "OMEGA_BUCKET", "OMEGA_TOKEN"}
    assert told["OMEGA_TASK_ID"] == task.id
    assert told["OMEGA_TASK_ATTEMPT"] == "1"


async def test_what_a_task_prints_is_logged_up_to_a_limit(mesh: Mesh) -> None:
    import structlog

    with structlog.testing.capture_logs() as logs:
        task = await misbehave(mesh, "prints", 50_000)
        await mesh.run(spec())
        await mesh.run(spec())
        lines = [entry["line"] for entry in logs if entry["event"] == "task_output" and entry["task_id"] == task.id]
    assert task.state is TaskState.succeeded
    assert lines[:2] == ["line 0", "line 1"]
    assert sum(map(len, lines)) < 70 * 1024
    assert "left out" in lines[-1]


async def test_children_of_two_buckets_are_two(mesh: Mesh) -> None:
    pool = mesh.services["worker"].task_pool
    await put_model(mesh, "m", Misbehaving(), bucket="other")
    for bucket in ("omegaml", "other", "omegaml", "other"):
        await put_model(mesh, "m", Misbehaving(), bucket=bucket)
        inputs = {"X": Payload(value=[[1.0]])}
        task = await mesh.run(spec("model.fit", "m", bucket=bucket, inputs=inputs))
        assert task.state is TaskState.succeeded, task.error
    assert len(pool.pids) <= 2


async def test_a_thousand_noops(mesh: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    loop = asyncio.get_running_loop()
    await mesh.run(spec())
    begin = loop.time()
    task_ids = [task_id for _ in range(10) for task_id in await mesh.submit(*[spec() for _ in range(100)])]
    tasks = await asyncio.gather(*map(mesh.ended, task_ids))
    seconds = loop.time() - begin
    assert {(task.state, task.attempt) for task in tasks} == {(TaskState.succeeded, 1)}
    with capsys.disabled():
        print(f"\n1000 noops in {seconds:.2f} s: {1000 / seconds:.0f}/s")
