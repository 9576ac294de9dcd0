"""Tasks on their way to the scheduler and back: checked, split into messages of bearable size, and waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from omega_gateway.access import Caller
from omegaproto.errors import OmegaError, TooLarge, UnknownAction
from omegaproto.messages import MAX_MESSAGE_BYTES
from omegaproto.names import parse_name
from omegaproto.scopes import READING_ACTIONS, WRITING_ACTIONS, Role, action_operation
from omegaproto.tasks import GetTasks, SubmitTasks, Task, TaskList, TaskSpec

MODEL = "model."
VERBS = READING_ACTIONS | WRITING_ACTIONS
_MESSAGE_BYTES = MAX_MESSAGE_BYTES * 3 // 4
_TASK_BYTES = 600
"""What a task takes in the scheduler's answer besides its spec."""
_LARGEST_SPEC = MAX_MESSAGE_BYTES - 8192


def operation_of(action: str) -> str:
    """Give the operation that a task's action needs. Raises UnknownAction when there is no such action."""
    if action == "noop":
        return "task.submit"
    verb = action.removeprefix(MODEL)
    if not action.startswith(MODEL) or verb not in VERBS:
        known = ", ".join(["noop", *(f"{MODEL}{name}" for name in sorted(VERBS))])
        raise UnknownAction(f"There is no action {action!r}.", action=f"Use one of: {known}.")
    return action_operation(verb)


def check_spec(spec: TaskSpec) -> None:
    """Return when the names in a task can name something. Raises BadName."""
    if spec.action.startswith(MODEL):
        parse_name(spec.target)
    for value in spec.inputs.values():
        if isinstance(value, str):
            parse_name(value)


def in_messages(specs: Iterable[TaskSpec]) -> Iterator[list[TaskSpec]]:
    """Give the specs in groups, each of which fits into a message, as does the answer to it. Raises TooLarge."""
    group: list[TaskSpec] = []
    size = 0
    for spec in specs:
        needed = len(spec.__pydantic_serializer__.to_json(spec)) + _TASK_BYTES
        if needed > _LARGEST_SPEC:
            raise TooLarge(
                f"A task takes {needed} bytes; its limit is {_LARGEST_SPEC}.",
                action="Put the data as a dataset, or as blobs, and name it in the task.",
                limit=_LARGEST_SPEC,
            )
        if group and size + needed > _MESSAGE_BYTES:
            yield group
            group, size = [], 0
        group.append(spec)
        size += needed
    if group:
        yield group


async def submit_tasks(caller: Caller, specs: Sequence[TaskSpec]) -> TaskList:
    """Submit tasks in the caller's name and give them in the order given.

    Raises Forbidden when one needs more than the caller's role, UnknownAction, UnknownLabel, BadName, TooLarge.
    """
    for operation in {operation_of(spec.action) for spec in specs}:
        caller.authorize(operation)
    for spec in specs:
        check_spec(spec)
    tasks: list[Task] = []
    for group in list(in_messages(specs)):
        tasks.extend((await caller.call(_request(caller, group))).items)
    caller.parts.waiters.note(tasks)
    return TaskList(items=tuple(tasks))


def _request(caller: Caller, specs: Sequence[TaskSpec]) -> SubmitTasks:
    role = caller.principal.role_in(caller.bucket) or Role.reader
    return SubmitTasks(bucket=caller.bucket, userid=caller.principal.userid, role=role, specs=tuple(specs))


async def get_tasks(caller: Caller, task_ids: Sequence[str]) -> list[Task]:
    """Give tasks by id, in several messages when their results take too much for one. Raises TaskNotFound."""
    tasks: list[Task] = []
    while len(tasks) < len(task_ids):
        request = GetTasks(bucket=caller.bucket, task_ids=tuple(task_ids[len(tasks) :]))
        found = (await caller.call(request)).items
        if not found:
            raise OmegaError("The scheduler answered with no task.", action="See its log.")
        tasks.extend(found)
    return tasks


async def wait_for(
    caller: Caller, task_ids: Sequence[str], seconds: float, until: Callable[[Iterable[bool]], bool] = any
) -> Sequence[Task]:
    """Give tasks once any (or `until` all) have ended, or after `seconds` (or the gateway's limit).

    Raises TaskNotFound.
    """
    longest = min(seconds, caller.parts.options.wait_seconds)
    return await caller.parts.waiters.wait(
        task_ids, caller.bucket, longest, lambda: get_tasks(caller, task_ids), until=until
    )
