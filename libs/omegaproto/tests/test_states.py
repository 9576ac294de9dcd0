"""The life of a task: each line of the table, and what holds for any sequence of events."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from omegaproto.errors import ErrorInfo
from omegaproto.states import (
    Cancel,
    Change,
    Claim,
    Expire,
    Fail,
    Lost,
    Policy,
    Refusal,
    Release,
    Renew,
    Ring,
    Stopped,
    Succeed,
    TaskEvent,
    TaskRecord,
    Then,
    decide,
    direct,
    submitted,
)
from omegaproto.tasks import TERMINAL, Payload, TaskState

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
POLICY = Policy()
ERROR = ErrorInfo(code="bad_input", status=422, message="Wrong shape.")
_NAMES = {field.name for field in fields(TaskRecord)}


def applied(record: TaskRecord, change: Change) -> TaskRecord:
    """What a store does with a change whose guard holds."""
    added = {name: getattr(record, name) + amount for name, amount in change.inc.items()}
    return replace(record, **{name: value for name, value in (change.set | added).items() if name in _NAMES})


def fresh(**given: Any) -> TaskRecord:
    made, _ = submitted(None, NOW, POLICY)
    return TaskRecord(**{name: value for name, value in (made | given).items() if name in _NAMES})


def running(**given: Any) -> TaskRecord:
    change = decide(fresh(), Claim("w", "t"), NOW, POLICY)
    assert isinstance(change, Change)
    return replace(applied(fresh(), change), **given)


def test_a_task_with_a_date_waits_for_it() -> None:
    later = NOW + timedelta(hours=1)
    made, then = submitted(later, NOW, POLICY)
    assert (made["due_at"], made["wake_at"], then) == (later, later, Then.ring_later)
    made, then = submitted(NOW - timedelta(hours=1), NOW, POLICY)
    assert (made["due_at"], then) == (NOW, Then.ring)
    assert decide(fresh(due_at=later), Claim("w", "t"), NOW, POLICY) is Refusal.not_due


@pytest.mark.parametrize(("failures", "seconds"), [(1, 1), (2, 2), (3, 4), (7, 60), (10_000, 60)])
def test_backoff_doubles_up_to_its_cap(failures: int, seconds: int) -> None:
    assert POLICY.backoff(failures) == timedelta(seconds=seconds)


@pytest.mark.parametrize(("rings", "seconds"), [(0, 10), (1, 20), (5, 300)])
def test_rings_grow_rarer(rings: int, seconds: int) -> None:
    assert POLICY.ring_again(rings) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("record", "event", "state"),
    [
        (running(), Succeed("t", Payload(value=1)), TaskState.succeeded),
        (running(), Fail("t", ERROR), TaskState.failed),
        (running(max_attempts=2), Fail("t", ERROR, retryable=True), TaskState.queued),
        (running(max_attempts=1), Fail("t", ERROR, retryable=True), TaskState.failed),
        (running(max_attempts=2, cancel_requested=True), Fail("t", ERROR, retryable=True), TaskState.cancelled),
        (running(), Stopped("t"), TaskState.cancelled),
        (running(), Release("t"), TaskState.queued),
        (running(cancel_requested=True), Release("t"), TaskState.cancelled),
        (running(), Lost("t", ERROR), TaskState.queued),
        (running(lost=2), Lost("t", ERROR), TaskState.dead),
        (running(cancel_requested=True), Lost("t"), TaskState.cancelled),
        (running(wake_at=NOW), Expire(), TaskState.queued),
        (running(wake_at=NOW, lost=2), Expire(), TaskState.dead),
        (running(wake_at=NOW, cancel_requested=True), Expire(), TaskState.cancelled),
        (fresh(), Cancel(), TaskState.cancelled),
    ],
)
def test_each_line_of_the_table(record: TaskRecord, event: TaskEvent, state: TaskState) -> None:
    change = decide(record, event, NOW, POLICY)
    assert isinstance(change, Change)
    assert applied(record, change).state is state
    assert (change.then is Then.announce) == (state in TERMINAL)


@pytest.mark.parametrize(
    ("record", "event", "refusal"),
    [
        (running(), Claim("other", "u"), Refusal.not_queued),
        (running(), Renew("u"), Refusal.lease_lost),
        (fresh(), Renew("t"), Refusal.lease_lost),
        (fresh(), Succeed("t"), Refusal.lease_lost),
        (running(), Expire(), Refusal.not_due),
        (fresh(), Expire(), Refusal.not_running),
        (fresh(), Ring(), Refusal.not_due),
        (running(), Ring(), Refusal.not_queued),
        (running(cancel_requested=True), Cancel(), Refusal.requested),
        (replace(fresh(), state=TaskState.dead, wake_at=None), Cancel(), Refusal.terminal),
        (replace(fresh(), state=TaskState.dead, wake_at=None), Expire(), Refusal.terminal),
    ],
)
def test_what_is_refused_and_why(record: TaskRecord, event: TaskEvent, refusal: Refusal) -> None:
    assert decide(record, event, NOW, POLICY) is refusal


def test_a_dead_task_says_what_the_last_worker_said() -> None:
    change = decide(running(lost=2), Lost("t", ERROR), NOW, POLICY)
    assert isinstance(change, Change)
    assert change.set["error"].code == "task_dead"
    assert "3 times" in change.set["error"].message
    assert ERROR.message in change.set["error"].message


def test_a_change_given_without_the_record_is_the_one_decided_with_it() -> None:
    for event in (Renew("t"), Succeed("t"), Fail("t"), Stopped("t")):
        assert decide(running(), event, NOW, POLICY) == direct(event, NOW, POLICY)
    for event in (Fail("t", retryable=True), Release("t"), Lost("t"), Expire(), Cancel(), Ring()):
        assert direct(event, NOW, POLICY) is None


class Life(RuleBasedStateMachine):
    """A task among workers, sweepers and users that do anything at any time, some of them with stale tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.record = fresh(max_attempts=3)
        self.claims = 0
        self.releases = 0
        self.lost = 0
        self.ends: list[TaskState] = []
        self.tokens = ["never given"]

    def send(self, event: TaskEvent) -> Change | None:
        before = self.record
        change = decide(before, event, self.now, POLICY)
        if isinstance(change, Refusal):
            return None
        self.record = applied(before, change)
        if self.record.state in TERMINAL:
            self.ends.append(self.record.state)
        return change

    @rule(seconds=st.sampled_from([0.5, 1, 5, 31, 600]))
    def time_goes_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def claim(self) -> None:
        token = f"token {len(self.tokens)}"
        self.tokens.append(token)
        if self.send(Claim("w", token)):
            self.claims += 1
            assert self.record.token == token

    @rule(data=st.data(), kind=st.sampled_from([Renew, Succeed, Fail, Stopped, Release, Lost]), retry=st.booleans())
    def a_worker_reports(self, data: st.DataObject, kind: type, retry: bool) -> None:
        token = data.draw(st.sampled_from(self.tokens[-3:] + self.tokens[:1]))
        before = self.record
        change = self.send(Fail(token, ERROR, retry) if kind is Fail else kind(token))
        holds = before.state is TaskState.running and before.token == token
        assert (change is not None) == holds
        if change is None:
            assert self.record == before
        elif kind is not Renew:
            self.releases += kind is Release and self.record.state is TaskState.queued
            self.lost += kind is Lost
            assert self.record.done_token == token

    @rule()
    def sweep(self) -> None:
        before = self.record
        if self.send(Expire()):
            self.lost += 1
            assert before.wake_at is not None
            assert before.wake_at <= self.now
        self.send(Ring())

    @rule()
    def cancel(self) -> None:
        self.send(Cancel())
        assert self.record.state in TERMINAL or self.record.cancel_requested
        before = self.record
        assert self.send(Cancel()) is None
        assert self.record == before

    @precondition(lambda self: bool(self.ends))
    @rule()
    def the_end_absorbs(self) -> None:
        token = self.record.done_token or "none"
        for event in (Claim("w", "x"), Succeed(token), Fail(token), Release(token), Lost(token), Expire(), Cancel()):
            assert decide(self.record, event, self.now, POLICY) is Refusal.terminal

    @invariant()
    def counts_are_right(self) -> None:
        assert self.record.attempt == self.claims - self.releases
        assert self.record.lost == self.lost <= POLICY.max_lost
        assert (self.record.state is TaskState.dead) <= (self.lost == POLICY.max_lost)

    @invariant()
    def it_ends_once_at_most(self) -> None:
        assert len(self.ends) <= 1
        assert bool(self.ends) == (self.record.state in TERMINAL)

    @invariant()
    def somebody_looks_at_it_until_it_ends(self) -> None:
        assert (self.record.wake_at is None) == (self.record.state in TERMINAL)
        assert (self.record.token is not None) == (self.record.state is TaskState.running)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
