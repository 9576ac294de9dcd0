"""Users, their grants and their keys: one document a user, one a key."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import SecretStr

from omega_metadata.keys import ApiKey, digest, make_key, matches, parse_key, refused
from omegakit.clock import Clock
from omegakit.docs import Collection, Doc, DocStore, Index, Update
from omegaproto.errors import DuplicateKey, UserNotFound
from omegaproto.scopes import ANY_BUCKET, Principal, Role
from omegaproto.users import KeyIssued

USERS = Collection("users")
KEYS = Collection("keys", indexes=(Index(("userid",)),))


class UserService:
    """Who may call, and with which key."""

    def __init__(self, docs: DocStore, clock: Clock, pepper: str) -> None:
        self._docs = docs
        self._clock = clock
        self._pepper = pepper

    async def authenticate(self, apikey: str, userid: str | None) -> Principal:
        """Give the principal behind a key. Raises Unauthenticated, the same for every reason."""
        key = parse_key(apikey)
        kept = await self._docs.get(KEYS.name, key.id)
        if kept is None or not matches(key, kept["digest"], self._pepper) or not self._usable(kept):
            raise refused()
        user = await self._docs.get(USERS.name, kept["userid"])
        if user is None or (userid is not None and userid != kept["userid"]):
            raise refused()
        return Principal(userid=kept["userid"], grants=_grants_of(user), key_id=key.id)

    def _usable(self, kept: Doc) -> bool:
        expires: datetime | None = kept["expires_at"]
        return kept["revoked_at"] is None and (expires is None or expires > self._clock.now())

    async def create(self, userid: str, grants: dict[str, Role], key: ApiKey | None = None) -> KeyIssued:
        """Make a user with a first key. Raises DuplicateKey when the user exists."""
        try:
            await self._docs.insert(USERS.name, {"_id": userid, "grants": _pairs(grants), "created": self._clock.now()})
        except DuplicateKey as error:
            raise DuplicateKey(
                f"User {userid!r} exists already.", action="Issue a key to it, or choose another name.", key=["userid"]
            ) from error
        return await self.issue(userid, None, key)

    async def issue(self, userid: str, expires_at: datetime | None, key: ApiKey | None = None) -> KeyIssued:
        """Make one more key for a user. Raises UserNotFound."""
        if await self._docs.get(USERS.name, userid) is None:
            raise _no_user(userid)
        key = key or make_key()
        kept: dict[str, Any] = {"userid": userid, "digest": digest(key, self._pepper), "revoked_at": None}
        kept |= {"_id": key.id, "created": self._clock.now(), "expires_at": expires_at}
        await self._docs.insert(KEYS.name, kept)
        return KeyIssued(userid=userid, key_id=key.id, apikey=SecretStr(str(key)))

    async def revoke(self, key_id: str) -> str:
        """Revoke a key; gives whose it was. Raises UserNotFound when there is no such key."""
        changed = await self._docs.update(KEYS.name, Update(key_id, set={"revoked_at": self._clock.now()}))
        if changed is None:
            raise UserNotFound(f"There is no key {key_id!r}.", action="List the user's keys.")
        return str(changed["userid"])

    async def set_grants(self, userid: str, grants: dict[str, Role]) -> None:
        """Replace a user's grants. Raises UserNotFound."""
        if await self._docs.update(USERS.name, Update(userid, set={"grants": _pairs(grants)})) is None:
            raise _no_user(userid)

    async def ensure_admin(self, userid: str, apikey: str) -> None:
        """Make the first administrator with a given key, unless user and key are there."""
        key = parse_key(apikey)
        try:
            await self.create(userid, {ANY_BUCKET: Role.admin}, key)
        except DuplicateKey:
            if await self._docs.get(KEYS.name, key.id) is None:
                await self.issue(userid, None, key)


def _pairs(grants: dict[str, Role]) -> list[list[str]]:
    return [[bucket, str(role)] for bucket, role in sorted(grants.items())]


def _grants_of(user: Doc) -> dict[str, Role]:
    return {bucket: Role(role) for bucket, role in user["grants"]}


def _no_user(userid: str) -> UserNotFound:
    return UserNotFound(f"There is no user {userid!r}.", action="Create it first.")
