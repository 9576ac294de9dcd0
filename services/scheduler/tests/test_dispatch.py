"""New tasks handed straight to idle workers; and whatever goes wrong with that ends in a doorbell, uncounted."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from omega_scheduler.app import SchedulerService
from omegakit.bus import Call
from omegakit.docs.mongodb import MongoDocs
from omegakit.docs.sqlite import SqliteDocs
from omegakit.http import open_client
from omegakit.server import HttpServer
from omegakit.settings import HttpSettings
from omegaproto.scopes import Principal, Role, authorize
from omegaproto.tasks import (
    ClaimedTask,
    CompleteTasks,
    Completion,
    CompletionResult,
    Dispatched,
    DispatchTask,
    ForgetWorker,
    ListWorkers,
    Payload,
    RegisterWorker,
    Task,
    TaskState,
)

from .conftest import BUCKET, Home

pytestmark = pytest.mark.usefixtures("no_leaks")
SECONDS = 20


class Hands:
    """A worker that takes what is handed to it, unless `free` is cleared; it answers once `open` is set."""

    def __init__(self, home: Home, name: str) -> None:
        self._home = home
        self.name = name
        self.free = True
        self.open = asyncio.Event()
        self.open.set()
        self._got: asyncio.Queue[ClaimedTask] = asyncio.Queue()
        self.asked = 0

    async def serve(self) -> None:
        await self._home.bus.serve(DispatchTask, self._take, route=self.name)

    async def _take(self, request: DispatchTask, call: Call) -> Dispatched:
        authorize(self._home.mesh.verify(call.token), request.bucket, request.operation)
        self.asked += 1
        await self.open.wait()
        if self.free:
            self._got.put_nowait(request.claimed)
        return Dispatched(taken=self.free)

    async def taken(self) -> ClaimedTask:
        return await asyncio.wait_for(self._got.get(), SECONDS)

    async def beat(self, idle: int, *labels: str) -> None:
        offered = labels or (self._home.label,)
        await self._home.as_worker(RegisterWorker(worker=self.name, labels=offered, slots=4, idle=idle))

    async def done(self, claimed: ClaimedTask, idle: int, outcome: str = "succeeded", **more: Any) -> CompletionResult:
        one = Completion(task_id=claimed.task.id, token=claimed.lease.token, outcome=outcome, **more)
        answer = await self._home.as_worker(CompleteTasks(worker=self.name, completions=(one,), idle=idle))
        (result,) = answer.items
        return result

    async def say(self, idle: int) -> None:
        """Tell how many slots are free with a completion of a task that is long gone."""
        gone = Completion(task_id="gone", token="t", outcome="succeeded")
        await self._home.as_worker(CompleteTasks(worker=self.name, completions=(gone,), idle=idle))


@pytest.fixture
def slow_store(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """New tasks are stored only once the event is set."""
    let_go = asyncio.Event()
    for kind in (SqliteDocs, MongoDocs):

        def slowed(insert: Any) -> Any:
            async def slowly(self: Any, collection: str, docs: Any) -> Any:
                await let_go.wait()
                return await insert(self, collection, docs)

            return slowly

        monkeypatch.setattr(kind, "insert_many", slowed(kind.insert_many))
    return let_go


@pytest_asyncio.fixture
async def hands(home: Home, scheduler: SchedulerService) -> Hands:
    """A worker that serves, and has said that one slot is free; the home hears its label's doorbells."""
    made = Hands(home, "w")
    await made.serve()
    await made.beat(1)
    await home.listen()
    return made


async def submit(home: Home, key: str, *, role: Role = Role.writer, **fields: Any) -> Task:
    (task,) = await home.submit(home.spec(key, **fields), role=role)
    return task


async def rung(home: Home) -> str:
    return (await asyncio.wait_for(home.rung.get(), SECONDS)).task_id


async def assert_waits(home: Home, task: Task) -> None:
    (now,) = await home.get(task.id)
    assert (now.state, now.attempt, now.lost, now.worker) == (TaskState.queued, 0, 0, None)


async def test_a_new_task_is_handed_to_an_idle_worker_with_its_lease(home: Home, hands: Hands) -> None:
    task = await submit(home, "first", params={"x": 1})
    assert (task.state, task.attempt, task.worker) == (TaskState.running, 1, "w")
    claimed = await hands.taken()
    assert (claimed.task.id, claimed.task.attempt, claimed.task.spec.params) == (task.id, 1, {"x": 1})
    assert (claimed.lease.task_id, claimed.lease.expires_at) == (task.id, home.clock.now() + timedelta(seconds=30))
    bearer = Principal(userid="ann", grants={BUCKET: Role.runner}, task_id=task.id)
    assert home.mesh.verify(claimed.access_token) == bearer
    done = await hands.done(claimed, 0, result=Payload(value=[7]))
    assert (done.recorded, done.state) == (True, TaskState.succeeded)
    assert await asyncio.wait_for(home.finished.get(), SECONDS) == task.id
    (ended,) = await home.get(task.id)
    assert (ended.attempt, ended.result) == (1, Payload(value=[7]))


