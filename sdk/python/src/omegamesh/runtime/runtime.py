"""``om.runtime``: where calls go, and what can be called."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from omegamesh.runtime.model import ModelProxy
from omegamesh.runtime.promise import Promise
from omegamesh.runtime.tasks import TaskApi
from omegaproto.tasks import DEFAULT_LABEL, WorkerList

if TYPE_CHECKING:
    from omegamesh.client import Omega

LOCAL = "local"


class Runtime:
    """Runs models and tasks of one bucket."""

    def __init__(self, om: Omega) -> None:
        self._om = om
        self._api = TaskApi(om.client, om.kinds)
        self._always: str | None = None
        self._local = False
        self._next = threading.local()

    def require(self, label: str | None = None, always: bool = False) -> Runtime:
        """Send the next call (every call when `always`) to workers that offer `label`; None undoes it.

        The label ``local`` runs calls in this process. A label that no worker offers is refused at the call.
        """
        if always or label is None:
            self._always = label
        self._next.label = label
        return self

    def mode(self, local: bool | None = None) -> Runtime:
        """Run every call in this process (`local` True), or on workers (False)."""
        if local is not None:
            self._local = local
        return self

    @property
    def is_local(self) -> bool:
        """Say whether calls run in this process."""
        return self._local

    def model(self, name: str, require: str | None = None) -> ModelProxy:
        """Give the verbs of a stored model; a missing model is reported by the call."""
        label = self._label(require)
        return ModelProxy(self._om, self._api, name, label=label, local=self._local or label == LOCAL)

    def task(self, action: str, require: str | None = None, **spec: Any) -> Promise:
        """Submit a task by its action (``noop``, ``model.predict``, …); `spec` holds further fields of TaskSpec."""
        return self._api.submit(action=action, label=self._label(require) or DEFAULT_LABEL, **spec)

    def tasks(self, specs: list[dict[str, Any]]) -> list[Promise]:
        """Submit many tasks, hundreds in one request; each spec holds fields of TaskSpec."""
        return self._api.submit_many(specs)

    def gather(self, promises: list[Promise], timeout: float | None = None) -> list[Any]:
        """Give the results of many promises in their order, hundreds in one request.

        Raises what the first task that failed raised; CallTimeout when not all ended within `timeout` seconds.
        """
        return self._api.gather(promises, timeout)

    def result(self, task_id: str, wait: bool = True) -> Any:
        """Give the result of a task that was submitted anywhere; its promise when not `wait`. Raises TaskNotFound."""
        promise = Promise(self._api, self._api.fetch(task_id, wait=0))
        return promise.get() if wait else promise

    def ping(self, require: str | None = None, timeout: float = 10.0) -> dict[str, Any]:
        """Have a worker answer; gives the message, the time it took in seconds, and the worker.

        Raises CallTimeout when none does within `timeout` seconds, UnknownLabel when none offers the label.
        """
        import time

        begin = time.perf_counter()
        task = self.task("noop", require=require).wait(timeout)
        return {"message": "ping return message", "time": time.perf_counter() - begin, "worker": task.worker}

    def workers(self) -> dict[str, Any]:
        """Give the live workers by their ids: labels, slots, running tasks, last seen."""
        answer = WorkerList.model_validate(self._om.client.call("GET", "/api/v1/runtime/workers"))
        return {item.worker: item.model_dump(exclude={"v", "worker"}) for item in answer.items}

    def labels(self) -> list[str]:
        """Give the labels that can be required."""
        return list(WorkerList.model_validate(self._om.client.call("GET", "/api/v1/runtime/workers")).labels)

    def _label(self, require: str | None) -> str | None:
        chosen = require or getattr(self._next, "label", None) or self._always
        self._next.label = None
        return chosen
