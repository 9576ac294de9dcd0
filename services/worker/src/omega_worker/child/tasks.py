"""Running tasks in a child: through the same SDK that a user has, with the task's own token."""

from __future__ import annotations

import os
from typing import Any

from omega_worker.child.failures import failure_of
from omega_worker.child.plain import json_payload
from omega_worker.messages import RunTask, TaskEnded
from omegakinds.wire import encode_value
from omegamesh.client import Omega
from omegamesh.config import Config
from omegamesh.http import MeshClient
from omegamesh.runtime.execute import execute
from omegaproto.messages import Message
from omegaproto.tasks import FORMAT, Payload


class TaskRunner:
    """Runs one task after the other over connections that it keeps."""

    def __init__(self, gateway_url: str) -> None:
        # Opened ahead: making an HTTP client costs more than a small task.
        self._client = MeshClient(Config(url=gateway_url, token="none-yet"))  # noqa: S106 - replaced by each task's own
        self._meshes: dict[str, Omega] = {}

    def use_token(self, token: str) -> None:
        """Speak with a new token from now on: here, and in clients that user code makes."""
        self._client.use_token(token)
        os.environ["OMEGA_TOKEN"] = token

    def run(self, message: Message) -> Message:
        """Run a task and give how it ended; whatever user code raises is an ending too."""
        assert isinstance(message, RunTask)  # noqa: S101 - narrows the type; supervisors send nothing else here
        try:
            return TaskEnded(result=self._result(message))
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            info, retryable = failure_of(error)
            return TaskEnded(error=info, retryable=retryable)

    def _result(self, task: RunTask) -> Payload:
        self._tell_user_code(task)
        self.use_token(task.access_token)
        om = self._mesh(task.spec.bucket)
        value: Any = execute(om, task.spec, task_id=task.task_id)
        if value is None:
            return Payload()
        if task.spec.params.get(FORMAT) == "json":
            return json_payload(value)
        return encode_value(value, om.blobs, om.kinds)

    def _mesh(self, bucket: str) -> Omega:
        """Give the API of a bucket; kept, because finding the installed kinds takes longer than a small task."""
        if bucket not in self._meshes:
            client = self._client.in_bucket(bucket)
            self._meshes = {bucket: Omega(client.config, client)}
        return self._meshes[bucket]

    def _tell_user_code(self, task: RunTask) -> None:
        """Set what user code sees of its task, and what ``import omegamesh as om`` in it connects with."""
        os.environ["OMEGA_TASK_ID"] = task.task_id
        os.environ["OMEGA_TASK_ATTEMPT"] = str(task.attempt)
        os.environ["OMEGA_URL"] = str(self._client.config.url)
        os.environ["OMEGA_BUCKET"] = task.spec.bucket
