"""Exceptions of user code as errors that travel: typed, bounded, and with what to do. Pure."""

from __future__ import annotations

import traceback

from pydantic_core import to_json

from omegaproto.errors import CallTimeout, ErrorInfo, OmegaError, Overloaded, TaskFailed, Unavailable

MAX_TRACEBACK = 8 * 1024
MAX_MESSAGE = 2 * 1024
_MAX_DETAILS = 16 * 1024
_PASSING = (Unavailable, CallTimeout, Overloaded)


def failure_of(error: BaseException) -> tuple[ErrorInfo, bool]:
    """Give an error as it travels, and whether another attempt may succeed.

    Errors of the mesh stay what they are; anything else is TaskFailed with its type and the end of its traceback.
    """
    if isinstance(error, OmegaError):
        return _bounded(error.info()), isinstance(error, _PASSING)
    name = _type_name(error)
    failed = TaskFailed(
        _cut(f"{name}: {error}", MAX_MESSAGE),
        action=_action(error),
        type=name,
        traceback=_tail("".join(traceback.format_exception(error)), MAX_TRACEBACK),
    )
    return failed.info(), False


def _action(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return (
            "The task needs more memory than its worker allows: use less data, or raise OMEGA_WORKER__MEMORY_LIMIT_MB."
        )
    if isinstance(error, SystemExit):
        return "Code that runs as a task must return, not exit."
    return "The task's own code raised this; details['traceback'] says where. Correct it and submit again."


def _type_name(error: BaseException) -> str:
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _bounded(info: ErrorInfo) -> ErrorInfo:
    details = info.details
    try:
        size = len(to_json(details))
    except ValueError:
        details = {key: repr(value) for key, value in details.items()}
        size = len(to_json(details))
    if size > _MAX_DETAILS:
        details = {"omitted": f"{size} bytes of details"}
    return info.model_copy(update={"message": _cut(info.message, MAX_MESSAGE), "details": details})


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + f"… ({len(text) - limit} characters more)"


def _tail(text: str, limit: int) -> str:
    return text if len(text) <= limit else "…\n" + text[-limit:]
