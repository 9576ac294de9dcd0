"""Tasks handed straight to the worker: it runs them without a claim, or refuses and runs them later."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from misbehaving import Misbehaving

from omega_worker.messages import RunTask
from omega_worker.process import ChildProcess
from omegaproto.errors import Forbidden, Unauthenticated
from omegaproto.scopes import DEFAULT_BUCKET, Principal, Role
from omegaproto.tasks import (
    ClaimedTask,
    ClaimTasks,
    DispatchTask,
    Lease,
    ListWorkers,
    Payload,
    RegisterWorker,
    SubmitTasks,
    Task,
    TaskSpec,
    TaskState,
)

from .conftest import Mesh, spec, until

MakeMesh = Callable[..., Any]


async def submit(mesh: Mesh, *specs: TaskSpec) -> list[Task]:
    request = SubmitTasks(bucket=DEFAULT_BUCKET, userid="admin", role=Role.admin, specs=specs)
    return list((await mesh.call(request)).items)


def answered(mesh: Mesh, service: str, request: type[Any]) -> float:
    """Give how many requests of a type a service answered well."""
    text = mesh.kits[service].metrics.render().decode()
    found = re.search(rf'omega_rpc_seconds_count\{{code="ok",subject="{request.subject}"\}} (\S+)', text)
    return float(found[1]) if found else 0.0


def succeeded(mesh: Mesh) -> float:
    found = re.search(r'omega_worker_tasks_total\{outcome="succeeded"\} (\S+)', mesh.metrics)
    return float(found[1]) if found else 0.0


async def beat(mesh: Mesh, **more: Any) -> str:
    """Say in the worker's name what it would say in its next heartbeat, or something wrong; give its name."""
    (worker,) = (await mesh.call(ListWorkers())).items
    beat = RegisterWorker(worker=worker.worker, labels=worker.labels, slots=worker.slots, **more)
    await mesh.call(beat)
    return str(worker.worker)


@pytest.mark.asyncio(loop_scope="module")
async def test_tasks_one_after_the_other_are_handed_over_and_never_claimed(mesh: Mesh) -> None:
    await beat(mesh, idle=2)
    handed, claims, done = answered(mesh, "worker", DispatchTask), answered(mesh, "scheduler", ClaimTasks), 0
    before = succeeded(mesh)
    for _ in range(5):
        (task,) = await submit(mesh, spec())
        assert (task.state, task.attempt) == (TaskState.running, 1)
        ended = await mesh.ended(task.id)
        assert (ended.state, ended.attempt, ended.worker) == (TaskState.succeeded, 1, task.worker)
        done += 1
    assert answered(mesh, "worker", DispatchTask) == handed + done
    assert answered(mesh, "scheduler", ClaimTasks) == claims
    assert succeeded(mesh) == before + done
    assert "omega_worker_running 0.0" in mesh.metrics


@pytest.mark.asyncio(loop_scope="module")
async def test_many_at_once_are_handed_over_and_claimed_and_each_runs_once(mesh: Mesh) -> None:
    await beat(mesh, idle=2)
    before = succeeded(mesh)
    made = await submit(mesh, *[spec() for _ in range(30)])
    assert [task.state for task in made].count(TaskState.running) == 2
    tasks = await asyncio.gather(*(mesh.ended(task.id) for task in made))
    assert {(task.state, task.attempt, task.lost) for task in tasks} == {(TaskState.succeeded, 1, 0)}
    assert succeeded(mesh) == before + 30


@pytest.mark.asyncio(loop_scope="module")
async def test_only_services_may_hand_tasks_over(mesh: Mesh) -> None:
    name = await beat(mesh, idle=0)
    kit = mesh.kits["worker"]
    admin = Principal(userid="admin", grants={"*": Role.admin})
    for token in (kit.tokens.own(), mesh.kits["gateway"].tokens.acting_for(admin, "*")):
        with pytest.raises((Forbidden, Unauthenticated)):
            await kit.bus.call(DispatchTask(claimed=await by_hand(mesh)), token=token, route=name)


@pytest.mark.asyncio(loop_scope="module")
async def test_what_any_child_may_run_carries_no_token(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[RunTask] = []
    run = ChildProcess.run

    async def noting(child: ChildProcess, message: Any, task_id: str | None = None) -> Any:
        told.append(message)
        return await run(child, message, task_id)

    monkeypatch.setattr(ChildProcess, "run", noting)
    await mesh.run(spec())
    await mesh.run(spec("model.fit", "no-such-model", inputs={"X": Payload(value=[[1.0]])}))
    assert [(message.spec.action, bool(message.access_token)) for message in told] == [
        ("noop", False),
        ("model.fit", True),
    ]


async def by_hand(mesh: Mesh) -> ClaimedTask:
    (task,) = await submit(mesh, spec(not_before="2100-01-01T00:00:00Z"))
    return ClaimedTask(task=task, lease=Lease(task_id=task.id, token="t", expires_at=task.created), access_token="t")


async def test_a_worker_without_a_free_slot_refuses_and_runs_the_task_later(own_mesh: MakeMesh, tmp_path: Path) -> None:
    mesh: Mesh = await own_mesh(worker={"slots": 1})
    file = tmp_path / "go"
    await asyncio.to_thread(mesh.om().models.put, Misbehaving("waits_for_file", str(file)), "m")
    (long,) = await submit(mesh, spec("model.fit", "m", inputs={"X": Payload(value=[[1.0]])}))
    assert long.state is TaskState.running
    await until((tmp_path / "go.begun").exists)
    await beat(mesh, running=1, idle=1)
    (refused,) = await submit(mesh, spec())
    assert refused.state is TaskState.running
    await until(lambda: answered(mesh, "worker", DispatchTask) == 2)
    assert (await mesh.task(long.id)).state is TaskState.running
    file.touch()
    for task in (long, refused):
        ended = await mesh.ended(task.id)
        assert (ended.state, ended.attempt, ended.lost) == (TaskState.succeeded, 1, 0)
    assert answered(mesh, "worker", DispatchTask) == 2
    assert succeeded(mesh) == 2
    await no_more_after_a_drain(mesh)


async def no_more_after_a_drain(mesh: Mesh) -> None:
    supervisor = mesh.services["worker"]._supervisor
    await mesh.stop("worker")
    request = DispatchTask(claimed=await by_hand(mesh))
    service = Principal(userid="scheduler", grants={"*": Role.service})
    assert (await supervisor.take(request, service)).taken is False
    (task,) = await submit(mesh, spec())
    assert task.state is TaskState.queued
    await mesh.start("worker")
    assert (await mesh.ended(task.id)).state is TaskState.succeeded


@pytest.mark.asyncio(loop_scope="module")
async def test_a_submit_that_is_repeated_runs_for_nothing_and_holds_nobody_up(mesh: Mesh) -> None:
    await beat(mesh, idle=1)
    first = await mesh.run(spec(idempotency_key="repeated-noop"))
    await beat(mesh, idle=1)
    (again,) = await submit(mesh, spec(idempotency_key="repeated-noop"))
    assert (again.id, again.state) == (first.id, TaskState.succeeded)
    others = await asyncio.gather(*(mesh.run(spec()) for _ in range(5)))
    assert {task.state for task in others} == {TaskState.succeeded}
    await until(lambda: not mesh.services["worker"]._supervisor._running)
    assert (await mesh.task(first.id)).modified == first.modified
