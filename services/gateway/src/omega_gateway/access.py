"""May they: every route names an operation of the scope table, and answers only callers whose role allows it.

A route is made with :func:`scoped_router`; one whose handler takes no :class:`Caller` cannot be made at all. The check
runs before the body is read, so a stranger's bytes are never parsed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from omega_gateway.auth import bucket_of
from omega_gateway.errors import ERRORS
from omega_gateway.parts import Parts
from omegaproto.errors import BadRequest, Forbidden
from omegaproto.messages import Message
from omegaproto.messages import Request as BusRequest
from omegaproto.scopes import ANY_BUCKET, OPERATIONS, Principal, allows, authorize

ReplyT = TypeVar("ReplyT", bound=Message)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes this request, in which bucket, and the way on into the mesh in their name."""

    principal: Principal
    bucket: str
    parts: Parts

    @property
    def token(self) -> str:
        """Give the token that speaks for the caller and reaches no further than the bucket."""
        return self.parts.tokens.acting_for(self.principal, self.bucket)

    async def call(self, request: BusRequest[ReplyT]) -> ReplyT:
        """Send a request in the caller's name. Raises what its service answers."""
        return await self.parts.bus.call(request, token=self.token)

    async def call_as_mesh(self, request: BusRequest[ReplyT]) -> ReplyT:
        """Send a request in the gateway's own name, for what belongs to the whole mesh; the caller was checked."""
        return await self.parts.bus.call(request, token=self.parts.tokens.own())

    def authorize(self, operation: str) -> None:
        """Check one more operation, which only the request's content told. Raises Forbidden."""
        authorize(self.principal, self.bucket, operation)


class Guard:
    """The check of one operation. `scope` says where the role is needed: the request's bucket, every bucket, or any."""

    def __init__(self, operation: str, scope: str = "bucket") -> None:
        if operation not in OPERATIONS:
            raise ValueError(f"{operation!r} is not in the scope table.")
        self.operation = operation
        self.scope = scope

    async def admit(self, request: Request) -> Caller:
        """Give the caller of a request. Raises Unauthenticated, Forbidden, BadRequest."""
        parts: Parts = request.app.state.parts
        header = next((value for name, value in request.scope["headers"] if name == b"authorization"), None)
        principal = await parts.keys.principal(header)
        bucket = ANY_BUCKET if self.scope == "mesh" else bucket_of(request.headers.get("bucket"))
        if self.scope == "anywhere":
            self._admit_anywhere(principal)
        else:
            authorize(principal, bucket, self.operation)
        return Caller(principal, bucket, parts)

    def _admit_anywhere(self, principal: Principal) -> None:
        if not any(allows(role, self.operation) for role in principal.grants.values()):
            raise Forbidden(
                f"User {principal.userid!r} has no role that allows {self.operation} in any bucket.",
                action="Ask an administrator to grant you a role.",
            )

    async def __call__(self, request: Request) -> Caller:
        """Give the caller that `admit` found. A coroutine, for FastAPI runs plain functions in a thread."""
        caller: Caller = request.scope["omega.caller"]
        return caller


_SCHEMES = APIKeyHeader(
    name="Authorization",
    scheme_name="ApiKey",
    auto_error=False,
    description="`ApiKey userid:apikey`, `userid:apikey`, `Bearer apikey` or `Bearer token`.",
)
_BUCKETS = APIKeyHeader(
    name="Bucket", scheme_name="Bucket", auto_error=False, description="The bucket; the default one when left out."
)


def may(operation: str, scope: str = "bucket") -> Any:
    """Give the dependency that admits callers who may do `operation`."""
    return Depends(Guard(operation, scope))


class ScopedRequest(Request):
    """A request whose JSON is JSON: UTF-8, no NaN, no lone surrogates, not nested without end."""

    async def json(self) -> Any:
        """Give the parsed body. Raises JSONDecodeError."""
        body = await self.body()
        try:
            return from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None


class ScopedRoute(APIRoute):
    """A route that has exactly one guard, and asks it first."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give the handler behind the guard. Raises TypeError when the route has none."""
        guard, inner = guard_of(self), super().get_route_handler()

        async def guarded(request: Request) -> Response:
            request.scope["omega.caller"] = await guard.admit(request)
            return await inner(ScopedRequest(request.scope, request.receive))

        return guarded


def guard_of(route: APIRoute) -> Guard:
    """Give the guard of a route. Raises TypeError when it has none, or several."""
    guards = [found.call for found in route.dependant.dependencies if isinstance(found.call, Guard)]
    if len(guards) != 1:
        raise TypeError(
            f"Route {route.path} has {len(guards)} guards: give its handler one parameter `may(operation)`."
        )
    return guards[0]


def scoped_router(tag: str) -> APIRouter:
    """Give a router whose routes are guarded and document every error."""
    return APIRouter(
        prefix="/api/v1",
        tags=[tag],
        route_class=ScopedRoute,
        responses=ERRORS,
        dependencies=[Depends(_SCHEMES), Depends(_BUCKETS)],
        redirect_slashes=False,
    )


def reply(message: Message, status: int = 200) -> Response:
    """Give a message as a JSON answer, without a second validation."""
    return Response(message.__pydantic_serializer__.to_json(message), status, media_type="application/json")


def identifier(value: str) -> str:
    """Give an id from a path back. Raises BadRequest when it cannot be one."""
    if not value.isascii() or not value.replace("-", "").replace("_", "").isalnum() or len(value) > 128:
        raise BadRequest(f"{value[:80]!r} is not an id.", action="Use an id that the mesh gave you.")
    return value


ReadsObjects = Annotated[Caller, may("object.read")]
ListsObjects = Annotated[Caller, may("object.list")]
WritesObjects = Annotated[Caller, may("object.write")]
DropsObjects = Annotated[Caller, may("object.drop")]
ReadsBlobs = Annotated[Caller, may("blob.read")]
WritesBlobs = Annotated[Caller, may("blob.write")]
ReadsFrames = Annotated[Caller, may("frame.read")]
ListsBuckets = Annotated[Caller, may("bucket.list", "anywhere")]
ReadsRuntime = Annotated[Caller, may("runtime.read")]
ReadsTasks = Annotated[Caller, may("task.read")]
SubmitsTasks = Annotated[Caller, may("task.submit")]
CancelsTasks = Annotated[Caller, may("task.cancel")]
Predicts = Annotated[Caller, may("model.predict")]
Fits = Annotated[Caller, may("model.fit")]
ManagesUsers = Annotated[Caller, may("user.manage", "mesh")]
