"""The life of a task as a pure function: a record and an event in, a guarded change out. No I/O, no clock, no store.

============  ==============================  ========================================================================
event         guard                           effect
============  ==============================  ========================================================================
submitted     (unique key, held by the store) ``queued``; ring now, or at `not_before`
Claim         queued, due                     ``running``, attempt + 1, lease token and expiry
Renew         running, token                  the lease's expiry moves
Succeed       running, token                  ``succeeded`` with the result
Fail          running, token                  ``failed``; or ``queued`` with backoff: retryable, and attempts are left
Stopped       running, token                  ``cancelled``: the worker ended it, as it was asked to
Release       running, token                  ``queued``, the attempt not counted; ``cancelled`` when that was asked for
Lost, Expire  running, token / lease passed   ``queued``; ``dead`` after `Policy.max_lost` lost workers
Cancel        queued / running                ``cancelled`` / flagged for the worker; again: nothing changes
Ring          queued, nobody came             ring again, less often each time
============  ==============================  ========================================================================

A change is applied only while its guard holds (compare-and-set), so any number of schedulers may decide at once: one of
them wins. Terminal states absorb: no guard holds there. A change that needs nothing of the record but its guard is
given by :func:`direct` without reading the record first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

from omegaproto.errors import ErrorInfo, TaskCancelled, TaskDead
from omegaproto.tasks import TERMINAL, Payload, TaskState


@dataclass(frozen=True, slots=True)
class Policy:
    """The figures of the table, in seconds where they are times."""

    lease_seconds: float = 30.0
    max_lost: int = 3
    backoff_base_seconds: float = 1.0
    backoff_cap_seconds: float = 60.0
    ring_again_seconds: float = 10.0
    ring_again_cap_seconds: float = 300.0
    retention_seconds: float = 7 * 24 * 3600.0

    def backoff(self, failures: int) -> timedelta:
        """Give how long to wait after the `failures`-th failure: base, twice that, and so on up to the cap."""
        return timedelta(seconds=_doubled(self.backoff_base_seconds, failures - 1, self.backoff_cap_seconds))

    def ring_again(self, rings: int) -> timedelta:
        """Give how long to wait for a claim after a task was rung for again `rings` times."""
        return timedelta(seconds=_doubled(self.ring_again_seconds, rings, self.ring_again_cap_seconds))


def _doubled(base: float, times: int, cap: float) -> float:
    return float(min(base * 2.0 ** min(max(times, 0), 64), cap))


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """The part of a task's document that its life depends on; the document has the same field names."""

    state: TaskState
    due_at: datetime
    """Not to be claimed before."""
    wake_at: datetime | None
    """When a sweeper looks at it: to ring again (queued), or because its lease has passed (running)."""
    max_attempts: int = 1
    attempt: int = 0
    lost: int = 0
    rings: int = 0
    cancel_requested: bool = False
    token: str | None = None
    """Proves the lease that runs now."""
    done_token: str | None = None
    """Proved the lease whose completion was recorded last."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker takes the task; `claim_id` lets it repeat a claim whose answer was lost."""

    worker: str
    token: str
    claim_id: str | None = None


@dataclass(frozen=True, slots=True)
class Renew:
    """The worker still runs it."""

    token: str


@dataclass(frozen=True, slots=True)
class Succeed:
    """The attempt gave a result."""

    token: str
    result: Payload | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """The attempt raised."""

    token: str
    error: ErrorInfo | None = None
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Stopped:
    """The worker ended the attempt because the task was cancelled."""

    token: str


