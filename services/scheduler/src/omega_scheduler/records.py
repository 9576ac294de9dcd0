"""Task documents and what they stand for: how a task is written, read back, and shown. Pure: no store, no bus.

A spec, a result and an error are kept as JSON text: they may hold any key and any number, and a hot path then parses
only what it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from omegakit.docs import Cond, Doc, Update
from omegaproto.errors import BadRequest, ErrorInfo, TooLarge
from omegaproto.scopes import Role
from omegaproto.states import Change, Policy, TaskRecord, Then, submitted
from omegaproto.tasks import Completion, Payload, Task, TaskSpec, TaskState

MAX_SPEC_BYTES = 160 * 1024
"""The largest spec, in bytes of JSON: it travels to the worker in one message with its lease."""

MAX_RESULT_BYTES = 160 * 1024
MAX_ERROR_BYTES = 32 * 1024
REPLY_BYTES = 200 * 1024
"""How much one reply carries, in bytes of JSON; what surrounds it stays under the 256 KiB of a message."""

_SHOWN_SPEC_BYTES = 32 * 1024
_TASK_BYTES = 512  # what a task takes beside its spec, result and error
_LEASE_BYTES = 768  # what a claim takes beside its task: the lease, and a signed token

RECORD_FIELDS = (
    "state",
    "due_at",
    "wake_at",
    "max_attempts",
    "attempt",
    "lost",
    "rings",
    "cancel_requested",
    "token",
    "done_token",
)
SWEPT_FIELDS = (*RECORD_FIELDS, "bucket", "label")


def json_text(model: BaseModel) -> str:
    """Give the JSON of a model."""
    text: str = model.__pydantic_serializer__.to_json(model).decode()
    return text


def new_document(
    task_id: str, spec: TaskSpec, userid: str, role: Role, now: datetime, policy: Policy
) -> tuple[Doc, Then]:
    """Give the document of a new task, and what to do once it is stored.

    Raises:
        TooLarge: the spec does not fit into a message.
        BadRequest: `not_before` is out of range.
    """
    text = json_text(spec)
    if (size := _size(text)) > MAX_SPEC_BYTES:
        raise TooLarge(
            f"The task's inputs and parameters take {size} bytes, a task at most {MAX_SPEC_BYTES}.",
            action="Store the data as a dataset and name it instead.",
            limit=MAX_SPEC_BYTES,
        )
    fields, then = submitted(_utc(spec.not_before), now, policy)
    doc = stored(fields) | {
        "_id": task_id,
        "bucket": spec.bucket,
        "idempotency_key": spec.idempotency_key,
        "label": spec.label,
        "userid": userid,
        "role": role.value,
        "max_attempts": spec.max_attempts,
        "spec": text,
        "result": None,
        "error": None,
        "holds_blobs": any(isinstance(value, Payload) and value.blobs for value in spec.inputs.values()) or None,
    }
    return doc, then


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise BadRequest(f"not_before is out of range: {moment}.", action="Give a moment in UTC.") from error


def stored(fields: dict[str, Any]) -> Doc:
    """Give fields as the store holds them: models as JSON text, states as names; a result with blobs is marked."""
    kept = {name: _stored_value(value) for name, value in fields.items()}
    result = fields.get("result")
    return kept | {"holds_blobs": True} if isinstance(result, Payload) and result.blobs else kept


_STORED: dict[type, Callable[[Any], str]] = {
    Payload: json_text,
    ErrorInfo: json_text,
    TaskState: str,
}


def _stored_value(value: Any) -> Any:
    convert = _STORED.get(type(value))
    return value if convert is None else convert(value)


def claimed_document(doc: Doc, claim: Change) -> Doc:
    """Give the document of a task that is stored together with its claim."""
    return doc | stored(claim.set) | {name: doc[name] + by for name, by in claim.inc.items()}


def update_for(task_id: str, change: Change) -> Update:
    """Give the guarded update that carries out a change."""
    expect = tuple(Cond(guard.field, guard.op, _stored_value(guard.value)) for guard in change.guard)
    return Update(task_id, expect, set=stored(change.set), inc=change.inc)


def record_of(doc: Doc) -> TaskRecord:
    """Give the part of a document that its life depends on."""
    fields: dict[str, Any] = {name: doc.get(name) for name in RECORD_FIELDS}
    fields["state"] = TaskState(doc["state"])
    return TaskRecord(**fields)


def fitting(docs: list[Doc], size_of: Callable[[Doc], int]) -> int:
    """Give how many of the first tasks fit into one reply; one always does."""
    room = REPLY_BYTES
    for count, doc in enumerate(docs):
        room -= size_of(doc)
        if room < 0:
            return max(count, 1)
    return len(docs)


def task_of(doc: Doc, *, whole: bool = False, result: bool = True) -> Task:
    """Give the task as everybody may see it; `whole` keeps large inputs, without `result` that is left out."""
    spec = TaskSpec.model_validate_json(doc["spec"])
    if not whole and _size(doc["spec"]) > _SHOWN_SPEC_BYTES:
        spec = spec.model_copy(update={"inputs": {}, "params": {}})
    return Task(
        id=doc["_id"],
        spec=spec,
        userid=doc["userid"],
        state=TaskState(doc["state"]),
        attempt=doc["attempt"],
        lost=doc["lost"],
        cancel_requested=doc["cancel_requested"],
        worker=doc.get("worker"),
        created=doc["created"],
        modified=doc["modified"],
        result=Payload.model_validate_json(doc["result"]) if result and doc.get("result") else None,
        error=ErrorInfo.model_validate_json(doc["error"]) if doc.get("error") else None,
    )


def same_request(doc: Doc, spec: TaskSpec) -> bool:
    """Say whether the task of a document was submitted with this spec; inputs sent again are told by their sha256."""
    return _without_blob_ids(TaskSpec.model_validate_json(doc["spec"])) == _without_blob_ids(spec)


def _without_blob_ids(spec: TaskSpec) -> TaskSpec:
    inputs = {
        name: value.model_copy(update={"blobs": tuple(blob.model_copy(update={"id": ""}) for blob in value.blobs)})
        if isinstance(value, Payload)
        else value
        for name, value in spec.inputs.items()
    }
    return spec.model_copy(update={"inputs": inputs})


def blob_ids(doc: Doc) -> list[str]:
    """Give the ids of the blobs that the inputs and the result of a task refer to."""
    payloads = [
        value for value in TaskSpec.model_validate_json(doc["spec"]).inputs.values() if isinstance(value, Payload)
    ]
    if doc.get("result"):
        payloads.append(Payload.model_validate_json(doc["result"]))
    return [blob.id for payload in payloads for blob in payload.blobs]


def claim_bytes(doc: Doc) -> int:
    """Give how much a claim of this task takes in a reply, in bytes at most."""
    return _size(doc["spec"]) + _size(doc.get("error") or "") + _TASK_BYTES + _LEASE_BYTES


def shown_bytes(doc: Doc) -> int:
    """Give how much this task takes in a reply, in bytes at most."""
    others = _size(doc.get("result") or "") + _size(doc.get("error") or "")
    return min(_size(doc["spec"]), _SHOWN_SPEC_BYTES) + others + _TASK_BYTES


def bounded(completion: Completion) -> Completion:
    """Give the completion, its result or error cut to what a task may hold."""
    if completion.result is not None and (size := _size(json_text(completion.result))) > MAX_RESULT_BYTES:
        error = TooLarge(
            f"The result takes {size} bytes, a task's result at most {MAX_RESULT_BYTES}.",
            action="Store it as a dataset and give its name back.",
            limit=MAX_RESULT_BYTES,
        ).info()
        return Completion(task_id=completion.task_id, token=completion.token, outcome="failed", error=error)
    if completion.error is not None and _size(json_text(completion.error)) > MAX_ERROR_BYTES:
        cut = {"message": completion.error.message[:4000], "action": completion.error.action[:1000], "details": {}}
        return completion.model_copy(update={"error": completion.error.model_copy(update=cut)})
    return completion


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
