"""Submitting and looking: who may, what is refused, what fits."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from omega_scheduler.app import SchedulerService
from omegaproto.errors import (
    BadRequest,
    Forbidden,
    IdempotencyMismatch,
    Overloaded,
    TaskNotFound,
    TooLarge,
    UnknownAction,
    UnknownLabel,
)
from omegaproto.ids import new_id
from omegaproto.scopes import Principal, Role
from omegaproto.tasks import (
    CancelTask,
    ForgetWorker,
    GetTasks,
    ListTasks,
    ListWorkers,
    Payload,
    RegisterWorker,
    SubmitTasks,
    TaskFinished,
    TaskList,
    TaskState,
)

from .conftest import BUCKET, Home

pytestmark = pytest.mark.usefixtures("no_leaks")


async def test_a_key_used_for_another_task_is_refused(home: Home, scheduler: SchedulerService) -> None:
    (task,) = await home.submit(home.spec("a", params={"x": 1, "y": 2}))
    assert [again.id for again in await home.submit(home.spec("a", params={"y": 2, "x": 1}))] == [task.id]
    with pytest.raises(IdempotencyMismatch, match=task.id):
        await home.submit(home.spec("a", params={"x": 3}))


async def test_sixteen_submits_with_one_key_make_one_task(home: Home, scheduler: SchedulerService) -> None:
    made = await asyncio.gather(*(home.submit() for _ in range(16)))
    assert len({task.id for tasks in made for task in tasks}) == 1


async def test_a_label_that_nobody_offers_is_refused_and_those_on_offer_are_named(home: Home) -> None:
    await home.scheduler()
    with pytest.raises(UnknownLabel, match="'tpu'") as refused:
        await home.submit(home.spec(label="tpu"))
    assert refused.value.details["labels"] == [home.label]
    await home.as_worker(RegisterWorker(worker="w", labels=("tpu", "gpu"), slots=2))
    assert len(await home.submit(home.spec(label="tpu"))) == 1
    home.clock.advance(31)
    with pytest.raises(UnknownLabel):
        await home.submit(home.spec("late", label="tpu"))


async def test_a_worker_that_another_replica_heard_of_counts_at_once(home: Home) -> None:
    first = await home.open_bus()
    await home.scheduler(first)
    await home.as_worker(RegisterWorker(worker="w", labels=("gpu",), slots=1))
    await first.close()
    await home.scheduler()
    assert len(await home.submit(home.spec(label="gpu"))) == 1


async def test_workers_are_listed_until_they_leave_or_are_silent(home: Home, scheduler: SchedulerService) -> None:
    for _ in range(2):
        await home.as_worker(RegisterWorker(worker="w1", labels=("gpu",), slots=2, running=1))
    await home.as_worker(RegisterWorker(worker="w2", labels=("cpu", "gpu"), slots=4))
    listed = await home.bus.call(ListWorkers(), token=home.mesh.own())
    assert {(each.worker, each.labels, each.slots, each.running) for each in listed.items} == {
        ("w1", ("gpu",), 2, 1),
        ("w2", ("cpu", "gpu"), 4, 0),
    }
    assert listed.labels == tuple(sorted(("cpu", "gpu", home.label)))
    await home.as_worker(ForgetWorker(worker="w2"))
    listed = await home.bus.call(ListWorkers(), token=home.mesh.own())
    assert (len(listed.items), listed.labels) == (1, tuple(sorted(("gpu", home.label))))
    home.clock.advance(31)
    assert (await home.bus.call(ListWorkers(), token=home.mesh.own())).items == ()


async def test_a_worker_that_registers_sixteen_times_at_once_is_listed_once(
    home: Home, scheduler: SchedulerService
) -> None:
    await asyncio.gather(*(home.as_worker(RegisterWorker(worker="w", labels=("gpu",), slots=1)) for _ in range(16)))
    listed = await home.bus.call(ListWorkers(), token=home.mesh.own())
    assert [each.worker for each in listed.items] == ["w"]


async def test_too_many_tasks_are_refused_until_some_are_gone(home: Home) -> None:
    await home.scheduler(max_queued=2)
    first, _ = await home.submit(home.spec("a"), home.spec("b"))
    with pytest.raises(Overloaded):
        await home.submit(home.spec("c"))
    await home.cancel(first.id)
    assert len(await home.submit(home.spec("c"))) == 1


async def test_what_the_mesh_cannot_run_is_refused_and_nothing_is_stored(
    home: Home, scheduler: SchedulerService
) -> None:
    good = home.spec("good")
    for wrong, error in (
        (home.spec(action="shell.rm"), UnknownAction),
        (home.spec(action="model."), UnknownAction),
        (home.spec(bucket="other"), BadRequest),
        (home.spec(action="model.fit"), Forbidden),
        (home.spec(inputs={"X": Payload(value="x" * 170_000)}), TooLarge),
        (home.spec(not_before=datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))), BadRequest),
    ):
        with pytest.raises(error):
            await home.submit(good, wrong)
    listed = await home.bus.call(ListTasks(bucket=BUCKET), token=home.mesh.own())
    assert listed.items == ()


async def test_a_date_without_a_time_zone_is_utc(home: Home, scheduler: SchedulerService) -> None:
    due = (home.clock.now() + timedelta(minutes=5)).astimezone(UTC).replace(tzinfo=None)
    (task,) = await home.submit(home.spec(not_before=due))
    home.clock.advance(299)
    assert await home.claim(task.id) == []
    home.clock.advance(1)
    assert len(await home.claim(task.id)) == 1


@pytest.mark.parametrize(
    ("submitter", "action", "carried"),
    [
        (Role.admin, "noop", Role.runner),
        (Role.admin, "model.predict", Role.runner),
        (Role.admin, "model.fit", Role.writer),
        (Role.writer, "model.fit", Role.writer),
        (Role.runner, "model.score", Role.runner),
    ],
)
async def test_the_tasks_token_reaches_its_bucket_with_the_role_it_needs(
    home: Home, scheduler: SchedulerService, submitter: Role, action: str, carried: Role
) -> None:
    (task,) = await home.submit(home.spec(action=action), role=submitter)
    (claimed,) = await home.claim(task.id)
    principal = home.mesh.verify(claimed.access_token)
    assert principal == Principal(userid="ann", grants={BUCKET: carried}, task_id=task.id)
    (status,) = await home.renew(claimed.lease)
    assert home.mesh.verify(status.access_token or "") == principal


async def test_a_service_may_submit_for_a_user_and_a_user_for_nobody_else(
    home: Home, scheduler: SchedulerService
) -> None:
    request = SubmitTasks(bucket=BUCKET, userid="bob", role=Role.runner, specs=(home.spec(),))
    made = await home.bus.call(request, token=home.mesh.own())
    assert made.items[0].userid == "bob"
    ann = Principal(userid="ann", grants={BUCKET: Role.admin})
    with pytest.raises(Forbidden, match="bob"):
        await home.bus.call(request, token=home.mesh.acting_for(ann, BUCKET))


async def test_users_cannot_claim_and_workers_cannot_submit(home: Home, scheduler: SchedulerService) -> None:
    with pytest.raises(Forbidden):
        await home.as_worker(SubmitTasks(bucket=BUCKET, userid="w", specs=(home.spec(),)))
    with pytest.raises(Forbidden):
        await home.as_worker(GetTasks(bucket=BUCKET, task_ids=("x",)))


async def test_a_task_is_seen_in_its_bucket_only(home: Home, scheduler: SchedulerService) -> None:
    (task,) = await home.submit()
    for request in (GetTasks(bucket="other", task_ids=(task.id,)), CancelTask(bucket="other", task_id=task.id)):
        with pytest.raises(TaskNotFound, match=task.id):
            await home.bus.call(request, token=home.mesh.own())
    with pytest.raises(TaskNotFound):
        await home.get(task.id, "unknown")


async def test_tasks_are_listed_newest_first_by_pages(home: Home, scheduler: SchedulerService) -> None:
    made = []
    for number in range(7):
        made += await home.submit(home.spec(f"k{number}"))
        home.clock.advance(1)
    await home.cancel(made[3].id)

    async def page(**fields: object) -> TaskList:
        return await home.bus.call(ListTasks(bucket=BUCKET, **fields), token=home.mesh.own())

    ids = [task.id for task in reversed(made)]
    assert [task.id for task in (await page()).items] == ids
    first = await page(limit=4)
    second = await page(limit=4, after=first.next)
    assert [task.id for task in (*first.items, *second.items)] == ids
    assert second.next is None
    assert [task.id for task in (await page(state=TaskState.cancelled)).items] == [made[3].id]


async def test_replies_hold_what_fits_into_a_message(home: Home, scheduler: SchedulerService) -> None:
    inputs = {"X": Payload(value="x" * 30_000)}
    made = []
    for number in range(10):
        made += await home.submit(home.spec(f"k{number}", inputs=inputs))
    ids = [task.id for task in made]
    got = await home.get(*ids)
    assert 1 < len(got) < 10
    assert [task.id for task in got] == ids[: len(got)]
    listed = await home.bus.call(ListTasks(bucket=BUCKET), token=home.mesh.own())
    assert len(listed.items) < 10
    assert listed.next is not None
    with pytest.raises(TooLarge, match="10 tasks"):
        await home.submit(*(home.spec(new_id(), inputs={"X": Payload(value="x" * 22_000)}) for _ in range(10)))


async def test_claims_that_do_not_fit_stay_queued_uncounted(home: Home, scheduler: SchedulerService) -> None:
    await home.listen()
    inputs = {"X": Payload(value="x" * 90_000)}
    ids = [(await home.submit(home.spec(f"k{number}", inputs=inputs)))[0].id for number in range(4)]
    assert {(await home.rung.get()).task_id for _ in ids} == set(ids)
    claimed = await home.claim(*ids)
    assert [each.task.id for each in claimed] == ids[:2]
    assert claimed[0].task.spec.inputs == inputs
    assert {(await home.rung.get()).task_id for _ in ids[2:]} == set(ids[2:])
    again = await home.claim(*ids)
    assert [(each.task.id, each.task.attempt) for each in again] == [(ids[2], 1), (ids[3], 1)]


async def test_large_inputs_are_not_sent_back_to_their_sender(home: Home, scheduler: SchedulerService) -> None:
    spec = home.spec(inputs={"X": Payload(value="ü" * 20_000)}, params={"p": 1})
    (task,) = await home.submit(spec)
    assert (task.spec.inputs, task.spec.params) == ({}, {})
    assert [again.id for again in await home.submit(spec)] == [task.id]


async def test_a_result_that_is_too_large_fails_the_task(home: Home, scheduler: SchedulerService) -> None:
    lease = await home.started()
    done = await home.complete(lease, "succeeded", result=Payload(value="x" * 200_000))
    assert (done.recorded, done.state) == (True, TaskState.failed)
    (task,) = await home.get(lease.task_id)
    assert task.error is not None
    assert task.error.code == "too_large"


async def test_a_long_error_is_cut(home: Home, scheduler: SchedulerService) -> None:
    lease = await home.started()
    error = TooLarge("m" * 5000, action="Shorten it.", trace="x" * 100_000).info()
    await home.complete(lease, "failed", error=error)
    (task,) = await home.get(lease.task_id)
    assert task.error is not None
    assert (task.error.code, len(task.error.message), task.error.details) == ("too_large", 4000, {})


async def test_small_tasks_travel_in_the_event(home: Home, scheduler: SchedulerService) -> None:
    heard: asyncio.Queue[TaskFinished] = asyncio.Queue()
    await home.bus.subscribe(TaskFinished, lambda event: asyncio.sleep(0, heard.put_nowait(event)))
    lease = await home.started("small")
    await home.complete(lease, "succeeded", result=Payload(value=[1]))
    event = await heard.get()
    assert list(event.tasks) == await home.get(lease.task_id)
    large = await home.started("large")
    await home.complete(large, "succeeded", result=Payload(value="x" * 5000))
    event = await heard.get()
    assert (event.task_ids, event.tasks) == ((large.task_id,), ())


async def test_results_are_kept_for_a_limited_time(home: Home) -> None:
    await home.scheduler(result_days=1)
    lease = await home.started()
    await home.complete(lease, "succeeded", result=Payload(value=1))
    (waiting,) = await home.submit(home.spec("waiting"))
    home.clock.advance(24 * 3600 - 1)
    assert await home.state(lease.task_id) is TaskState.succeeded
    home.clock.advance(2)
    with pytest.raises(TaskNotFound):
        await home.get(lease.task_id)
    assert await home.state(waiting.id) is TaskState.queued
    (again,) = await home.submit()
    assert again.id != lease.task_id
