"""The shortcut of tasks: submitting them, and waiting for one, by known callers.

It stands for two routes in ``routes/tasks.py``, with their request models and the functions that they call.
"""

from __future__ import annotations

import re

import structlog
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.types import Receive, Scope

from omega_gateway.access import Caller
from omega_gateway.auth import bucket_of
from omega_gateway.errors import body_too_large
from omega_gateway.parts import Parts
from omega_gateway.routes.tasks import NewTasks
from omega_gateway.shortcut import Answer, Elsewhere, Reply, again, is_json, known_caller, whole_body
from omega_gateway.tasking import submit_tasks, wait_for
from omegaproto.errors import BadRequest
from omegaproto.messages import Message
from omegaproto.scopes import allows
from omegaproto.tasks import TERMINAL

_SUBMIT = "/api/v1/tasks"
_RESULT = re.compile(r"/api/v1/task/([0-9A-Za-z_-]{1,128})/result")
_WAIT = re.compile(rb"wait=([0-9]{1,3}(?:\.[0-9]{1,6})?)")


class FastTasks:
    """Answers submits, and requests for the result of one task."""

    route = "fast task"

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._limit = parts.options.json_body_bytes

    def match(self, scope: Scope) -> Answer | None:
        """Give what answers a submit or a wait when the caller is known, and may."""
        if scope["method"] == "POST" and scope["path"] == _SUBMIT and not scope["query_string"]:
            caller = self._caller(scope, "task.submit") if is_json(scope) else None
            return None if caller is None else self._submit(caller)
        if scope["method"] == "GET" and (path := _RESULT.fullmatch(scope["path"])):
            query = _WAIT.fullmatch(scope["query_string"])
            caller = self._caller(scope, "task.read") if query else None
            return None if caller is None or query is None else self._result(caller, path[1], float(query[1]))
        return None

    def _caller(self, scope: Scope, operation: str) -> Caller | None:
        known = known_caller(scope, self._parts.keys)
        if known is None or not allows(known[0].role_in(known[1]), operation):
            return None
        try:
            return Caller(known[0], bucket_of(known[1]), self._parts)
        except BadRequest:
            return None

    def _submit(self, caller: Caller) -> Answer:
        async def submit(receive: Receive, request_id: str) -> Reply:
            body = await whole_body(receive, self._limit, body_too_large)
            try:
                new = NewTasks.model_validate(from_json(body, allow_inf_nan=False))
            except (ValueError, ValidationError):
                raise Elsewhere(again(body, receive)) from None
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                return _json(200, await submit_tasks(caller, [spec.spec(caller.bucket) for spec in new.specs]))

        return submit

    @staticmethod
    def _result(caller: Caller, task_id: str, seconds: float) -> Answer:
        async def result(_receive: Receive, request_id: str) -> Reply:
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                (task,) = await wait_for(caller, [task_id], seconds)
            return _json(200 if task.state in TERMINAL else 202, task)

        return result


def _json(status: int, message: Message) -> Reply:
    return Reply(status, message.__pydantic_serializer__.to_json(message))