async def test_only_what_is_beyond_the_free_slots_is_rung_for(home: Home, hands: Hands) -> None:
    first, second = await home.submit(home.spec("first"), home.spec("second"))
    assert (first.state, second.state) == (TaskState.running, TaskState.queued)
    claimed = await hands.taken()
    assert claimed.task.id == first.id
    assert await rung(home) == second.id
    assert home.rung.empty()
    assert await home.claim(first.id) == []
    await hands.done(claimed, 1)
    third = await submit(home, "third")
    assert (await hands.taken()).task.id == third.id
    assert hands.asked == 2


async def test_a_task_that_is_claimed_cannot_be_dispatched_and_the_other_way_round(home: Home, hands: Hands) -> None:
    task = await submit(home, "first")
    claimed = await hands.taken()
    (status,) = await home.renew(claimed.lease)
    assert status.lease is not None
    assert await home.claim(task.id, worker="other") == []


async def test_a_worker_without_a_slot_refuses_and_the_task_is_rung_for(home: Home, hands: Hands) -> None:
    hands.free = False
    task = await submit(home, "first")
    assert await rung(home) == task.id
    await assert_waits(home, task)
    later = await submit(home, "later")
    assert later.state is TaskState.queued
    assert await rung(home) == later.id
    assert hands.asked == 1
    (claimed,) = await home.claim(task.id)
    assert claimed.task.attempt == 1


async def test_nobody_serves_and_the_worker_is_asked_no_more_until_its_next_heartbeat(
    home: Home, scheduler: SchedulerService
) -> None:
    gone = Hands(home, "gone")
    await gone.beat(2)
    await home.listen()
    task = await submit(home, "first")
    assert task.state is TaskState.running
    assert await rung(home) == task.id
    await assert_waits(home, task)
    await gone.say(2)
    assert (await submit(home, "second")).state is TaskState.queued
    await gone.serve()
    await gone.beat(1)
    third = await submit(home, "third")
    assert (await gone.taken()).task.id == third.id


