"""The one error tree. Each class has a stable code and an HTTP status; each message says what to do.

::

    OmegaError                      internal               500
    ├── BadRequest                  bad_request            400
    │   ├── BadName                 bad_name               400
    │   ├── BadBody                 bad_body               400
    │   ├── BadFilter               bad_filter             400
    │   ├── UnknownColumn           unknown_column         400
    │   ├── UnknownStore            unknown_store          400
    │   ├── UnknownKind             unknown_kind           400
    │   ├── UnknownLabel            unknown_label          400
    │   ├── UnknownAction           unknown_action         400
    │   ├── BadFrame                bad_frame              400
    │   ├── ChecksumMismatch        checksum_mismatch      400
    │   └── IncompleteUpload        incomplete_upload      400
    ├── Unauthenticated             unauthenticated        401
    ├── Forbidden                   forbidden              403
    ├── NotFound                    not_found              404
    │   ├── ObjectNotFound          object_not_found       404
    │   ├── RevisionNotFound        revision_not_found     404
    │   ├── BlobNotFound            blob_not_found         404
    │   ├── TaskNotFound            task_not_found         404
    │   └── UserNotFound            user_not_found         404
    ├── Conflict                    conflict               409
    │   ├── DuplicateKey            duplicate_key          409
    │   ├── RevisionConflict        revision_conflict      409
    │   ├── IdempotencyMismatch     idempotency_mismatch   409
    │   └── LeaseLost               lease_lost             409
    ├── TooLarge                    too_large              413
    ├── Unprocessable               unprocessable          422
    │   ├── NotFitted               not_fitted             422
    │   └── BadInput                bad_input              422
    ├── Overloaded                  overloaded             429
    ├── TaskFailed                  task_failed            500
    │   ├── TaskCancelled           task_cancelled         409
    │   └── TaskDead                task_dead              500
    ├── BlobCorrupted               blob_corrupted         500
    ├── Unavailable                 unavailable            503
    └── CallTimeout                 call_timeout           504

An error crosses every boundary (AMQP, HTTP, a worker's pipe) as :class:`ErrorInfo` and comes out as the same type.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class ErrorInfo(BaseModel):
    """An error as it travels: the stable code, the HTTP status, what happened and why, and what to do."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    code: str
    status: int
    message: str
    action: str = ""
    details: dict[str, Any] = Field(default_factory=dict)


class OmegaError(Exception):
    """Something went wrong inside the mesh; the root of every error that crosses a boundary."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, action: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.action = action
        self.details = details

    def __str__(self) -> str:
        return f"{self.message} {self.action}".strip()

    def __reduce__(self) -> tuple[Any, ...]:
        return raise_free_copy, (self.info(),)

    def info(self) -> ErrorInfo:
        """Give the error as data, ready to travel."""
        return ErrorInfo(
            code=self.code, status=self.status, message=self.message, action=self.action, details=self.details
        )


class BadRequest(OmegaError):
    """The request cannot be understood or names something that does not exist in the language of the API."""

    code, status = "bad_request", 400


class BadName(BadRequest):
    """An object name breaks the name grammar."""

    code = "bad_name"


class BadBody(BadRequest):
    """A request body is not JSON, or not of the documented shape."""

    code = "bad_body"


class BadFilter(BadRequest):
    """A filter names an unknown operator, or a value that its column cannot hold."""

    code = "bad_filter"


class UnknownColumn(BadRequest):
    """A column expression or filter names a column that the frame does not have."""

    code = "unknown_column"


class UnknownStore(BadRequest):
    """A store name is none of datasets, models, jobs, scripts, streams."""

    code = "unknown_store"


class UnknownKind(BadRequest, TypeError):
    """No installed kind supports the object, or the named kind is not installed."""

    code = "unknown_kind"


class UnknownLabel(BadRequest):
    """No worker pool offers the required label."""

    code = "unknown_label"


class UnknownAction(BadRequest):
    """The object's kind does not offer the named action."""

    code = "unknown_action"


class BadFrame(BadRequest, ValueError):
    """A frame cannot be stored as columns (duplicate column names, mixed types in a column, unequal parts)."""

    code = "bad_frame"


