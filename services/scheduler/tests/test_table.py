"""The table of the architecture, line by line, through the bus and the store."""

import asyncio
from datetime import timedelta

import pytest

from omega_scheduler.app import SchedulerService
from omegaproto.errors import ErrorInfo, IdempotencyMismatch
from omegaproto.objects import BlobRef
from omegaproto.tasks import CompleteTasks, Completion, ListTaskBlobRefs, Payload, TaskState

from .conftest import Home

pytestmark = pytest.mark.usefixtures("no_leaks", "scheduler")

ERROR = ErrorInfo(code="bad_input", status=422, message="Wrong shape.", action="Give 4 columns.")
RESULT = Payload(value={"a.b": [1, 2.5, None, "é"], "$c": 2**70})


async def test_submit_queues_and_rings(home: Home) -> None:
    await home.listen()
    (task,) = await home.submit()
    assert (task.state, task.attempt, task.userid) == (TaskState.queued, 0, "ann")
    assert (await home.rung.get()).task_id == task.id
    assert await home.get(task.id) == [task]


async def test_submit_again_gives_the_task_that_exists(home: Home) -> None:
    first = await home.submit(home.spec("a"), home.spec("b"))
    again = await home.submit(home.spec("b"), home.spec("a"), home.spec("a"))
    assert [task.id for task in again] == [first[1].id, first[0].id, first[0].id]


async def test_claim_starts_an_attempt_with_a_lease(home: Home) -> None:
    (task,) = await home.submit()
    (claimed,) = await home.claim(task.id)
    assert (claimed.task.state, claimed.task.attempt, claimed.task.worker) == (TaskState.running, 1, "w")
    assert claimed.task.spec == home.spec()
    assert claimed.lease.expires_at == home.clock.now() + timedelta(seconds=30)
    assert await home.claim(task.id) == []
    assert await home.claim("unknown") == []


async def test_a_task_is_not_claimed_before_its_time(home: Home) -> None:
    (task,) = await home.submit(home.spec(not_before=home.clock.now() + timedelta(seconds=60)))
    assert await home.claim(task.id) == []
    home.clock.advance(60)
    assert len(await home.claim(task.id)) == 1


async def test_renew_moves_the_expiry(home: Home, scheduler: SchedulerService) -> None:
    lease = await home.started()
    for _ in range(3):
        home.clock.advance(20)
        (status,) = await home.renew(lease)
        assert status.lease is not None
        assert status.lease.expires_at == home.clock.now() + timedelta(seconds=30)
        assert not status.cancel_requested
        await scheduler.sweeps.expire()
    assert await home.state(lease.task_id) is TaskState.running


async def test_succeed_records_the_result_and_announces_it(home: Home) -> None:
    lease = await home.started()
    done = await home.complete(lease, "succeeded", result=RESULT)
    assert (done.recorded, done.state) == (True, TaskState.succeeded)
    assert await home.finished.get() == lease.task_id
    (task,) = await home.get(lease.task_id)
    assert (task.state, task.result, task.error, task.attempt) == (TaskState.succeeded, RESULT, None, 1)


async def test_an_error_of_the_users_code_is_final(home: Home) -> None:
    lease = await home.started(max_attempts=3)
    assert (await home.complete(lease, "failed", error=ERROR)).state is TaskState.failed
    (task,) = await home.get(lease.task_id)
    assert (task.error, task.attempt) == (ERROR, 1)
    assert await home.finished.get() == lease.task_id


async def test_a_retryable_failure_runs_again_with_growing_waits(home: Home, scheduler: SchedulerService) -> None:
    await home.listen()
    lease = await home.started(max_attempts=3)
    await home.rung.get()
    for wait in (1, 2):
        assert (await home.complete(lease, "failed", error=ERROR, retryable=True)).state is TaskState.queued
        assert await home.claim(lease.task_id) == []
        home.clock.advance(wait - 0.1)
        await scheduler.sweeps.ring()
        assert home.rung.empty()
        home.clock.advance(0.1)
        await scheduler.sweeps.ring()
        assert (await home.rung.get()).task_id == lease.task_id
        lease = await home.run(lease.task_id)
    assert (await home.complete(lease, "failed", error=ERROR, retryable=True)).state is TaskState.failed
    (task,) = await home.get(lease.task_id)
    assert (task.attempt, task.error) == (3, ERROR)