async def test_a_worker_that_does_not_answer_costs_the_call_and_no_attempt(
    home: Home, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omega_scheduler.dispatch._CALL_SECONDS", 0.1)
    hands.open.clear()
    task = await submit(home, "first")
    assert await rung(home) == task.id
    await assert_waits(home, task)
    assert (await submit(home, "second")).state is TaskState.queued
    (again,) = await home.claim(task.id)
    hands.open.set()
    late = await hands.taken()
    await hands.done(late, 1, result=Payload(value="late"))
    assert await home.state(task.id) is TaskState.running
    await home.complete(again.lease, "succeeded", result=Payload(value="in time"))
    (ended,) = await home.get(task.id)
    assert (ended.attempt, ended.result) == (1, Payload(value="in time"))


async def test_a_worker_that_takes_a_task_and_dies_is_found_by_its_lease(
    home: Home, scheduler: SchedulerService, hands: Hands
) -> None:
    task = await submit(home, "first")
    await hands.taken()
    home.clock.advance(31)
    await scheduler.sweeps.expire()
    assert await rung(home) == task.id
    (now,) = await home.get(task.id)
    assert (now.state, now.lost) == (TaskState.queued, 1)


async def test_a_store_that_is_gone_when_a_task_is_refused_leaves_it_to_its_lease(
    home: Home, scheduler: SchedulerService, hands: Hands
) -> None:
    hands.free = False
    hands.open.clear()
    task = await submit(home, "first")
    await scheduler._docs.close()
    hands.open.set()
    await scheduler.drain()
    home.clock.advance(31)
    await home.scheduler()
    assert await rung(home) == task.id


async def test_the_same_key_again_is_the_same_task_and_dispatched_once(home: Home, hands: Hands) -> None:
    await hands.beat(4)
    fit = {"action": "model.fit", "target": "m"}
    made = await asyncio.gather(*(submit(home, "same", **fit) for _ in range(8)))
    assert len({task.id for task in made}) == 1
    claimed = await hands.taken()
    assert claimed.task.id == made[0].id
    await hands.done(claimed, 4)
    assert (await submit(home, "same", **fit)).state is TaskState.succeeded
    other = await submit(home, "other", **fit)
    assert (await hands.taken()).task.id == other.id
    assert hands.asked == 2


async def test_what_only_reads_runs_before_it_is_known_to_be_stored(home: Home, hands: Hands) -> None:
    """A submit that is repeated runs for nothing, and what comes of that counts for nothing."""
    first = await submit(home, "same", action="model.predict", target="m")
    claimed = await hands.taken()
    assert (await hands.done(claimed, 1)).recorded
    assert (await submit(home, "same", action="model.predict", target="m")).id == first.id
    again = await hands.taken()
    assert again.task.id != first.id
    unknown = await hands.done(again, 1)
    assert (unknown.recorded, unknown.state) == (False, None)
    assert await home.state(first.id) is TaskState.succeeded


async def test_a_result_that_comes_before_its_task_is_stored_is_recorded(
    home: Home, hands: Hands, slow_store: asyncio.Event
) -> None:
    """The store is slower than the worker: the completion waits for it."""
    submitting = asyncio.create_task(submit(home, "slow"))
    claimed = await hands.taken()
    ending = asyncio.create_task(hands.done(claimed, 1))
    await asyncio.sleep(0.05)
    assert not ending.done()
    slow_store.set()
    assert (await ending).recorded
    assert (await submitting).id == claimed.task.id
    assert await home.state(claimed.task.id) is TaskState.succeeded


async def test_what_writes_is_dispatched_once_it_is_stored(home: Home, hands: Hands, slow_store: asyncio.Event) -> None:
    submitting = asyncio.create_task(submit(home, "fit", action="model.fit", target="m"))
    storing = asyncio.create_task(submit(home, "kept", action="model.predict", target="m", params={"rName": "out"}))
    await asyncio.sleep(0.05)
    assert hands.asked == 0
    slow_store.set()
    await asyncio.gather(submitting, storing)
    await hands.taken()


async def test_a_task_that_is_due_later_is_never_dispatched(
    home: Home, scheduler: SchedulerService, hands: Hands
) -> None:
    later = await submit(home, "later", not_before=home.clock.now() + timedelta(minutes=5))
    assert later.state is TaskState.queued
    now = await submit(home, "now")
    assert (await hands.taken()).task.id == now.id
    await hands.beat(1)
    home.clock.advance(301)
    await scheduler.sweeps.ring()
    assert await rung(home) == later.id
    assert hands.asked == 1


async def test_cancelling_a_dispatched_task_is_told_with_its_lease(home: Home, hands: Hands) -> None:
    task = await submit(home, "first")
    claimed = await hands.taken()
    assert (await home.cancel(task.id)).state is TaskState.running
    (status,) = await home.renew(claimed.lease)
    assert status.cancel_requested
    await hands.done(claimed, 1, "cancelled")
    assert await home.state(task.id) is TaskState.cancelled


async def test_a_refused_task_that_was_cancelled_meanwhile_is_not_rung_for(home: Home, hands: Hands) -> None:
    hands.free = False
    hands.open.clear()
    task = await submit(home, "first")
    await home.cancel(task.id)
    hands.open.set()
    assert await asyncio.wait_for(home.finished.get(), SECONDS) == task.id
    assert await home.state(task.id) is TaskState.cancelled
    assert home.rung.empty()


async def test_a_worker_that_left_is_handed_nothing(home: Home, hands: Hands) -> None:
    await home.as_worker(ForgetWorker(worker="w"))
    await hands.say(1)
    task = await submit(home, "first")
    assert task.state is TaskState.queued
    assert await rung(home) == task.id
    assert hands.asked == 0


async def test_a_worker_that_fell_silent_is_handed_nothing_once_the_list_was_read(home: Home, hands: Hands) -> None:
    home.clock.advance(31)
    assert (await home.bus.call(ListWorkers(), token=home.mesh.own())).items == ()
    assert (await submit(home, "first")).state is TaskState.queued
    assert hands.asked == 0


async def test_a_task_goes_to_a_worker_of_its_label(home: Home, hands: Hands) -> None:
    other = Hands(home, "other")
    await other.serve()
    await other.beat(3, f"{home.label}-gpu")
    mine, theirs = await submit(home, "mine"), await submit(home, "theirs", label=f"{home.label}-gpu")
    assert (await hands.taken()).task.id == mine.id
    assert (await other.taken()).task.id == theirs.id


async def test_counts_and_figures_agree_with_those_of_claims(
    home: Home, scheduler: SchedulerService, hands: Hands
) -> None:
    claimed = [(await submit(home, "done"), await hands.taken())[1]]
    await hands.done(claimed[0], 1)
    await submit(home, "runs")
    await hands.taken()
    hands.free = False
    await hands.beat(1)
    refused = await submit(home, "refused")
    assert await rung(home) == refused.id
    label = f'label="{home.label}"'
    server = HttpServer(scheduler.asgi, HttpSettings())
    await server.start()
    try:
        async with open_client(server.url) as client:
            figures = set((await client.get("/metrics")).text.splitlines())
    finally:
        await server.stop()
    expected = {
        f'omega_tasks{{{label},state="queued"}} 1.0',
        f'omega_tasks{{{label},state="running"}} 1.0',
        f"omega_tasks_submitted_total{{{label}}} 3.0",
        f'omega_tasks_finished_total{{{label},state="succeeded"}} 1.0',
        f"omega_task_seconds_count{{{label}}} 1.0",
        f"omega_task_wait_seconds_count{{{label}}} 2.0",
    }
    assert expected <= figures
