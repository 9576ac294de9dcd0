"""Child processes and their pool, without a mesh around them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from omega_worker.child.options import ChildOptions
from omega_worker.messages import RunTask, TaskEnded
from omega_worker.metrics import WorkerMetrics
from omega_worker.pool import ChildPool
from omega_worker.process import ChildDied, ChildProcess
from omega_worker.settings import WorkerOptions
from omegakit.logs import get_logger
from omegakit.metrics import Metrics
from omegaproto.errors import Unavailable
from omegaproto.tasks import Payload

from .conftest import spec, until

pytestmark = pytest.mark.usefixtures("no_leaks")
NOOP = RunTask(task_id="t", attempt=1, spec=spec(), access_token="a")
MakePool = Callable[..., ChildPool]


def ignore(_task_id: str | None, _line: str) -> None:
    pass


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[MakePool]:
    """A factory of pools, which end with the test."""
    made: list[ChildPool] = []

    def make(size: int = 1, *, patient: bool = False, **options: Any) -> ChildPool:
        metrics, log = WorkerMetrics(Metrics("worker")), get_logger("worker")
        made.append(ChildPool(WorkerOptions(**options), "tasks", size, ignore, metrics, log, patient=patient))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def test_a_child_answers_one_message_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    begin = time.perf_counter()
    child = await ChildProcess.start(WorkerOptions(), "tasks", ignore)
    ready = await child.ready
    warm = time.perf_counter() - begin
    times = []
    for _ in range(500):
        begin = time.perf_counter()
        assert await child.run(NOOP, "t") == TaskEnded(result=Payload())
        times.append(time.perf_counter() - begin)
    rss = int(Path(f"/proc/{child.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    child.leave()
    assert await child.exited == 0
    with capsys.disabled():
        print(
            f"\nchild: warm in {warm:.2f} s (imports {ready.seconds:.2f} s), RSS {rss:.0f} MiB, "
            f"noop p50 {sorted(times)[250] * 1e3:.3f} ms, p99 {sorted(times)[495] * 1e3:.3f} ms"
        )


async def test_a_dead_child_fails_who_waits_and_who_comes_later() -> None:
    child = await ChildProcess.start(WorkerOptions(), "tasks", ignore)
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(ChildDied, match="SIGKILL"):
        await child.ready
    assert await child.exited == -signal.SIGKILL
    with pytest.raises(ChildDied):
        await child.run(NOOP)


async def test_a_caller_that_leaves_takes_its_child_along() -> None:
    """Its answer would otherwise be taken for the next caller's."""
    child = await ChildProcess.start(WorkerOptions(), "tasks", ignore)
    await child.ready
    caller = asyncio.create_task(child.run(NOOP))
    await asyncio.sleep(0)
    caller.cancel()
    assert await child.exited == -signal.SIGKILL


async def test_a_child_that_does_not_start_says_why_and_is_tried_again(
    pool: MakePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    switch = tmp_path / "sitecustomize.py"
    switch.write_text("import sys\nif 'omega_worker.child' in sys.orig_argv: sys.exit('broken installation')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    children = pool()
    children.start()
    waiting = asyncio.create_task(children.acquire())
    await until(lambda: children._failures)
    with pytest.raises(Unavailable, match="No child process"):
        children.check()
    switch.unlink()
    children.release(await waiting)
    children.check()


async def test_a_pool_has_a_bounded_number_of_children_and_a_caller_may_leave(pool: MakePool) -> None:
    children = pool(1)
    first = await children.acquire("a")
    second, third = (asyncio.create_task(children.acquire("a")) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    children.release(first)
    assert await third is first
    children.release(first)


async def test_a_caller_that_leaves_with_a_child_in_its_hands_gives_it_back(pool: MakePool) -> None:
    children = pool(1)
    first = await children.acquire()
    waiting = asyncio.create_task(children.acquire())
    await asyncio.sleep(0)
    children.release(first)  # the child is handed over, and before the caller wakes up…
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await children.acquire() is first
    children.release(first)


async def test_a_child_serves_one_bucket_for_its_life(pool: MakePool) -> None:
    children = pool(1)
    first = await children.acquire("a")
    children.release(first)
    assert await children.acquire(None) is first
    children.release(first)
    second = await children.acquire("b")
    assert second is not first
    assert second.buckets == {"b"}
    assert not first.alive
    children.release(second)


async def test_buckets_share_a_child_in_which_no_code_runs(pool: MakePool) -> None:
    children = pool(2, patient=True)
    shared = await children.acquire("a", code=False)
    children.release(shared)
    assert await children.acquire("a") is shared, "what it held was this bucket's alone"
    children.release(shared)
    other = await children.acquire("b", code=False)
    assert other is not shared
    children.release(other)
    assert await children.acquire("c", code=False) is other
    assert await children.acquire("a", code=False) is shared
    children.release(shared)
    children.release(other)
    own = await children.acquire("b")
    assert own not in {shared, other}, "what it held may have been another bucket's"
    assert (own.buckets, other.buckets) == ({"b"}, {"b", "c"})
    children.release(own)


async def test_the_patient_wait_for_a_busy_child_that_fits_and_others_retire_one(pool: MakePool) -> None:
    for patient in (True, False):
        children = pool(2, patient=patient)
        a, b = await children.acquire("a"), await children.acquire("b")
        children.release(a)
        waiting = asyncio.create_task(children.acquire("b"))
        await asyncio.sleep(0)
        assert (a in children._children) is patient
        children.release(b)
        assert await waiting is b
        children.release(b)


async def test_without_isolation_any_child_will_do(pool: MakePool) -> None:
    children = pool(1, isolate_buckets=False)
    first = await children.acquire("a")
    children.release(first)
    assert await children.acquire("b") is first
    children.release(first)


async def test_a_pool_that_closes_while_a_child_warms_up_leaves_none(pool: MakePool) -> None:
    children = pool(2)
    children.start()
    await until(lambda: children._warming)
    (child,) = children._warming
    await children.close()
    assert not child.alive


SUPERVISOR = """
import asyncio, sys
from omega_worker.process import ChildProcess
from omega_worker.settings import WorkerOptions
async def main():
    children = [await ChildProcess.start(WorkerOptions(), role, print) for role in ("tasks", "predict")]
    for child in children:
        await child.ready
    print(*(child.pid for child in children), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_no_child_outlives_a_supervisor_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pids = [int(pid) for pid in (await asyncio.to_thread(supervisor.stdout.readline)).split()]
        assert len(pids) == 2
        supervisor.kill()
    await until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids))


def test_a_child_whose_supervisor_is_another_process_ends_at_once() -> None:
    options = ChildOptions(role="tasks", gateway_url="http://127.0.0.1:1", pipe=0, supervisor=1)
    command = [sys.executable, "-m", "omega_worker.child", options.model_dump_json()]
    assert subprocess.run(command, check=False, timeout=60).returncode == 1
