"""Tasks: submit, look at, wait for and cancel them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query, Response
from pydantic import Field, JsonValue

from omega_gateway.access import CancelsTasks, ReadsTasks, SubmitsTasks, identifier, reply, scoped_router
from omega_gateway.routes.params import After, Limit
from omega_gateway.tasking import get_tasks, submit_tasks, wait_for
from omegaproto.errors import BadRequest
from omegaproto.ids import new_id
from omegaproto.messages import Message
from omegaproto.names import MAX_NAME_LENGTH
from omegaproto.tasks import (
    DEFAULT_LABEL,
    TERMINAL,
    CancelTask,
    ListTasks,
    Payload,
    Task,
    TaskList,
    TaskSpec,
    TaskState,
)

router = scoped_router("tasks")
STATUS = {
    TaskState.queued: "PENDING",
    TaskState.running: "STARTED",
    TaskState.succeeded: "SUCCESS",
    TaskState.failed: "FAILURE",
    TaskState.dead: "FAILURE",
    TaskState.cancelled: "REVOKED",
}
Wait = Annotated[float, Query(ge=0, le=3600, allow_inf_nan=False, description="Seconds to wait at most.")]


class NewTask(Message):
    """What is asked to be run; the bucket is that of the request."""

    action: str = Field(min_length=1, max_length=128)
    """``noop``, or ``model.<verb>``."""
    bucket: str | None = None
    """The request's bucket when given at all."""
    target: str = Field(default="", max_length=4 * MAX_NAME_LENGTH)
    inputs: dict[str, str | Payload] = Field(default_factory=dict, max_length=16)
    params: dict[str, JsonValue] = Field(default_factory=dict, max_length=1000)
    label: str = Field(default=DEFAULT_LABEL, min_length=1, max_length=63)
    idempotency_key: str = Field(default_factory=new_id, min_length=1, max_length=128)
    max_attempts: int = Field(default=3, ge=1, le=100)
    timeout_seconds: float = Field(default=1200.0, gt=0, le=7 * 24 * 3600)
    not_before: datetime | None = None

    def spec(self, bucket: str) -> TaskSpec:
        """Give the task in `bucket`. Raises BadRequest when it names another."""
        if self.bucket not in {None, "default", bucket}:
            raise BadRequest(
                f"The task names bucket {self.bucket!r}, the request bucket {bucket!r}.",
                action="Choose the bucket by the Bucket header alone.",
            )
        fields = {name: getattr(self, name) for name in type(self).model_fields if name not in {"v", "bucket"}}
        return TaskSpec(bucket=bucket, **fields)


class NewTasks(Message):
    """Tasks to submit in one go."""

    specs: tuple[NewTask, ...] = Field(min_length=1, max_length=1000)


class TaskWait(Message):
    """Which tasks to wait for, and how long in seconds."""

    task_ids: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = Field(min_length=1, max_length=1000)
    wait: float = Field(default=0.0, ge=0, le=3600, allow_inf_nan=False)
    until: Literal["any", "all"] = "any"


class TaskStatus(Message):
    """A task's status in the words that older clients know, and the task itself."""

    task_id: str
    status: str
    task: Task
    response: JsonValue = None


@router.post("/tasks", response_model=TaskList)
async def submit(caller: SubmitsTasks, body: NewTasks) -> Response:
    """Submit tasks. Answers when they are durable; each runs on a worker that offers its label."""
    return reply(await submit_tasks(caller, [spec.spec(caller.bucket) for spec in body.specs]))


@router.get("/tasks", response_model=TaskList)
async def list_tasks(
    caller: ReadsTasks, state: TaskState | None = None, limit: Limit = 100, after: After = None
) -> Response:
    """List the tasks of the bucket, newest first, without their results."""
    return reply(await caller.call(ListTasks(bucket=caller.bucket, state=state, limit=limit, after=after)))


@router.post("/tasks/wait", response_model=TaskList)
async def wait_any(caller: ReadsTasks, body: TaskWait) -> Response:
    """Wait until any (or all) of the tasks have ended, or the time is over; gives those that have ended by then."""
    tasks = await wait_for(caller, body.task_ids, body.wait, any if body.until == "any" else all)
    return reply(TaskList(items=tuple(task for task in tasks if task.state in TERMINAL)))


@router.get("/task/{task_id}/status", response_model=TaskStatus)
async def status(caller: ReadsTasks, task_id: str) -> Response:
    """Say where a task is in its life."""
    (task,) = await get_tasks(caller, [identifier(task_id)])
    return reply(TaskStatus(task_id=task.id, status=STATUS[task.state], task=task))


_PENDING: dict[int | str, dict[str, Any]] = {202: {"model": Task, "description": "The task has not ended yet."}}


@router.get("/task/{task_id}/result", response_model=Task, responses=_PENDING)
async def result(caller: ReadsTasks, task_id: str, wait: Wait = 0.0) -> Response:
    """Give a task: 200 once it has ended, 202 while it has not. `wait` holds the answer back until it ends."""
    (task,) = await wait_for(caller, [identifier(task_id)], wait)
    return reply(task, 200 if task.state in TERMINAL else 202)


@router.delete("/task/{task_id}", response_model=Task)
async def cancel(caller: CancelsTasks, task_id: str) -> Response:
    """Cancel a task: at once when it waits, soon when it runs. Nothing happens when it has ended."""
    return reply(await caller.call(CancelTask(bucket=caller.bucket, task_id=identifier(task_id))))
