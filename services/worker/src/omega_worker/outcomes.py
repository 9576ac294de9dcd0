"""How an attempt ended, as the completion that the scheduler records. Pure."""

from __future__ import annotations

from enum import Enum

from omega_worker.messages import TaskEnded
from omegaproto.errors import ErrorInfo, TaskCancelled, TaskFailed
from omegaproto.tasks import Completion, Lease, TaskSpec


class Stop(Enum):
    """Why the supervisor ended an attempt."""

    lease_lost = "its lease passed to somebody else"
    cancelled = "it was cancelled"
    timed_out = "it ran longer than allowed"
    released = "the worker hands it back"


def ended_by_child(lease: Lease, ended: TaskEnded) -> Completion:
    """Give the completion for what the child answered."""
    if ended.error is None:
        return _completion(lease, "succeeded").model_copy(update={"result": ended.result})
    return _completion(lease, "failed", ended.error).model_copy(update={"retryable": ended.retryable})


def ended_by_us(lease: Lease, spec: TaskSpec, why: Stop) -> Completion | None:
    """Give the completion for an attempt that was stopped; None when its lease is lost and nothing may be recorded."""
    match why:
        case Stop.cancelled:
            cancelled = TaskCancelled("The task was cancelled while it ran.", action="Submit it again to run it.")
            return _completion(lease, "cancelled", cancelled.info())
        case Stop.released:
            return _completion(lease, "released")
        case Stop.timed_out:
            late = TaskFailed(
                f"The task timed out: it ran longer than its {spec.timeout_seconds:g} s.",
                action="Give it more time by timeout_seconds, or less to do.",
                timeout_seconds=spec.timeout_seconds,
            )
            return _completion(lease, "failed", late.info())
        case Stop.lease_lost:
            return None


def ended_by_death(lease: Lease, how: str) -> Completion:
    """Give the completion for an attempt whose child process died; `how` says how."""
    error = TaskFailed(
        f"The process that ran the task {how}.",
        action="It may have run out of memory, crashed in native code, or called os._exit: see the worker's log.",
    )
    return _completion(lease, "lost", error.info())


def _completion(lease: Lease, outcome: str, error: ErrorInfo | None = None) -> Completion:
    return Completion(task_id=lease.task_id, token=lease.token, outcome=outcome, error=error)