class ChecksumMismatch(BadRequest):
    """The sha256 of what arrived differs from the one announced; nothing was stored."""

    code = "checksum_mismatch"


class IncompleteUpload(BadRequest):
    """The upload ended before its announced length; nothing was stored."""

    code = "incomplete_upload"


class Unauthenticated(OmegaError):
    """No credentials, or credentials that are unknown, expired or revoked."""

    code, status = "unauthenticated", 401


class Forbidden(OmegaError, PermissionError):
    """The caller is known, and may not do this in this bucket."""

    code, status = "forbidden", 403


class NotFound(OmegaError, LookupError):
    """What the request names does not exist."""

    code, status = "not_found", 404


class ObjectNotFound(NotFound):
    """No object of that name in that bucket and store."""

    code = "object_not_found"


class RevisionNotFound(NotFound):
    """The object exists, the named revision or tag does not."""

    code = "revision_not_found"


class BlobNotFound(NotFound):
    """No blob of that id that the caller may see."""

    code = "blob_not_found"


class TaskNotFound(NotFound):
    """No task of that id that the caller may see (results are kept for a limited time)."""

    code = "task_not_found"


class UserNotFound(NotFound):
    """No user or key of that id."""

    code = "user_not_found"


class Conflict(OmegaError):
    """A guard refused the write: somebody else was first."""

    code, status = "conflict", 409


class DuplicateKey(Conflict):
    """A unique key exists already; `details['key']` names its fields."""

    code = "duplicate_key"


class RevisionConflict(Conflict):
    """The object moved on since the revision that the caller expected."""

    code = "revision_conflict"


class IdempotencyMismatch(Conflict):
    """The idempotency key was used before for a different request."""

    code = "idempotency_mismatch"


class LeaseLost(Conflict):
    """The task's lease has passed to somebody else; the work must stop and its result is not recorded."""

    code = "lease_lost"


class TooLarge(OmegaError):
    """The input is over its limit; `details` carries the limit in bytes or items."""

    code, status = "too_large", 413


class Unprocessable(OmegaError, ValueError):
    """The request is well formed, but the object refuses it."""

    code, status = "unprocessable", 422


class NotFitted(Unprocessable):
    """The model was never fitted."""

    code = "not_fitted"


class BadInput(Unprocessable):
    """The model refuses the data (wrong number of features, wrong type, missing column)."""

    code = "bad_input"


class Overloaded(OmegaError):
    """A bounded queue is full; try again later."""

    code, status = "overloaded", 429


class TaskFailed(OmegaError, RuntimeError):
    """The task's own code raised; `details` carries the remote type and traceback."""

    code, status = "task_failed", 500


class TaskCancelled(TaskFailed):
    """The task was cancelled before it ended."""

    code, status = "task_cancelled", 409


class TaskDead(TaskFailed):
    """The task lost its worker too often and is not tried again."""

    code = "task_dead"


class BlobCorrupted(OmegaError):
    """A stored blob's sha256 differs from the one recorded at its upload."""

    code, status = "blob_corrupted", 500


class Unavailable(OmegaError, ConnectionError):
    """A service or a store cannot be reached now."""

    code, status = "unavailable", 503


class CallTimeout(OmegaError, TimeoutError):
    """No answer within the time allowed; the call may or may not have taken effect."""

    code, status = "call_timeout", 504


def error_types() -> dict[str, type[OmegaError]]:
    """Give every error class by its code."""
    found: dict[str, type[OmegaError]] = {}
    pending: list[type[OmegaError]] = [OmegaError]
    while pending:
        cls = pending.pop()
        found.setdefault(cls.code, cls)
        pending.extend(cls.__subclasses__())
    return found


def error_from(info: ErrorInfo) -> OmegaError:
    """Give the exception that `info` stands for; a code of a later version becomes a plain OmegaError."""
    cls = error_types().get(info.code, OmegaError)
    return cls(info.message, action=info.action, **info.details)


def raise_free_copy(info: ErrorInfo) -> OmegaError:
    """Rebuild an error when it is copied between processes."""
    return error_from(info)
