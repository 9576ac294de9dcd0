"""What a submitted call gives back: a promise of its result."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from omegamesh.progress import waiting
from omegaproto.errors import CallTimeout, TaskCancelled, TaskDead, TaskFailed, error_from
from omegaproto.tasks import TERMINAL, Task, TaskState

if TYPE_CHECKING:
    from omegamesh.runtime.tasks import TaskApi

LONGEST_WAIT = 30.0
_STATUS = {
    TaskState.queued: "PENDING",
    TaskState.running: "STARTED",
    TaskState.succeeded: "SUCCESS",
    TaskState.failed: "FAILURE",
    TaskState.dead: "FAILURE",
    TaskState.cancelled: "REVOKED",
}


class Promise:
    """A task that was submitted. It can be asked for from any process that knows its id."""

    def __init__(self, api: TaskApi, task: Task) -> None:
        self._api = api
        self._task = task

    def __repr__(self) -> str:
        return f"<Promise {self.id} {self._task.spec.action} {self._task.spec.target} {_STATUS[self._task.state]}>"

    @property
    def id(self) -> str:
        """Give the task's id."""
        return self._task.id

    task_id = id

    @property
    def task(self) -> Task:
        """Give the task as it is now."""
        if self._task.state not in TERMINAL:
            self._task = self._api.fetch(self.id, wait=0)
        return self._task

    @property
    def status(self) -> str:
        """Give PENDING, STARTED, SUCCESS, FAILURE or REVOKED, as of now."""
        return _STATUS[self.task.state]

    def ready(self) -> bool:
        """Say whether the task has ended, one way or another."""
        return self.task.state in TERMINAL

    def wait(self, timeout: float | None = None) -> Task:
        """Return when the task has ended.

        Raises:
            CallTimeout: it did not within `timeout` seconds; it goes on and can be waited for again.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with waiting(f"{self._task.spec.action} {self._task.spec.target}"):
            while self._task.state not in TERMINAL:
                left = LONGEST_WAIT if deadline is None else min(LONGEST_WAIT, deadline - time.monotonic())
                if left <= 0:
                    raise CallTimeout(
                        f"Task {self.id} is {self._task.state} after {timeout} s.",
                        action="It goes on: call .get() again, or om.runtime.result(task_id) from anywhere.",
                    )
                self._task = self._api.fetch(self.id, wait=left)
        return self._task

    def get(self, timeout: float | None = None) -> Any:
        """Give the result.

        Raises:
            CallTimeout: the task did not end within `timeout` seconds; it goes on.
            TaskFailed: its code raised; an error of the mesh's own (NotFitted, ObjectNotFound…) comes as its type.
            TaskCancelled: it was cancelled.
        """
        task = self.wait(timeout)
        if task.state is TaskState.succeeded:
            return self._api.decode(task.result)
        if task.state is TaskState.cancelled:
            raise TaskCancelled(f"Task {task.id} was cancelled.", action="Submit it again.")
        if task.error is not None:
            raise error_from(task.error)
        kind = TaskDead if task.state is TaskState.dead else TaskFailed
        raise kind(f"Task {task.id} ended as {task.state}.", action="See the worker's log.")

    def settle(self, task: Task) -> None:
        """Take note of how the task ended, as somebody else found out."""
        self._task = task

    def cancel(self) -> None:
        """Cancel the task: at once when it waits, soon when it runs; nothing happens when it has ended."""
        self._task = self._api.cancel(self.id)
