"""Users, keys and grants, on each document store."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from omega_metadata.keys import ApiKey, digest, make_key, matches, parse_key
from omegaproto.errors import DuplicateKey, Forbidden, Unauthenticated, UserNotFound
from omegaproto.scopes import Role
from omegaproto.users import AccessChanged, Authenticate, CreateUser, IssueKey, RevokeKey, SetGrants

ADMIN_KEY = "omk_0123456789abcdef_" + "s" * 43


@pytest.fixture
def admin(ann: Any) -> Any:
    """An administrator of everything."""
    return ann.having(Role.admin, "*")


@pytest.fixture
def gateway(ann: Any) -> Any:
    """A service of the mesh."""
    return ann.having(Role.service)


def key_of(issued: Any) -> str:
    return str(issued.apikey.get_secret_value())


async def login(gateway: Any, apikey: str, userid: str | None = None) -> Any:
    return await gateway.call(Authenticate(apikey=SecretStr(apikey), userid=userid))


async def test_the_first_administrator_can_log_in(gateway: Any) -> None:
    principal = await login(gateway, ADMIN_KEY, "admin")
    assert (principal.userid, principal.grants) == ("admin", {"*": Role.admin})


async def test_a_new_user_logs_in_with_its_grants(admin: Any, gateway: Any) -> None:
    issued = await admin.call(CreateUser(userid="bob", grants={"dev": Role.writer, "a.b": Role.reader}))
    principal = await login(gateway, key_of(issued))
    assert principal.grants == {"dev": Role.writer, "a.b": Role.reader}
    assert principal.key_id == issued.key_id


@pytest.mark.parametrize("wrong", ["", "nonsense", "omk_x_y", f"omk_{'0' * 16}_{'x' * 43}", ADMIN_KEY[:-1] + "t"])
async def test_a_wrong_key_is_refused_with_one_message(gateway: Any, wrong: str) -> None:
    with pytest.raises(Unauthenticated, match="unknown, expired or revoked"):
        await login(gateway, wrong)


async def test_a_key_of_another_user_is_refused(gateway: Any) -> None:
    with pytest.raises(Unauthenticated):
        await login(gateway, ADMIN_KEY, "bob")


async def test_a_revoked_key_is_refused_and_the_others_hold(admin: Any, gateway: Any) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()
    subscription = await admin.kit.bus.subscribe(AccessChanged, heard.put)
    first = await admin.call(CreateUser(userid="bob"))
    second = await admin.call(IssueKey(userid="bob"))
    await admin.call(RevokeKey(key_id=first.key_id))
    with pytest.raises(Unauthenticated):
        await login(gateway, key_of(first))
    assert (await login(gateway, key_of(second))).userid == "bob"
    assert await heard.get() == AccessChanged(userid="bob", key_id=first.key_id)
    await subscription.cancel()


async def test_a_key_expires(admin: Any, gateway: Any) -> None:
    await admin.call(CreateUser(userid="bob"))
    issued = await admin.call(IssueKey(userid="bob", expires_at=admin.clock.now() + timedelta(seconds=60)))
    assert (await login(gateway, key_of(issued))).userid == "bob"
    admin.clock.advance(61)
    with pytest.raises(Unauthenticated):
        await login(gateway, key_of(issued))


async def test_grants_are_replaced(admin: Any, gateway: Any) -> None:
    issued = await admin.call(CreateUser(userid="bob", grants={"dev": Role.writer}))
    await admin.call(SetGrants(userid="bob", grants={"dev": Role.reader}))
    assert (await login(gateway, key_of(issued))).grants == {"dev": Role.reader}


async def test_a_user_exists_once(admin: Any) -> None:
    await admin.call(CreateUser(userid="bob"))
    with pytest.raises(DuplicateKey, match="'bob' exists"):
        await admin.call(CreateUser(userid="bob"))


async def test_what_is_not_there_is_named(admin: Any) -> None:
    for request in (IssueKey(userid="no"), SetGrants(userid="no", grants={}), RevokeKey(key_id="no")):
        with pytest.raises(UserNotFound, match="'no'"):
            await admin.call(request)


async def test_the_mesh_s_own_roles_are_not_granted(admin: Any) -> None:
    for request in (
        CreateUser(userid="x", grants={"*": Role.service}),
        SetGrants(userid="admin", grants={"*": Role.worker}),
    ):
        with pytest.raises(Forbidden, match="not granted to users"):
            await admin.call(request)


async def test_only_administrators_of_everything_manage_users(ann: Any) -> None:
    with pytest.raises(Forbidden):
        await ann.having(Role.admin, "dev").call(CreateUser(userid="x"))
    with pytest.raises(Forbidden):
        await ann.call(Authenticate(apikey=SecretStr(ADMIN_KEY)))


def test_a_user_id_has_no_colon() -> None:
    with pytest.raises(ValidationError):
        CreateUser(userid="a:b")


async def test_the_first_administrator_is_made_once(service: Any, gateway: Any) -> None:
    made, _, _ = service
    users = made._users
    await users.ensure_admin("admin", ADMIN_KEY)
    other = make_key()
    await users.ensure_admin("admin", str(other))
    for apikey in (ADMIN_KEY, str(other)):
        assert (await login(gateway, apikey)).userid == "admin"


def test_a_key_is_kept_as_an_hmac_only() -> None:
    key = make_key()
    assert parse_key(str(key)) == key
    kept = digest(key, "pepper")
    assert key.secret not in kept
    assert matches(key, kept, "pepper")
    assert not matches(key, kept, "other pepper")
    assert not matches(ApiKey(key.id, "x" * 43), kept, "pepper")
