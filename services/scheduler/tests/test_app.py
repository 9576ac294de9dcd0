"""The service as a process: readiness, metrics, counts, settings, drain."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from omega_scheduler.app import SchedulerService
from omega_scheduler.settings import SchedulerSettings
from omegakit.http import open_client
from omegakit.server import HttpServer
from omegakit.settings import HttpSettings
from omegaproto.tasks import Payload, TaskState

from .conftest import SECRET, Home

pytestmark = pytest.mark.usefixtures("no_leaks")


async def page(service: SchedulerService, path: str) -> tuple[int, str]:
    server = HttpServer(service.asgi, HttpSettings())
    await server.start()
    try:
        async with open_client(server.url) as client:
            answer = await client.get(path)
            return answer.status_code, answer.text
    finally:
        await server.stop()


async def test_it_is_ready_while_store_and_broker_answer(home: Home) -> None:
    bus = await home.open_bus()
    service = await home.scheduler(bus)
    status, text = await page(service, "/readyz")
    assert status == 200
    assert '"docs":"ok"' in text
    await bus.close()
    status, text = await page(service, "/readyz")
    assert status == 503
    assert "The broker cannot be reached" in text


async def test_metrics_tell_what_waits_runs_and_ended(home: Home) -> None:
    service = await home.scheduler()
    leases = [await home.started(f"k{number}") for number in range(3)]
    await home.submit(home.spec("waits"))
    await home.complete(leases[0], "succeeded", result=Payload(value=1))
    await home.complete(leases[1], "released")

    async def figures() -> set[str]:
        _, text = await page(service, "/metrics")
        return {line for line in text.splitlines() if home.label in line}

    label = f'label="{home.label}"'
    expected = {
        f'omega_tasks{{{label},state="queued"}} 2.0',
        f'omega_tasks{{{label},state="running"}} 1.0',
        f"omega_tasks_submitted_total{{{label}}} 4.0",
        f'omega_tasks_finished_total{{{label},state="succeeded"}} 1.0',
        f"omega_task_seconds_count{{{label}}} 1.0",
        f"omega_task_wait_seconds_count{{{label}}} 3.0",
    }
    assert expected <= await figures()


async def test_counts_are_taken_from_the_store_at_the_start_and_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omega_scheduler.repository._COUNTED_AT_ONCE", 2)
    first_bus = await home.open_bus()
    first = await home.scheduler(first_bus)
    await home.started("running")
    waiting = await home.submit(*(home.spec(f"k{number}") for number in range(3)))
    await first_bus.close()
    second = await home.scheduler()
    await second.sweeps.count()
    _, text = await page(second, "/metrics")
    assert f'omega_tasks{{label="{home.label}",state="queued"}} 3.0' in text
    for task in waiting:
        await home.cancel(task.id)
    await first.sweeps.count()
    _, text = await page(first, "/metrics")
    assert f'omega_tasks{{label="{home.label}",state="queued"}} 0.0' in text


def test_pools_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_SCHEDULER__POOLS", '["cpu", "gpu"]')
    monkeypatch.setenv("OMEGA_SCHEDULER__LEASE_SECONDS", "12")
    options = SchedulerSettings().scheduler
    assert (options.pools, options.policy().lease_seconds) == (("cpu", "gpu"), 12)


@pytest.mark.servers
async def test_it_runs_as_a_process_and_drains_on_sigterm(amqp_url: str, tmp_path: Path) -> None:
    env = {
        **os.environ,
        "OMEGA_BUS__URL": amqp_url,
        "OMEGA_DOCS__URL": f"sqlite:///{tmp_path}/mesh.sqlite3",
        "OMEGA_AUTH__SECRET": SECRET,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "omega_scheduler", env=env, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    assert b'"event": "started"' in await process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert b'"event": "draining"' in await process.stderr.read()
    assert await process.wait() == 0


async def test_a_task_that_is_due_later_is_rung_for_in_time(home: Home, scheduler: SchedulerService) -> None:
    await home.listen()
    lease = await home.started(max_attempts=2)
    await home.rung.get()
    await home.complete(lease, "failed", retryable=True)
    # The sweeper has a timer for it, and looks at the clock when that ends: one second of either is enough.
    home.clock.advance(1)
    assert (await asyncio.wait_for(home.rung.get(), 20)).task_id == lease.task_id
    assert await home.state(lease.task_id) is TaskState.queued
