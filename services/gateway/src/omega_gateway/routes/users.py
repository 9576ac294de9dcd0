"""Users, keys and grants, for administrators of the whole mesh."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Path, Response
from pydantic import Field

from omega_gateway.access import ManagesUsers, identifier, reply, scoped_router
from omegaproto.messages import Message
from omegaproto.scopes import Role
from omegaproto.users import CreateUser, IssueKey, KeyIssued, RevokeKey, SetGrants

router = scoped_router("users")
UserId = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.@-]+$")]
Bucket = Annotated[str, Field(pattern=r"^(\*|[A-Za-z0-9_.\-]{1,128})$")]
Grants = dict[Bucket, Role]


class NewUser(Message):
    """A user to create."""

    userid: str = Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.@-]+$")
    grants: Grants = Field(default_factory=dict, max_length=1000)
    """Role by bucket; the bucket * stands for every bucket."""


class NewKey(Message):
    """A key to issue."""

    expires_at: datetime | None = None


class NewGrants(Message):
    """The grants that replace a user's grants."""

    grants: Grants = Field(max_length=1000)


@router.post("/users", response_model=KeyIssued, status_code=201)
async def create_user(caller: ManagesUsers, body: NewUser) -> Response:
    """Create a user with a first key, which is shown this once."""
    return reply(await caller.call(CreateUser(userid=body.userid, grants=body.grants)), 201)


@router.post("/users/{userid}/keys", response_model=KeyIssued, status_code=201)
async def issue_key(caller: ManagesUsers, userid: UserId, body: NewKey | None = None) -> Response:
    """Issue one more key to a user, which is shown this once."""
    return reply(await caller.call(IssueKey(userid=userid, expires_at=body.expires_at if body else None)), 201)


@router.delete("/keys/{key_id}", status_code=204)
async def revoke_key(caller: ManagesUsers, key_id: str) -> Response:
    """Revoke a key at once, everywhere."""
    await caller.call(RevokeKey(key_id=identifier(key_id)))
    caller.parts.keys.forget_key(key_id)
    return Response(status_code=204)


@router.put("/users/{userid}/grants", status_code=204)
async def set_grants(caller: ManagesUsers, userid: UserId, body: NewGrants) -> Response:
    """Replace a user's grants; they hold from the next request on."""
    await caller.call(SetGrants(userid=userid, grants=body.grants))
    caller.parts.keys.forget(userid)
    return Response(status_code=204)
