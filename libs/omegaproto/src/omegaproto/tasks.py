"""Tasks: what is submitted, what a worker claims, and the messages of their life.

The task document is the truth; a doorbell only says that work waits. The states and their transitions are the pure
function in :mod:`omegaproto.states`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field, JsonValue

from omegaproto.errors import ErrorInfo
from omegaproto.messages import Empty, Event, Message, Request
from omegaproto.names import MAX_NAME_LENGTH
from omegaproto.objects import BlobRef, BlobRefPage
from omegaproto.scopes import Role

DEFAULT_LABEL = "cpu"
FORMAT = "__format"
"""The parameter that asks for the form of the result: ``json`` for callers that are not Python."""
RESULT_NAME = "rName"
"""The parameter that asks for the result to be stored as a dataset of that name."""


class TaskState(StrEnum):
    """Where a task is in its life; the last four are terminal and absorb."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"
    dead = "dead"


TERMINAL = frozenset({TaskState.succeeded, TaskState.failed, TaskState.cancelled, TaskState.dead})


class Payload(Message):
    """A value on the wire, by the kind that encoded it: inside the message when small, else as blobs.

    For kind ``json`` the value is in `value`; for the others `data` holds the encoded bytes or `blobs` names them.
    """

    kind: str = "json"
    kind_meta: dict[str, Any] = Field(default_factory=dict)
    value: JsonValue = None
    data: bytes | None = None
    blobs: tuple[BlobRef, ...] = ()


class TaskSpec(Message):
    """What a user asks to be run.

    `action` is ``noop`` or ``model.<verb>``; `target` is the object's name with its version; `inputs` holds data by
    argument name ("X", "Y"): a dataset reference (text, with column expressions), or a payload.
    """

    bucket: str = Field(min_length=1, max_length=128)
    action: str = Field(min_length=1, max_length=128)
    target: str = Field(default="", max_length=4 * MAX_NAME_LENGTH)
    inputs: dict[str, str | Payload] = Field(default_factory=dict)
    params: dict[str, JsonValue] = Field(default_factory=dict)
    label: str = Field(default=DEFAULT_LABEL, min_length=1, max_length=63)
    idempotency_key: str = Field(min_length=1, max_length=128)
    max_attempts: int = Field(default=3, ge=1, le=100)
    timeout_seconds: float = Field(default=1200.0, gt=0, le=7 * 24 * 3600)
    not_before: datetime | None = None


class Task(Message):
    """A task as everybody may see it who may read its bucket."""

    id: str
    spec: TaskSpec
    userid: str
    state: TaskState
    attempt: int = 0
    """Attempts started so far; a released attempt does not count."""
    lost: int = 0
    """Workers lost while running it."""
    cancel_requested: bool = False
    worker: str | None = None
    created: datetime
    modified: datetime
    result: Payload | None = None
    error: ErrorInfo | None = None


class TaskList(Message):
    """Tasks in the order asked for.

    A list holds what fits into one message. Of tasks with over 32 KiB of inline inputs and parameters these are left
    out: they are what the user sent.
    """

    items: tuple[Task, ...] = ()
    next: str | None = None
    """Where the next page of a listing begins; None at its end."""


class SubmitTasks(Request[TaskList], subject="scheduler.submit_tasks", operation="task.submit"):
    """Make tasks durable, and ring for them. All specs name the request's bucket.

    A spec whose idempotency key exists in the bucket gives the task that exists (IdempotencyMismatch when it asks for
    something else). Raises UnknownLabel when no worker pool offers a label.
    """

    bucket: str
    userid: str
    role: Role = Role.runner
    """What the submitting user is in the bucket: the most that the task's own token will carry."""
    specs: tuple[TaskSpec, ...] = Field(min_length=1, max_length=1000)


class GetTasks(Request[TaskList], subject="scheduler.get_tasks", operation="task.read"):
    """Give tasks by id, in order. Raises TaskNotFound for the first that the bucket does not hold.

    Gives at least the first, and as many after it as fit into one message with their results: ask again for the rest.
    """

    bucket: str
    task_ids: tuple[str, ...] = Field(min_length=1, max_length=1000)


class ListTasks(Request[TaskList], subject="scheduler.list_tasks", operation="task.read"):
    """List tasks of a bucket, newest first, without their results; `after` is the `next` of the page before."""

    bucket: str
    state: TaskState | None = None
    limit: int = Field(default=100, ge=1, le=1000)
    after: str | None = None


class CancelTask(Request[Task], subject="scheduler.cancel_task", operation="task.cancel"):
    """Cancel a task: at once when it is queued, through its worker's next renewal when it runs. Idempotent."""

    bucket: str
    task_id: str