async def test_release_does_not_count_the_attempt_and_rings(home: Home) -> None:
    await home.listen()
    lease = await home.started(max_attempts=1)
    await home.rung.get()
    for _ in range(3):
        assert (await home.complete(lease, "released")).state is TaskState.queued
        assert (await home.rung.get()).task_id == lease.task_id
        (claimed,) = await home.claim(lease.task_id)
        assert claimed.task.attempt == 1
        lease = claimed.lease


async def test_a_silent_workers_task_runs_elsewhere(home: Home, scheduler: SchedulerService) -> None:
    await home.listen()
    lease = await home.started()
    await home.rung.get()
    home.clock.advance(30)
    await scheduler.sweeps.expire()
    assert (await home.rung.get()).task_id == lease.task_id
    (again,) = await home.claim(lease.task_id, worker="other")
    assert (again.task.attempt, again.task.lost) == (2, 1)
    late = await home.complete(lease, "succeeded", result=RESULT)
    assert (late.recorded, late.state) == (False, TaskState.running)
    assert (await home.renew(lease))[0].lease is None
    assert (await home.complete(again.lease, "succeeded")).recorded


@pytest.mark.parametrize("how", ["silent", "reported"])
async def test_three_lost_workers_make_a_task_dead(home: Home, scheduler: SchedulerService, how: str) -> None:
    lease = await home.started(max_attempts=1)
    for lost in (1, 2, 3):
        if how == "silent":
            home.clock.advance(30)
            await scheduler.sweeps.expire()
        else:
            assert (await home.complete(lease, "lost", error=ERROR)).recorded
        (task,) = await home.get(lease.task_id)
        assert task.lost == lost
        if lost < 3:
            assert task.state is TaskState.queued
            home.clock.advance(60)
            lease = await home.run(lease.task_id)
    assert task.state is TaskState.dead
    assert task.error is not None
    assert task.error.code == "task_dead"
    assert await home.finished.get() == lease.task_id
    assert await home.claim(lease.task_id) == []


async def test_a_late_result_counts_while_nobody_else_has_the_task(home: Home) -> None:
    lease = await home.started()
    home.clock.advance(3600)
    assert (await home.complete(lease, "succeeded", result=RESULT)).recorded


async def test_cancel_of_a_queued_task_takes_effect_at_once(home: Home) -> None:
    (task,) = await home.submit()
    assert (await home.cancel(task.id)).state is TaskState.cancelled
    assert await home.finished.get() == task.id
    again = await home.cancel(task.id)
    assert (again.state, again.error and again.error.code) == (TaskState.cancelled, "task_cancelled")
    assert await home.claim(task.id) == []
    assert home.finished.empty()


@pytest.mark.parametrize("outcome", ["cancelled", "released", "lost", "failed"])
async def test_cancel_of_a_running_task_reaches_its_worker(home: Home, outcome: str) -> None:
    lease = await home.started()
    assert (await home.cancel(lease.task_id)).cancel_requested
    asked = await home.cancel(lease.task_id)
    assert (asked.state, asked.cancel_requested) == (TaskState.running, True)
    (status,) = await home.renew(lease)
    assert status.cancel_requested
    done = await home.complete(lease, outcome, retryable=True)
    assert (done.recorded, done.state) == (True, TaskState.cancelled)
    assert await home.finished.get() == lease.task_id


async def test_cancel_of_a_silent_workers_task_ends_it(home: Home, scheduler: SchedulerService) -> None:
    lease = await home.started()
    await home.cancel(lease.task_id)
    home.clock.advance(31)
    await scheduler.sweeps.expire()
    assert await home.state(lease.task_id) is TaskState.cancelled


async def test_a_result_that_comes_before_the_cancel_does_is_kept(home: Home) -> None:
    lease = await home.started()
    await home.cancel(lease.task_id)
    assert (await home.complete(lease, "succeeded", result=RESULT)).state is TaskState.succeeded
    assert (await home.cancel(lease.task_id)).state is TaskState.succeeded


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "cancelled", "released", "lost"])
async def test_a_completion_that_is_repeated_is_answered_as_the_first(home: Home, outcome: str) -> None:
    lease = await home.started()
    first = await home.complete(lease, outcome, result=RESULT, error=ERROR)
    assert first.recorded
    assert await home.complete(lease, outcome, result=RESULT, error=ERROR) == first
    forged = lease.model_copy(update={"token": "guessed"})
    assert not (await home.complete(forged, outcome)).recorded
    completion = Completion(task_id=lease.task_id, token=lease.token, outcome=outcome)
    both = await home.as_worker(CompleteTasks(worker="w", completions=(completion, completion)))
    assert both.items == (first, first)


