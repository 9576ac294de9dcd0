"""Errors as HTTP answers: every one is ``{"error": ErrorInfo, "message": text}`` with the status of its type.

Nothing of the gateway's inside gets out: an unexpected exception becomes an error id that the log explains.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from omegakit.logs import get_logger
from omegaproto.errors import (
    BadBody,
    BadRequest,
    ErrorInfo,
    NotFound,
    OmegaError,
    TooLarge,
    Unauthenticated,
)
from omegaproto.ids import new_id

_CHALLENGE = 'ApiKey realm="omega mesh", Bearer realm="omega mesh"'
_SHOWN_FAULTS = 5


class ErrorBody(BaseModel):
    """The body of every error answer."""

    error: ErrorInfo
    message: str
    """What happened and what to do, in one text, for clients that know no more."""


class MethodNotAllowed(BadRequest):
    """The path exists, but not for this method."""

    code, status = "method_not_allowed", 405


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text}
    for status, text in {
        400: "The request cannot be understood, or names something that does not exist in the API's language.",
        401: "No credentials, or credentials that are unknown, expired or revoked.",
        403: "The caller's role in the bucket does not suffice.",
        404: "What the request names does not exist.",
        409: "Somebody else was first, or the idempotency key was used for something else.",
        413: "The body is over its limit.",
        422: "The object refuses the request, such as a model that was never fitted.",
        429: "Too many requests wait; try again in a moment.",
        500: "The task's own code raised, stored bytes are corrupted, or the mesh met an internal error.",
        503: "A service, a store or a worker cannot be reached now.",
        504: "No answer within the time allowed.",
    }.items()
}
"""What every route may answer besides its result, for the OpenAPI page."""


def error_body(error: OmegaError) -> bytes:
    """Give the JSON that stands for an error."""
    return to_json({"error": error.info(), "message": str(error)}, fallback=str)


def error_headers(error: OmegaError) -> dict[str, str]:
    """Give the headers that go with an error: how to authenticate, when to come back."""
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": _CHALLENGE}
    if error.status in {429, 503}:
        return {"Retry-After": "1"}
    return {}


def error_response(error: OmegaError) -> Response:
    """Give the answer that stands for an error."""
    return Response(
        error_body(error), status_code=error.status, headers=error_headers(error), media_type="application/json"
    )


def internal_error() -> OmegaError:
    """Log the exception being handled, and give what the caller learns of it: an id to find it by."""
    error_id = new_id()
    get_logger("gateway").exception("request_failed", error_id=error_id)
    return OmegaError(
        f"The gateway met an internal error (error id {error_id}).",
        action="Report the error id; the gateway's log has the details.",
        error_id=error_id,
    )


def from_validation(error: RequestValidationError) -> BadBody:
    """Give the error for a request that does not fit its documented shape; names fields, never their values."""
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:_SHOWN_FAULTS]]
    return BadBody(f"The request does not fit: {'; '.join(faults)}.", action="See /openapi.json for the shape.")


def from_http(error: HTTPException, method: str, path: str) -> OmegaError:
    """Give our error for one that the framework raised."""
    if isinstance(error.__cause__, OmegaError):
        return error.__cause__
    match error.status_code:
        case 404:
            return NotFound(f"There is no {path[:200]!r}.", action="See /openapi.json for what there is.")
        case 405:
            return MethodNotAllowed(f"{path[:200]!r} does not answer {method}.", action="See /openapi.json.")
        case 413:
            return body_too_large(None)
        case status if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return BadBody("The body is not valid JSON in UTF-8.", action="Send JSON text in UTF-8.")
    return OmegaError(str(error.detail))


def body_too_large(limit: int | None) -> TooLarge:
    """Give the error for a JSON body over the limit."""
    return TooLarge(
        f"The body is over the limit of {limit} bytes." if limit else "The body is too large.",
        action="Split the request, or upload the data with POST /api/v1/blobs and name the blob.",
        limit=limit,
    )


async def on_omega_error(_request: Request, error: Exception) -> Response:
    """Answer an error of the mesh, or one that nobody expected."""
    return error_response(error if isinstance(error, OmegaError) else internal_error())


async def on_disconnect(_request: Request, _error: Exception) -> Response:
    """Answer a client that went away before its request was whole: nobody will read it."""
    return Response(status_code=499)


async def on_validation_error(_request: Request, error: Exception) -> Response:
    """Answer a request that does not fit."""
    return await on_omega_error(
        _request, from_validation(error) if isinstance(error, RequestValidationError) else error
    )


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer what the framework raised."""
    if isinstance(error, HTTPException):
        return error_response(from_http(error, request.method, request.url.path))
    return await on_omega_error(request, error)
