"""Who calls over HTTP, and for which bucket: every route asks here first."""

from __future__ import annotations

from starlette.requests import Request

from omegakit.tokens import Tokens
from omegaproto.errors import BadRequest, Unauthenticated
from omegaproto.scopes import authorize


def bucket_of(request: Request, tokens: Tokens, operation: str) -> str:
    """Give the bucket that the request names, once its caller is known and may do `operation` there.

    Raises:
        Unauthenticated: there is no Bearer token, or nobody that we trust signed it.
        BadRequest: no bucket is named.
        Forbidden: the caller's role in the bucket does not suffice.
    """
    principal = tokens.verify(_bearer(request))
    bucket = request.query_params.get("bucket", "")
    if not bucket or bucket == "*":
        raise BadRequest("The request names no bucket.", action="Add ?bucket=<name>.")
    authorize(principal, bucket, operation)
    return bucket


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(
            "Blobstore is called with a token of the mesh.", action="Send Authorization: Bearer <token>."
        )
    return token.strip()
