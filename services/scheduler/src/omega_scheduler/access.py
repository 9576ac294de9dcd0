"""Who a task acts for, and with which role: the submitter's, and no more of it than the task's action needs. Pure."""

from __future__ import annotations

from omegaproto.errors import Forbidden, UnknownAction
from omegaproto.scopes import OPERATIONS, RANK, READING_ACTIONS, Principal, Role, action_operation, authorize
from omegaproto.tasks import RESULT_NAME, SubmitTasks, TaskSpec

_NOOP = "noop"
_MODEL = "model."


def submitter(request: SubmitTasks, caller: Principal) -> Principal:
    """Give the user whose tasks these are: the one a service names, else the caller, who can name nobody else.

    Raises:
        Forbidden: a user submits in the name of another one.
    """
    role = caller.role_in(request.bucket)
    if role is Role.service:
        return Principal(userid=request.userid, grants={request.bucket: request.role})
    if request.userid != caller.userid:
        raise Forbidden(
            f"User {caller.userid!r} cannot submit tasks of user {request.userid!r}.", action="Submit them as yourself."
        )
    return caller.narrowed(request.bucket)


def task_role(spec: TaskSpec, user: Principal) -> Role:
    """Give the role that the task's own token carries: what its action needs.

    Raises:
        UnknownAction: there is no such kind of action.
        Forbidden: the user may not do it in the bucket.
    """
    needed = [_operation(spec.action), *(["object.write"] if spec.params.get(RESULT_NAME) else [])]
    for operation in needed:
        authorize(user, spec.bucket, operation)
    return max((OPERATIONS[operation] for operation in needed), key=RANK.__getitem__)


def only_reads(spec: TaskSpec) -> bool:
    """Say whether running a task leaves nothing behind but its result."""
    reads = spec.action == _NOOP or spec.action.removeprefix(_MODEL) in READING_ACTIONS
    return reads and not spec.params.get(RESULT_NAME)


def _operation(action: str) -> str:
    if action == _NOOP:
        return "task.submit"
    if action.startswith(_MODEL) and action != _MODEL:
        return action_operation(action.removeprefix(_MODEL))
    raise UnknownAction(f"There is no action {action!r}.", action="Use noop, or model. and a verb: model.fit.")