@dataclass(frozen=True, slots=True)
class Release:
    """The worker hands the task back unfinished."""

    token: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker reports that the process which ran the attempt is gone."""

    token: str
    error: ErrorInfo | None = None


@dataclass(frozen=True, slots=True)
class Expire:
    """A sweeper found the lease passed."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """A user wants it to end."""


@dataclass(frozen=True, slots=True)
class Ring:
    """A sweeper found it due, and nobody came."""


TaskEvent = Claim | Renew | Succeed | Fail | Stopped | Release | Lost | Expire | Cancel | Ring


class Then(StrEnum):
    """What to do once a change took effect."""

    nothing = "nothing"
    ring = "ring now"
    ring_later = "ring at due_at"
    announce = "announce that it is finished"


class Refusal(StrEnum):
    """Why an event changes nothing."""

    terminal = "the task has ended"
    lease_lost = "the lease has passed to somebody else"
    not_queued = "the task runs"
    not_running = "the task does not run"
    not_due = "it is not time yet"
    requested = "that was asked for before"


@dataclass(frozen=True, slots=True)
class Guard:
    """One condition that must still hold when the change is applied."""

    field: str
    op: Literal["==", "<="]
    value: Any


@dataclass(frozen=True, slots=True)
class Change:
    """Fields to replace and numbers to add to, while every guard holds; and what to do then."""

    guard: tuple[Guard, ...]
    set: dict[str, Any]
    inc: dict[str, int] = field(default_factory=dict)
    then: Then = Then.nothing


def submitted(not_before: datetime | None, now: datetime, policy: Policy) -> tuple[dict[str, Any], Then]:
    """Give the fields that a new task begins with, and what to do once it is stored."""
    fields = {"attempt": 0, "lost": 0, "cancel_requested": False, "token": None, "done_token": None}
    queued, then = _queued(now, max(now, not_before or now), policy)
    return fields | queued | {"created": now, "expires_at": None}, then


def direct(event: TaskEvent, now: datetime, policy: Policy) -> Change | None:
    """Give the change for an event whose guard says all; None when it depends on more of the record than that."""
    match event:
        case Claim():
            return _claimed(event, now, policy)
        case Renew(token):
            return Change(_leased(token), {"wake_at": now + timedelta(seconds=policy.lease_seconds)})
        case Succeed(token, result):
            return _ended(TaskState.succeeded, token, now, policy, {"result": result})
        case Fail(token, error, False):
            return _ended(TaskState.failed, token, now, policy, {"error": error})
        case Stopped(token):
            return _ended(TaskState.cancelled, token, now, policy, {"error": _cancelled()})
    return None


def decide(record: TaskRecord, event: TaskEvent, now: datetime, policy: Policy) -> Change | Refusal:
    """Give the guarded change that an event makes to a record, or why it makes none."""
    change = direct(event, now, policy) or _dependent(record, event, now, policy)
    if isinstance(change, Change) and not all(_holds(record, guard) for guard in change.guard):
        return _refusal(record, event)
    return change


def _dependent(record: TaskRecord, event: TaskEvent, now: datetime, policy: Policy) -> Change | Refusal:
    match event:
        case Fail(token, error):
            return _failed(record, token, error, now, policy)
        case Release(token):
            return _released(record, token, now, policy)
        case Lost(token, error):
            return _lost(record, _leased(token), token, error, now, policy)
        case Expire():
            guard = (*_leased(record.token), Guard("wake_at", "==", record.wake_at), Guard("wake_at", "<=", now))
            return _lost(record, guard, None, None, now, policy)
        case Ring():
            return _rung(record, now, policy)
        case _:
            return _cancel(record, now, policy)


def _claimed(event: Claim, now: datetime, policy: Policy) -> Change:
    return Change(
        (Guard("state", "==", TaskState.queued), Guard("due_at", "<=", now)),
        {
            "state": TaskState.running,
            "worker": event.worker,
            "token": event.token,
            "claim_id": event.claim_id,
            "claimed_at": now,
            "wake_at": now + timedelta(seconds=policy.lease_seconds),
            "modified": now,
        },
        {"attempt": 1},
    )


def _failed(record: TaskRecord, token: str, error: ErrorInfo | None, now: datetime, policy: Policy) -> Change:
    guard = _seen(record, _leased(token))
    if record.cancel_requested:
        return _ended(TaskState.cancelled, token, now, policy, {"error": _cancelled()}, guard)
    if record.attempt >= record.max_attempts:
        return _ended(TaskState.failed, token, now, policy, {"error": error}, guard)
    fields, then = _queued(now, now + policy.backoff(record.attempt), policy)
    return Change(guard, fields | {"token": None, "done_token": token, "error": error}, then=then)


def _released(record: TaskRecord, token: str, now: datetime, policy: Policy) -> Change:
    guard = _seen(record, _leased(token))
    if record.cancel_requested:
        return _ended(TaskState.cancelled, token, now, policy, {"error": _cancelled()}, guard)
    fields, then = _queued(now, now, policy)
    return Change(guard, fields | {"token": None, "done_token": token}, {"attempt": -1}, then)


def _lost(
    record: TaskRecord,
    guard: tuple[Guard, ...],
    token: str | None,
    error: ErrorInfo | None,
    now: datetime,
    policy: Policy,
) -> Change:
    guard, lost = _seen(record, guard), record.lost + 1
    if record.cancel_requested:
        fields: dict[str, Any] = {"error": _cancelled(), "lost": lost}
        return _ended(TaskState.cancelled, token or record.done_token, now, policy, fields, guard)
    if lost >= policy.max_lost:
        fields = {"error": _dead(lost, error), "lost": lost}
        return _ended(TaskState.dead, token or record.done_token, now, policy, fields, guard)
    # A lease that expired has waited long enough; a child that died at once would die at once again.
    queued, then = _queued(now, now + policy.backoff(lost) if token else now, policy)
    fields = queued | {"token": None, "done_token": token or record.done_token, "lost": lost, "error": error}
    return Change(guard, fields, then=then)


def _cancel(record: TaskRecord, now: datetime, policy: Policy) -> Change | Refusal:
    if record.state is TaskState.queued:
        guard = (Guard("state", "==", TaskState.queued),)
        fields = {"error": _cancelled(), "cancel_requested": True}
        return _ended(TaskState.cancelled, record.done_token, now, policy, fields, guard)
    if record.state is TaskState.running and record.cancel_requested:
        return Refusal.requested
    return Change((Guard("state", "==", TaskState.running),), {"cancel_requested": True, "modified": now})


def _rung(record: TaskRecord, now: datetime, policy: Policy) -> Change:
    guard = (
        Guard("state", "==", TaskState.queued),
        Guard("wake_at", "==", record.wake_at),
        Guard("wake_at", "<=", now),
    )
    return Change(guard, {"wake_at": now + policy.ring_again(record.rings + 1)}, {"rings": 1}, Then.ring)


def _queued(now: datetime, due: datetime, policy: Policy) -> tuple[dict[str, Any], Then]:
    later = due > now
    wake = due if later else now + policy.ring_again(0)
    fields = {
        "state": TaskState.queued,
        "due_at": due,
        "wake_at": wake,
        "rings": 0,
        "worker": None,
        "modified": now,
    }
    return fields, Then.ring_later if later else Then.ring


def _ended(
    state: TaskState,
    token: str | None,
    now: datetime,
    policy: Policy,
    fields: dict[str, Any],
    guard: tuple[Guard, ...] | None = None,
) -> Change:
    ended = {
        "state": state,
        "token": None,
        "done_token": token,
        "wake_at": None,
        "modified": now,
        "expires_at": now + timedelta(seconds=policy.retention_seconds),
        "error": None,
    }
    return Change(guard or _leased(token), ended | fields, then=Then.announce)


def _leased(token: str | None) -> tuple[Guard, ...]:
    return Guard("state", "==", TaskState.running), Guard("token", "==", token)


def _seen(record: TaskRecord, guard: tuple[Guard, ...]) -> tuple[Guard, ...]:
    """Add what else the decision was made on; attempt and lost change only together with the token."""
    return *guard, Guard("cancel_requested", "==", record.cancel_requested)


def _holds(record: TaskRecord, guard: Guard) -> bool:
    value = getattr(record, guard.field)
    return bool(value == guard.value if guard.op == "==" else value is not None and value <= guard.value)


def _refusal(record: TaskRecord, event: TaskEvent) -> Refusal:
    if record.state in TERMINAL:
        return Refusal.terminal
    if isinstance(event, Claim | Ring):
        return Refusal.not_queued if record.state is TaskState.running else Refusal.not_due
    if isinstance(event, Expire):
        return Refusal.not_due if record.state is TaskState.running else Refusal.not_running
    return Refusal.lease_lost


def _cancelled() -> ErrorInfo:
    return TaskCancelled("The task was cancelled before it ended.", action="Submit it again if it is wanted.").info()


def _dead(lost: int, error: ErrorInfo | None) -> ErrorInfo:
    reason = f" The last one said: {error.message}" if error else ""
    return TaskDead(
        f"The task lost its worker {lost} times and is not tried again.{reason}",
        action="Check what it needs (memory, time, a library that crashes), then submit it again.",
        lost=lost,
    ).info()