async def test_a_completion_twice_in_one_message_counts_once(home: Home) -> None:
    lease = await home.started()
    same = Completion(task_id=lease.task_id, token=lease.token, outcome="released")
    both = await home.as_worker(CompleteTasks(worker="w", completions=(same, same)))
    assert [each.recorded for each in both.items] == [True, True]
    (again,) = await home.claim(lease.task_id)
    assert again.task.attempt == 1


async def test_a_completion_of_an_unknown_task_is_not_recorded(home: Home) -> None:
    lease = (await home.started()).model_copy(update={"task_id": "unknown"})
    done = await home.complete(lease, "succeeded")
    assert (done.recorded, done.state) == (False, None)
    assert (await home.renew(lease))[0].lease is None


async def test_a_claim_that_is_repeated_gives_the_same_leases(home: Home) -> None:
    (one, two) = await home.submit(home.spec("a"), home.spec("b"))
    first = await home.claim(one.id, claim_id="c")
    again = await home.claim(one.id, two.id, claim_id="c")
    assert sorted(each.lease.token for each in again) != []
    assert first[0].lease in [each.lease for each in again]
    assert {each.task.id for each in again} == {one.id, two.id}
    assert await home.claim(one.id, two.id, claim_id="d") == []
    assert await home.claim(one.id, worker="other", claim_id="c") == []


async def test_sixteen_claimers_get_each_task_once(home: Home) -> None:
    made = await home.submit(*(home.spec(f"k{number}") for number in range(50)))
    ids = [task.id for task in made]
    got = await asyncio.gather(*(home.claim(*ids, worker=f"w{number}") for number in range(16)))
    claimed = [each for claims in got for each in claims]
    assert sorted(each.task.id for each in claimed) == sorted(ids)
    assert len({each.lease.token for each in claimed}) == 50


async def test_completions_and_cancels_race_to_one_end(home: Home) -> None:
    leases = [await home.started(f"k{number}") for number in range(10)]
    await asyncio.gather(
        *(home.cancel(lease.task_id) for lease in leases),
        *(home.complete(lease, "released") for lease in leases),
        *(home.complete(lease, "succeeded") for lease in leases),
    )
    for lease in leases:
        (task,) = await home.get(lease.task_id)
        assert task.state in {TaskState.succeeded, TaskState.cancelled}
        # A cancel that lost to the release found the task queued, or running: it is cancelled at once or by its flag.


def blobs(*letters: str) -> Payload:
    """Give a payload of one blob for each letter."""
    refs = tuple(BlobRef(id=letter * 32, sha256="0" * 64, length=1) for letter in letters)
    return Payload(kind="ndarray.bin", blobs=refs)


async def test_tasks_tell_which_blobs_they_hold(home: Home) -> None:
    await home.submit(home.spec("plain"), home.spec("inputs", inputs={"X": blobs("a", "b"), "Y": "d[y]"}))
    lease = await home.started()
    await home.complete(lease, "succeeded", result=blobs("c"))
    found: list[str] = []
    after = None
    while True:
        page = await home.bus.call(ListTaskBlobRefs(after=after, limit=1), token=home.mesh.own())
        found += page.blob_ids
        after = page.next
        if after is None:
            break
    assert sorted(found) == ["a" * 32, "b" * 32, "c" * 32]


async def test_a_page_of_held_blobs_fits_into_a_message(home: Home) -> None:
    many = Payload(kind="x", blobs=tuple(BlobRef(id=f"{n:032x}", sha256="0" * 64, length=1) for n in range(1000)))
    for number in range(6):
        await home.submit(home.spec(f"k{number}", inputs={"X": many}))
    page = await home.bus.call(ListTaskBlobRefs(), token=home.mesh.own())
    assert len(page.blob_ids) <= 4000
    assert page.next is not None


async def test_a_submit_that_is_repeated_with_its_inputs_sent_again_is_the_same(home: Home) -> None:
    (first,) = await home.submit(home.spec(inputs={"X": blobs("a")}))
    (again,) = await home.submit(home.spec(inputs={"X": blobs("b")}))
    assert again.id == first.id
    other = Payload(kind="ndarray.bin", blobs=(BlobRef(id="c" * 32, sha256="1" * 64, length=1),))
    with pytest.raises(IdempotencyMismatch):
        await home.submit(home.spec(inputs={"X": other}))
