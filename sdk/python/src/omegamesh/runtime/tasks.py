"""Submitting tasks and reading their results over HTTP."""

from __future__ import annotations

import time
from typing import Any

from omegakinds.registry import KindRegistry
from omegakinds.wire import decode_value
from omegamesh.http import MeshClient
from omegamesh.progress import waiting
from omegamesh.runtime.promise import LONGEST_WAIT, Promise
from omegamesh.transfer import HttpBlobs
from omegaproto.errors import CallTimeout
from omegaproto.ids import new_id
from omegaproto.tasks import Payload, Task, TaskList

_AT_ONCE = 200
"""Tasks in one request: what fits into one message between the services with room to spare."""


class TaskApi:
    """Tasks of one bucket."""

    def __init__(self, client: MeshClient, kinds: KindRegistry) -> None:
        self._client = client
        self._kinds = kinds

    def submit(self, **spec: Any) -> Promise:
        """Submit one task; the fields are those of TaskSpec. Returns when the task is durable.

        Raises UnknownLabel, Forbidden, ObjectNotFound and what else the mesh answers.
        """
        return self.submit_many([spec])[0]

    def submit_many(self, specs: list[dict[str, Any]]) -> list[Promise]:
        """Submit tasks, many in one request; each gets an idempotency key of its own unless it brings one."""
        keyed = [{"idempotency_key": new_id(), "bucket": self._client.config.bucket} | spec for spec in specs]
        promises: list[Promise] = []
        for start in range(0, len(keyed), _AT_ONCE):
            answer = self._client.call("POST", "/api/v1/tasks", body={"specs": keyed[start : start + _AT_ONCE]})
            promises += [Promise(self, task) for task in TaskList.model_validate(answer).items]
        return promises

    def fetch(self, task_id: str, *, wait: float) -> Task:
        """Give a task: once it has ended, or as it is after `wait` seconds. Raises TaskNotFound."""
        path = f"/api/v1/task/{task_id}/result"
        return Task.model_validate(self._client.call("GET", path, params={"wait": wait}, timeout=wait))

    def fetch_ended(self, task_ids: list[str], *, wait: float, until: str = "any") -> list[Task]:
        """Give those of the tasks that have ended, once any (or all) have or after `wait` seconds."""
        body = {"task_ids": task_ids, "wait": wait, "until": until}
        return list(TaskList.model_validate(self._client.call("POST", "/api/v1/tasks/wait", body=body)).items)

    def gather(self, promises: list[Promise], timeout: float | None) -> list[Any]:
        """Give the results of many promises; see Runtime.gather."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with waiting(f"{len(promises)} tasks"):
            for start in range(0, len(promises), _AT_ONCE):
                self._settle({promise.id: promise for promise in promises[start : start + _AT_ONCE]}, deadline)
        return [promise.get() for promise in promises]

    def _settle(self, pending: dict[str, Promise], deadline: float | None) -> None:
        while pending:
            left = LONGEST_WAIT if deadline is None else min(LONGEST_WAIT, deadline - time.monotonic())
            if left <= 0:
                raise CallTimeout(
                    f"{len(pending)} tasks have not ended.", action="They go on: gather again, or get one."
                )
            for task in self.fetch_ended(list(pending), wait=left, until="all"):
                pending.pop(task.id).settle(task)

    def cancel(self, task_id: str) -> Task:
        """Cancel a task. Raises TaskNotFound."""
        return Task.model_validate(self._client.call("DELETE", f"/api/v1/task/{task_id}"))

    def decode(self, result: Payload | None) -> Any:
        """Give the value of a result."""
        if result is None:
            return None
        return decode_value(result, HttpBlobs(self._client), self._kinds, trusted=True)
