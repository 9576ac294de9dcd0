"""Model verbs: predictions answered at once by a worker, and everything else as a task that the answer waits for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import structlog
from fastapi import Depends, Header, Path, Query, Request, Response
from pydantic import JsonValue
from pydantic_core import from_json, to_json

from omega_gateway.access import Caller, Fits, Predicts, ReadsObjects, reply, scoped_router
from omega_gateway.predict import INLINE_ACTIONS, envelope, label_of, read_body, verb_uri
from omega_gateway.tasking import MODEL, get_tasks, operation_of, submit_tasks
from omegaproto.errors import (
    BadBody,
    BadRequest,
    CallTimeout,
    TaskCancelled,
    TaskDead,
    TaskFailed,
    Unprocessable,
    error_from,
)
from omegaproto.ids import new_id
from omegaproto.messages import Message
from omegaproto.tasks import FORMAT, TERMINAL, Payload, Task, TaskSpec, TaskState

router = scoped_router("models")

Name = Annotated[str, Path(description="The model's name; it may hold slashes, and end in @tag or ^.")]
Action = Annotated[
    str,
    Path(json_schema_extra={"enum": ["predict", "predict_proba", "transform", "decision_function", "score"]}),
]
_DATA = {
    "type": "object",
    "properties": {
        "columns": {"type": "array", "items": {"type": "string"}},
        "data": {"description": "Rows, or values by column."},
        "shape": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["data"],
}
_BODY = {"requestBody": {"content": {"application/json": {"schema": _DATA}}}}


class ModelInfo(Message):
    """A model in short."""

    name: str
    kind: str
    created: datetime
    modified: datetime
    bucket: str


class ModelAnswer(Message):
    """What a model verb gives."""

    model: str
    result: JsonValue
    resource_uri: str


class ModelDescription(Message):
    """What is known about a model."""

    model: str
    result: ModelInfo
    resource_uri: str


class PendingAnswer(Message):
    """A verb that goes on as a task; its result will be at `resource_uri`."""

    model: str
    result: str = "pending"
    resource_uri: str
    task_id: str


@dataclass(frozen=True, slots=True)
class VerbOptions:
    """The query of a verb."""

    datax: str | None
    datay: str | None
    label: str | None
    later: bool
    key: str | None


def verb_options(
    datax: Annotated[str | None, Query(max_length=4096, description="Dataset that holds X.")] = None,
    datay: Annotated[str | None, Query(max_length=4096, description="Dataset that holds Y.")] = None,
    require: Annotated[str | None, Query(min_length=1, max_length=63, description="Label of the workers.")] = None,
    later: Annotated[
        bool, Query(alias="async", description="Answer 202 at once, with where the result will be.")
    ] = False,
    async_header: Annotated[str | None, Header(alias="async", description="`true` does as `?async=1`.")] = None,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=128)] = None,
) -> VerbOptions:
    """Read the query of a verb."""
    as_header = (async_header or "").lower() in {"1", "true", "yes"}
    return VerbOptions(datax, datay, require, later or as_header, idempotency_key)


Options = Annotated[VerbOptions, Depends(verb_options)]
_PENDING: dict[int | str, dict[str, Any]] = {
    202: {"model": PendingAnswer, "description": "The verb goes on as a task."}
}


@router.get("/model/{name:path}/", response_model=ModelDescription)
async def describe(caller: ReadsObjects, name: Name) -> Response:
    """Describe a model."""
    found = await caller.parts.predictor.metadata(caller.bucket, name, caller.token)
    info = ModelInfo.model_validate(found.model_dump(include=set(ModelInfo.model_fields) - {"v"}))
    return reply(ModelDescription(model=name, result=info, resource_uri=f"{verb_uri(name, '')}"))


@router.post("/model/{name:path}/fit", response_model=ModelAnswer, responses=_PENDING)
@router.put("/model/{name:path}/fit", response_model=ModelAnswer, responses=_PENDING)
async def fit(caller: Fits, name: Name, options: Options) -> Response:
    """Fit a model on datasets and store it as a new revision."""
    return await _as_task(caller, name, "fit", options, None)


@router.post("/model/{name:path}/partial_fit", response_model=ModelAnswer, responses=_PENDING)
@router.put("/model/{name:path}/partial_fit", response_model=ModelAnswer, responses=_PENDING)
async def partial_fit(caller: Fits, name: Name, options: Options) -> Response:
    """Fit a model further on datasets and store it as a new revision."""
    return await _as_task(caller, name, "partial_fit", options, None)


@router.post("/model/{name:path}/{action}", response_model=ModelAnswer, responses=_PENDING, openapi_extra=_BODY)
@router.put("/model/{name:path}/{action}", response_model=ModelAnswer, responses=_PENDING, openapi_extra=_BODY)
@router.get("/model/{name:path}/{action}", response_model=ModelAnswer, responses=_PENDING)
async def run_verb(caller: Predicts, name: Name, action: Action, options: Options, request: Request) -> Response:
    """Run a verb on the data in the body (up to about 200 KiB), or on datasets (`datax`, `datay`) of any size."""
    caller.authorize(operation_of(MODEL + action))
    if options.datax is not None or options.datay is not None or action not in INLINE_ACTIONS:
        return await _as_task(caller, name, action, options, None)
    raw = await request.body()
    if options.later:
        body, _ = read_body(raw, caller.parts.options.predict_body_bytes)
        return await _as_task(caller, name, action, options, _parsed(body))
    return await _predict(caller, name, action, raw)


async def _predict(caller: Caller, name: str, action: str, raw: bytes) -> Response:
    body, size = read_body(raw, caller.parts.options.predict_body_bytes)
    predictor = caller.parts.predictor
    target = await predictor.target(caller.bucket, name, action, caller.token)
    request_id = structlog.contextvars.get_contextvars().get("request_id", "")
    result = await target.batcher.submit(predictor.item(body, size, caller.principal, request_id))
    return Response(target.head + result + target.tail, media_type="application/json")


def _parsed(body: str) -> JsonValue:
    try:
        parsed: JsonValue = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise BadBody(f"The body is not JSON: {error}.", action="Send JSON text in UTF-8.") from None
    return parsed


async def _as_task(caller: Caller, name: str, action: str, options: VerbOptions, data: JsonValue) -> Response:
    spec = await _spec(caller, name, action, options, data)
    (task,) = (await submit_tasks(caller, [spec])).items
    uri = f"/api/v1/task/{task.id}/result"
    if options.later:
        answer = reply(PendingAnswer(model=name, resource_uri=uri, task_id=task.id), 202)
        answer.headers["Location"] = uri
        return answer
    ended = await _ended(caller, task)
    head, tail = envelope(name, verb_uri(name, action))
    return Response(head.encode() + to_json(result_of(ended)) + tail.encode(), media_type="application/json")


async def _spec(caller: Caller, name: str, action: str, options: VerbOptions, data: JsonValue) -> TaskSpec:
    metadata = await caller.parts.predictor.metadata(caller.bucket, name, caller.token)
    given: dict[str, str | Payload | None] = {"X": options.datax, "Y": options.datay}
    if data is not None:
        given["X"] = Payload(value=data)
    if given["X"] is None:
        raise BadRequest(
            f"{action} needs data.", action="Name a dataset: ?datax=<dataset>, and ?datay= for its target."
        )
    return TaskSpec(
        bucket=caller.bucket,
        action=MODEL + action,
        target=name,
        inputs={key: value for key, value in given.items() if value is not None},
        params={FORMAT: "json"},
        label=options.label or label_of(metadata),
        idempotency_key=options.key or new_id(),
    )


async def _ended(caller: Caller, task: Task) -> Task:
    seconds = caller.parts.options.sync_seconds
    if task.state not in TERMINAL:
        (task,) = await caller.parts.waiters.wait(
            [task.id], caller.bucket, seconds, lambda: get_tasks(caller, [task.id])
        )
    if task.state in TERMINAL:
        return task
    raise CallTimeout(
        f"Task {task.id} has not ended within {seconds:g} s; it goes on.",
        action=f"Ask for GET /api/v1/task/{task.id}/result?wait=60, or send `async: true`.",
        task_id=task.id,
    )


def result_of(task: Task) -> JsonValue:
    """Give the value of a task that has ended.

    Raises:
        TaskFailed: its code raised; an error of the mesh's own comes as its type. TaskCancelled, TaskDead.
        Unprocessable: the result is not JSON.
    """
    if task.state is TaskState.cancelled:
        raise TaskCancelled(f"Task {task.id} was cancelled.", action="Submit it again.")
    if task.state is not TaskState.succeeded:
        if task.error is not None:
            raise error_from(task.error)
        kind = TaskDead if task.state is TaskState.dead else TaskFailed
        raise kind(f"Task {task.id} ended as {task.state}.", action="See the worker's log.")
    if task.result is not None and (task.result.kind != "json" or task.result.blobs):
        raise Unprocessable(
            f"The result of task {task.id} is {task.result.kind}, which is not JSON or too large for it.",
            action="Read it with the SDK: om.runtime.result(task_id).",
            task_id=task.id,
        )
    return task.result.value if task.result is not None else None
