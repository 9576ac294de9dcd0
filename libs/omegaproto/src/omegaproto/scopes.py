"""Who may do what: one table of operations, four roles a bucket, and the pure decision over them.

The table generates the checks of every route and every bus subject, the documentation and the test matrix.
Roles are ordered: a writer may do what a runner may, and so on. `service` and `worker` stand outside that order:
they are the mesh's own identities and are never granted to users.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from omegaproto.errors import Forbidden
from omegaproto.messages import Message

ANY_BUCKET = "*"
DEFAULT_BUCKET = "omegaml"


class Role(StrEnum):
    """What a user is in a bucket (reader < runner < writer < admin), or which part of the mesh a caller is."""

    reader = "reader"
    runner = "runner"
    writer = "writer"
    admin = "admin"
    worker = "worker"
    service = "service"


RANK: dict[Role, int] = {Role.reader: 1, Role.runner: 2, Role.writer: 3, Role.admin: 4}

OPERATIONS: dict[str, Role] = {
    "object.read": Role.reader,
    "object.list": Role.reader,
    "object.write": Role.writer,
    "object.drop": Role.writer,
    "blob.read": Role.reader,
    "blob.write": Role.runner,
    "frame.read": Role.reader,
    "frame.write": Role.writer,
    "bucket.list": Role.reader,
    "runtime.read": Role.reader,
    "task.read": Role.reader,
    "task.submit": Role.runner,
    "task.cancel": Role.runner,
    "model.predict": Role.runner,
    "model.fit": Role.writer,
    "user.manage": Role.admin,
    "worker.tasks": Role.worker,
    "worker.predict": Role.service,
    "worker.dispatch": Role.service,
    "mesh.internal": Role.service,
}
"""The least role that each operation needs."""

READING_ACTIONS = frozenset({"predict", "predict_proba", "score", "transform", "decision_function"})
WRITING_ACTIONS = frozenset({"fit", "partial_fit"})


def action_operation(action: str) -> str:
    """Give the operation that running `action` on a model needs: writing actions make a new revision."""
    return "model.fit" if action in WRITING_ACTIONS else "model.predict"


class Principal(Message):
    """Who is calling: a user with a role in each of some buckets, a task on a user's behalf, or a part of the mesh."""

    userid: str
    grants: dict[str, Role] = Field(default_factory=dict)
    """Role by bucket; the bucket ``*`` stands for every bucket."""
    task_id: str | None = None
    key_id: str | None = None

    def role_in(self, bucket: str) -> Role | None:
        """Give the caller's role in `bucket`: the grant that names it, else the one for every bucket."""
        return self.grants.get(bucket, self.grants.get(ANY_BUCKET))

    def narrowed(self, bucket: str) -> Principal:
        """Give the same caller, reaching no further than `bucket`."""
        role = self.role_in(bucket)
        return self.model_copy(update={"grants": {bucket: role} if role else {}})


def allows(role: Role | None, operation: str) -> bool:
    """Say whether `role` suffices for `operation`; an operation that is not in the table is allowed to nobody."""
    needed = OPERATIONS.get(operation)
    if role is None or needed is None:
        return False
    if needed in RANK:
        return role is Role.service or RANK.get(role, 0) >= RANK[needed]
    return role is needed or role is Role.service


def authorize(principal: Principal, bucket: str, operation: str) -> None:
    """Return when `principal` may do `operation` in `bucket`.

    Raises:
        Forbidden: it may not; the message names the role that is missing.
    """
    role = principal.role_in(bucket)
    if allows(role, operation):
        return
    needed = OPERATIONS.get(operation, Role.admin)
    raise Forbidden(
        f"User {principal.userid!r} is {role or 'nobody'} in bucket {bucket!r}; {operation} needs {needed}.",
        action=f"Ask an administrator of bucket {bucket!r} to grant you the role {needed}.",
        bucket=bucket,
        operation=operation,
    )
