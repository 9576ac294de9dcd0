"""Submitting tasks and reading their results over HTTP."""

from __future__ import annotations

from typing import Any

from omegakinds.registry import KindRegistry
from omegakinds.wire import decode_value
from omegamesh.http import MeshClient
from omegamesh.runtime.promise import Promise
from omegamesh.transfer import HttpBlobs
from omegaproto.ids import new_id
from omegaproto.tasks import Payload, Task, TaskList


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
        """Submit up to 1,000 tasks in one go; each gets an idempotency key of its own unless it brings one."""
        keyed = [{"idempotency_key": new_id(), "bucket": self._client.config.bucket} | spec for spec in specs]
        answer = self._client.call("POST", "/api/v1/tasks", body={"specs": keyed})
        return [Promise(self, task) for task in TaskList.model_validate(answer).items]

    def fetch(self, task_id: str, *, wait: float) -> Task:
        """Give a task: once it has ended, or as it is after `wait` seconds. Raises TaskNotFound."""
        path = f"/api/v1/task/{task_id}/result"
        return Task.model_validate(self._client.call("GET", path, params={"wait": wait}, timeout=wait))

    def wait_any(self, task_ids: list[str], *, wait: float) -> list[Task]:
        """Give those of the tasks that have ended, as soon as one has or after `wait` seconds."""
        body = {"task_ids": task_ids, "wait": wait}
        return list(TaskList.model_validate(self._client.call("POST", "/api/v1/tasks/wait", body=body)).items)

    def cancel(self, task_id: str) -> Task:
        """Cancel a task. Raises TaskNotFound."""
        return Task.model_validate(self._client.call("DELETE", f"/api/v1/task/{task_id}"))

    def decode(self, result: Payload | None) -> Any:
        """Give the value of a result."""
        if result is None:
            return None
        return decode_value(result, HttpBlobs(self._client), self._kinds, trusted=True)
