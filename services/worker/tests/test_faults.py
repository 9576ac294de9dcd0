"""The mesh around a worker fails, or the worker goes: nothing is lost, and nothing is recorded twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from misbehaving import Misbehaving

from omegaproto.tasks import Claims, ClaimTasks, CompleteTasks, Completion, ListWorkers, Payload, Task, TaskState

from .conftest import Mesh, spec, until

MakeMesh = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("no_leaks")


async def submit_fit(mesh: Mesh, how: str, argument: Any, **more: Any) -> str:
    await asyncio.to_thread(mesh.om().models.put, Misbehaving(how, argument), "m")
    return (await mesh.submit(spec("model.fit", "m", inputs={"X": Payload(value=[[1.0]])}, **more)))[0]


async def revisions(mesh: Mesh) -> int:
    return len(await asyncio.to_thread(mesh.om().models.revisions, "m"))


async def test_a_completion_survives_a_scheduler_that_was_away(own_mesh: MakeMesh, tmp_path: Path) -> None:
    mesh: Mesh = await own_mesh()
    file = tmp_path / "go"
    task_id = await submit_fit(mesh, "waits_for_file", str(file))
    await until((tmp_path / "go.begun").exists)
    await mesh.stop("scheduler")
    file.touch()
    await until(lambda: 'omega_worker_tasks_total{outcome="succeeded"} 1.0' in mesh.metrics)
    await mesh.start("scheduler")
    task: Task = await mesh.ended(task_id)
    assert (task.state, task.attempt, task.lost) == (TaskState.succeeded, 1, 0)
    assert await revisions(mesh) == 2


async def test_tasks_submitted_while_the_worker_is_away_are_run_when_it_is_back(own_mesh: MakeMesh) -> None:
    mesh: Mesh = await own_mesh()
    await mesh.stop("worker")
    task_ids = await mesh.submit(*[spec() for _ in range(20)])
    await mesh.start("worker")
    tasks = await asyncio.gather(*map(mesh.ended, task_ids))
    assert {task.state for task in tasks} == {TaskState.succeeded}


LOST = 'omega_worker_tasks_total{outcome="lease_lost"} 1.0'


async def test_a_task_that_rings_again_is_run_anew_and_its_old_child_ends(own_mesh: MakeMesh, tmp_path: Path) -> None:
    mesh: Mesh = await own_mesh(scheduler={"lease_seconds": 2.0, "sweep_seconds": 0.1})
    file = tmp_path / "begun"
    task_id = await submit_fit(mesh, "sleeps_at_first", str(file))
    await until(file.exists)
    leases = mesh.services["worker"]._supervisor._leases
    await leases.stop()
    await until(lambda: LOST in mesh.metrics)
    leases.start()
    task: Task = await mesh.ended(task_id)
    assert (task.state, task.attempt, task.lost) == (TaskState.succeeded, 2, 1)
    assert await revisions(mesh) == 2


async def test_a_task_that_another_worker_took_ends_here_and_records_nothing(
    own_mesh: MakeMesh, tmp_path: Path
) -> None:
    mesh: Mesh = await own_mesh(scheduler={"lease_seconds": 2.0, "sweep_seconds": 0.1}, worker={"slots": 1})
    file = tmp_path / "begun"
    task_id = await submit_fit(mesh, "sleeps_at_first", str(file))
    await until(file.exists)
    leases = mesh.services["worker"]._supervisor._leases
    await leases.stop()
    claims = Claims()
    async with asyncio.timeout(30):
        while not claims.items:
            claims = await mesh.call(ClaimTasks(worker="thief", task_ids=(task_id,)))
            await asyncio.sleep(0.05)
    leases.start()
    await until(lambda: LOST in mesh.metrics)
    done = Completion(task_id=task_id, token=claims.items[0].lease.token, outcome="succeeded")
    await mesh.call(CompleteTasks(worker="thief", completions=(done,)))
    task: Task = await mesh.ended(task_id)
    assert (task.state, task.attempt, task.worker) == (TaskState.succeeded, 2, "thief")
    assert await revisions(mesh) == 1


async def test_a_drain_hands_back_what_still_runs(own_mesh: MakeMesh, tmp_path: Path) -> None:
    mesh: Mesh = await own_mesh(worker={"drain_seconds": 0.1})
    file = tmp_path / "begun"
    task_id = await submit_fit(mesh, "sleeps_at_first", str(file))
    await until(file.exists)
    await mesh.stop("worker")
    task: Task = await mesh.task(task_id)
    assert (task.state, task.attempt, task.lost) == (TaskState.queued, 0, 0)
    assert (await mesh.call(ListWorkers())).items == ()
    await mesh.start("worker")
    assert (await mesh.ended(task_id)).state is TaskState.succeeded


async def test_a_drain_lets_a_short_task_end(own_mesh: MakeMesh, tmp_path: Path) -> None:
    mesh: Mesh = await own_mesh()
    file = tmp_path / "go"
    task_id = await submit_fit(mesh, "waits_for_file", str(file))
    await until((tmp_path / "go.begun").exists)
    stopping = asyncio.create_task(mesh.stop("worker"))
    await asyncio.sleep(0)
    file.touch()
    await stopping
    task: Task = await mesh.task(task_id)
    assert (task.state, task.attempt) == (TaskState.succeeded, 1)


async def test_a_busy_worker_leaves_doorbells_to_another(own_mesh: MakeMesh, tmp_path: Path) -> None:
    """One slot is taken by a long task; what rings meanwhile is not kept from a worker that has room."""
    mesh: Mesh = await own_mesh(worker={"slots": 1, "name": "busy"})
    file = tmp_path / "go"
    long = await submit_fit(mesh, "waits_for_file", str(file))
    await until((tmp_path / "go.begun").exists)
    waiting = await mesh.submit(*[spec() for _ in range(5)])
    other = Mesh(mesh.home, {"worker": {"worker": {"name": "idle"}, "http": {"uds": tmp_path / "other"}}}, mesh.broker)
    other.servers = dict(mesh.servers)
    await other.start("worker")
    tasks = await asyncio.gather(*map(mesh.ended, waiting))
    assert {(task.state, task.worker) for task in tasks} == {(TaskState.succeeded, "idle")}
    file.touch()
    assert (await mesh.ended(long)).worker == "busy"
    await other.stop("worker")


async def test_more_than_memory_allows_is_an_error_of_the_task(own_mesh: MakeMesh) -> None:
    mesh: Mesh = await own_mesh(worker={"memory_limit_mb": 1024})
    task: Task = await mesh.ended(await submit_fit(mesh, "allocates", 2048))
    assert task.state is TaskState.failed
    assert task.error is not None
    assert "MemoryError" in task.error.details["type"]
    assert "OMEGA_WORKER__MEMORY_LIMIT_MB" in task.error.action