class ListTaskBlobRefs(Request[BlobRefPage], subject="scheduler.list_blob_refs", operation="mesh.internal"):
    """Page through the blobs that inputs and results of tasks refer to: for blobstore's mark-and-sweep."""

    bucket: str = "*"
    after: str | None = None
    limit: int = Field(default=500, ge=1, le=1000)


class TaskFinished(Event, subject="scheduler.task_finished"):
    """Tasks reached a terminal state. `tasks` holds those of them that are small, so that nobody need ask for them."""

    bucket: str
    task_ids: tuple[str, ...]
    tasks: tuple[Task, ...] = ()


# Between worker and scheduler.


class Lease(Message):
    """The right to run one attempt of a task until `expires_at`, proven by `token`."""

    task_id: str
    token: str
    expires_at: datetime


class ClaimedTask(Message):
    """A task as its worker gets it, with the lease and with the token that acts for the user in the task's bucket."""

    task: Task
    lease: Lease
    access_token: str


class Claims(Message):
    """What could be claimed; a task that is missing was taken, cancelled or is not due."""

    items: tuple[ClaimedTask, ...] = ()


class ClaimTasks(Request[Claims], subject="scheduler.claim_tasks", operation="worker.tasks"):
    """Claim the tasks that doorbells named.

    A call that is repeated with the same `claim_id` (a random text) because its answer was lost gives the same leases.
    """

    bucket: str = "*"
    worker: str
    task_ids: tuple[str, ...] = Field(min_length=1, max_length=1000)
    claim_id: str | None = Field(default=None, max_length=128)


class Dispatched(Message):
    """Whether the worker took the task: one that has no slot free does not."""

    taken: bool


class DispatchTask(Request[Dispatched], subject="worker.dispatch_task", operation="worker.dispatch"):
    """Hand a task that was claimed for a worker to it. Routed by worker."""

    bucket: str = "*"
    claimed: ClaimedTask


class LeaseStatus(Message):
    """What a renewal found: the lease with its new expiry, or None when it is lost; and whether to cancel."""

    task_id: str
    lease: Lease | None = None
    cancel_requested: bool = False
    access_token: str | None = None


class LeaseStatuses(Message):
    """One status for each lease, in the order asked for."""

    items: tuple[LeaseStatus, ...] = ()


class RenewLeases(Request[LeaseStatuses], subject="scheduler.renew_leases", operation="worker.tasks"):
    """Move the expiry of leases that still hold."""

    bucket: str = "*"
    worker: str
    leases: tuple[Lease, ...] = Field(min_length=1, max_length=1000)


class Completion(Message):
    """How an attempt ended: with a result, with an error, or released (a drain: the attempt does not count)."""

    task_id: str
    token: str
    outcome: str = Field(pattern="^(succeeded|failed|cancelled|released|lost)$")
    result: Payload | None = None
    error: ErrorInfo | None = None
    retryable: bool = False


class CompletionResult(Message):
    """The task's state after the completion, and whether this completion was the one recorded."""

    task_id: str
    recorded: bool
    state: TaskState | None = None


class CompletionResults(Message):
    """One result for each completion, in the order given."""

    items: tuple[CompletionResult, ...] = ()


class CompleteTasks(Request[CompletionResults], subject="scheduler.complete_tasks", operation="worker.tasks"):
    """Record how attempts ended. Repeating a completion that was recorded says recorded again."""

    bucket: str = "*"
    worker: str
    completions: tuple[Completion, ...] = Field(min_length=1, max_length=1000)
    idle: int = Field(default=0, ge=0, le=1024)
    """How many tasks may be handed to the worker by DispatchTask now."""


class WorkerInfo(Message):
    """A live worker: its id, the labels it listens on, how many tasks it runs at once, and how many run now."""

    worker: str
    labels: tuple[str, ...]
    slots: int
    running: int = 0
    seen: datetime


class WorkerList(Message):
    """Live workers, and the labels that live workers or configured pools offer."""

    items: tuple[WorkerInfo, ...] = ()
    labels: tuple[str, ...] = ()


class RegisterWorker(Request[Empty], subject="scheduler.register_worker", operation="worker.tasks"):
    """Announce a worker; repeated as its heartbeat, forgotten after three missed ones."""

    bucket: str = "*"
    worker: str
    labels: tuple[str, ...] = Field(min_length=1, max_length=64)
    slots: int = Field(ge=1, le=1024)
    running: int = 0
    idle: int = Field(default=0, ge=0, le=1024)
    """How many tasks may be handed to the worker by DispatchTask now."""


class ForgetWorker(Request[Empty], subject="scheduler.forget_worker", operation="worker.tasks"):
    """Take a worker off the list (its drain is done)."""

    bucket: str = "*"
    worker: str


class ListWorkers(Request[WorkerList], subject="scheduler.list_workers", operation="mesh.internal"):
    """List live workers and the labels on offer."""

    bucket: str = "*"
