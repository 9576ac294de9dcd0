"""Messages: typed requests, and golden JSON that must parse for ever.

`golden/<type>.json` holds one message of each type as a released version wrote it. A new message gets its own file; an
existing file is never changed: a message grows by optional fields only. Run this file as a script to write what is
missing.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from omegaproto import blobs, frames, messages, objects, predictions, scopes, tasks, users
from omegaproto.errors import ErrorInfo
from omegaproto.messages import EVENTS, REQUESTS, Doorbell, Empty, Message, Request

GOLDEN = Path(__file__).parent / "golden"
NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
KEY: dict[str, Any] = {"bucket": "b", "store": "models", "name": "a/m"}
BLOB = objects.BlobRef(id="0" * 32, sha256="1" * 64, length=7)
REVISION = objects.Revision(
    id="2" * 32, number=3, kind="sklearn.joblib", kind_meta={"x": [1, "é"]}, blobs=(BLOB,), tags=("prod",),
    created=NOW, created_by="ann",
)  # fmt: skip
METADATA = objects.Metadata(
    **KEY, kind="sklearn.joblib", attributes={"docs": "text"}, created=NOW, modified=NOW, etag=4, revision=REVISION
)
INFO = frames.FrameInfo(frame_id="3" * 32, columns=("x",), dtypes=("int64",), rows=5, bytes=70, parts=1)
PART = frames.FramePart(blob=BLOB, rows=5, stats={"x": frames.ColumnStats(min=1, max=9, nulls=0)})
PAYLOAD = tasks.Payload(kind="ndarray.bin", data=b"\x00\xff")
SPEC = tasks.TaskSpec(
    bucket="b", action="model.fit", target="m", inputs={"X": "sample[^y]", "Y": PAYLOAD}, params={"p": 1}, label="gpu",
    idempotency_key="k", not_before=NOW,
)  # fmt: skip
ERROR = ErrorInfo(code="not_fitted", status=422, message="Not fitted.", action="Fit it.", details={"model": "m"})
TASK = tasks.Task(
    id="4" * 32, spec=SPEC, userid="ann", state=tasks.TaskState.failed, attempt=1, worker="w", created=NOW,
    modified=NOW, result=PAYLOAD, error=ERROR,
)  # fmt: skip
LEASE = tasks.Lease(task_id=TASK.id, token="t", expires_at=NOW)
COMPLETION = tasks.Completion(task_id=TASK.id, token="t", outcome="failed", result=PAYLOAD, error=ERROR)
WORKER = tasks.WorkerInfo(worker="w", labels=("cpu", "gpu"), slots=2, running=1, seen=NOW)

SAMPLES: list[Message] = [
    Doorbell(task_id=TASK.id, label="cpu"),
    Empty(),
    METADATA,
    INFO,
    frames.FrameManifest(info=INFO, bucket="b", arrow_schema=b"\x01\xfe", parts=(PART,)),
    frames.FrameQuery(where=(("x__gte", 3),), start=1, stop=2),
    TASK,
    scopes.Principal(userid="ann", grants={"b": scopes.Role.writer}, task_id="t", key_id="k"),
    objects.CommitRevision(**KEY, kind="k", blobs=(BLOB,), attributes={"a": 1}, tags=("prod",), idempotency_key="i"),
    objects.GetObject(**KEY, tag="prod", offset=1),
    objects.ListObjects(bucket="b", store=objects.Store.models, pattern="a/*"),
    objects.ObjectPage(items=(METADATA,), next="a/m"),
    objects.ListRevisions(**KEY),
    objects.RevisionPage(items=(REVISION,), next=3),
    objects.UpdateAttributes(**KEY, attributes={"a": None}, etag=3),
    objects.TagRevision(**KEY, tag="prod", revision_id=REVISION.id),
    objects.DropObject(**KEY),
    objects.ListBuckets(),
    objects.BucketList(items=("b",)),
    objects.ListBlobRefs(after="x"),
    objects.BlobRefPage(blob_ids=("0",), frame_ids=("3",), next="x"),
    objects.RevisionCommitted(**KEY, revision_id=REVISION.id),
    objects.ObjectDropped(**KEY),
    users.Authenticate(apikey="omk_0_1", userid="ann"),
    users.CreateUser(userid="ann", grants={"b": scopes.Role.reader}),
    users.KeyIssued(userid="ann", key_id="0", apikey="omk_0_1"),
    users.IssueKey(userid="ann", expires_at=NOW),
    users.RevokeKey(key_id="0"),
    users.SetGrants(userid="ann", grants={"*": scopes.Role.admin}),
    users.AccessChanged(userid="ann", key_id="0"),
    blobs.StatBlobs(bucket="b", blob_ids=(BLOB.id,)),
    blobs.BlobInfos(items=(blobs.BlobInfo(ref=BLOB, bucket="b", created=NOW),)),
    blobs.CreateFrame(bucket="b", parts=(BLOB.id,), base="3" * 32),
    blobs.GetFrame(bucket="b", frame_id="3" * 32),
    blobs.SweepBlobs(grace_seconds=5),
    blobs.Swept(blobs=1, frames=2),
    tasks.SubmitTasks(bucket="b", userid="ann", role=scopes.Role.writer, specs=(SPEC,)),
    tasks.TaskList(items=(TASK,)),
    tasks.GetTasks(bucket="b", task_ids=(TASK.id,)),
    tasks.ListTasks(bucket="b", state=tasks.TaskState.queued),
    tasks.ListTaskBlobRefs(after="x"),
    tasks.CancelTask(bucket="b", task_id=TASK.id),
    tasks.TaskFinished(bucket="b", task_ids=(TASK.id,)),
    tasks.ClaimTasks(worker="w", task_ids=(TASK.id,)),
    tasks.Claims(items=(tasks.ClaimedTask(task=TASK, lease=LEASE, access_token="jwt"),)),
    tasks.DispatchTask(claimed=tasks.ClaimedTask(task=TASK, lease=LEASE, access_token="jwt")),
    tasks.Dispatched(taken=True),
    tasks.RenewLeases(worker="w", leases=(LEASE,)),
    tasks.LeaseStatuses(items=(tasks.LeaseStatus(task_id=TASK.id, lease=LEASE, cancel_requested=True),)),
    tasks.CompleteTasks(worker="w", completions=(COMPLETION,)),
    tasks.CompletionResults(
        items=(tasks.CompletionResult(task_id=TASK.id, recorded=True, state=tasks.TaskState.failed),)
    ),
    tasks.RegisterWorker(worker="w", labels=("cpu",), slots=2),
    tasks.ForgetWorker(worker="w"),
    tasks.ListWorkers(),
    tasks.WorkerList(items=(WORKER,), labels=("cpu",)),
    predictions.PredictBatch(bucket="b", name="m", revision_id="2" * 32, bodies=("{}",), access_token="jwt"),
    predictions.Predictions(items=(predictions.Prediction(result="[1]"), predictions.Prediction(error=ERROR))),
]


OURS = [request for request in REQUESTS.values() if request.__module__.startswith("omegaproto.")]
"""Other tests declare requests of their own."""


def file_of(message: Message) -> Path:
    return GOLDEN / f"{type(message).__name__}.json"


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_golden_json_parses_and_means_the_same(message: Message) -> None:
    kept = file_of(message).read_text(encoding="utf-8")
    parsed = type(message).model_validate_json(kept)
    assert parsed == message
    now, then = json.loads(parsed.model_dump_json()), json.loads(kept)
    assert {key: now[key] for key in then} == then


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_a_field_of_tomorrow_is_ignored(message: Message) -> None:
    newer = json.loads(message.model_dump_json()) | {"of_tomorrow": 1, "v": 2}
    assert type(message).model_validate(newer).model_dump(exclude={"v"}) == message.model_dump(exclude={"v"})


def test_every_message_has_golden_json() -> None:
    sampled = {type(message) for message in SAMPLES}
    replies = {request.reply_type() for request in OURS}
    events = {event for event in EVENTS.values() if event.__module__.startswith("omegaproto.")}
    assert {*OURS, *events, *replies} <= sampled


@pytest.mark.parametrize("request_type", OURS, ids=lambda cls: cls.subject)
def test_every_request_needs_an_operation_of_the_scope_table(request_type: type[Request[Any]]) -> None:
    assert request_type.operation in scopes.OPERATIONS
    assert issubclass(request_type.reply_type(), Message)


def test_a_subject_belongs_to_one_request() -> None:
    with pytest.raises(TypeError, match="is taken by"):

        class Thief(Request[Empty], subject="metadata.get_object", operation="object.read"):
            """Takes a subject that exists."""


def test_a_request_without_a_reply_type_says_so() -> None:
    with pytest.raises(TypeError, match="must derive from"):
        messages.Request.reply_type()


def test_metadata_prints_as_users_know_it() -> None:
    assert str(METADATA).startswith("<Metadata: Metadata(name=a/m,bucket=b,prefix=models/,kind=sklearn.joblib,created=")
    assert METADATA.model_copy(update={"store": objects.Store.datasets}).prefix == "data/"


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for sample in SAMPLES:
        if not file_of(sample).exists():
            file_of(sample).write_text(sample.model_dump_json(indent=1) + "\n", encoding="utf-8")
