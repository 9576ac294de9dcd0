"""Guarded handlers: no token, a wrong one, too small a role; and what the metrics say of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from omegakit.bus.memory import MemoryBroker, MemoryBus
from omegakit.service import Kit, make_kit
from omegakit.settings import AuthSettings, ServiceSettings
from omegaproto.errors import Forbidden, ObjectNotFound, OmegaError, Unauthenticated
from omegaproto.messages import Empty
from omegaproto.objects import DropObject, Store
from omegaproto.scopes import Principal, Role

REQUEST = DropObject(bucket="dev", store=Store.models, name="m")


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    bus = MemoryBus(MemoryBroker())
    await bus.start()
    yield make_kit("test", ServiceSettings(auth=AuthSettings(secret=SecretStr("s" * 40))), bus)
    await bus.close()


async def serve(kit: Kit, error: Exception | None = None) -> list[Principal]:
    callers: list[Principal] = []

    async def handler(_request: DropObject, caller: Principal) -> Empty:
        callers.append(caller)
        if error is not None:
            raise error
        return Empty()

    await kit.rpc().serve(DropObject, handler)
    return callers


def acting(kit: Kit, role: Role, bucket: str = "dev") -> str:
    return kit.tokens.acting_for(Principal(userid="ann", grants={bucket: role}), bucket)


async def test_an_allowed_caller_reaches_the_handler(kit: Kit) -> None:
    callers = await serve(kit)
    await kit.bus.call(REQUEST, token=acting(kit, Role.writer))
    await kit.bus.call(REQUEST, token=kit.tokens.own())
    assert [caller.userid for caller in callers] == ["ann", "service:test"]
    assert b'omega_rpc_seconds_count{code="ok",subject="metadata.drop_object"} 2.0' in kit.metrics.render()


@pytest.mark.parametrize("token", ["", "x.y.z"])
async def test_without_a_token_nothing_is_answered(kit: Kit, token: str) -> None:
    callers = await serve(kit)
    with pytest.raises(Unauthenticated):
        await kit.bus.call(REQUEST, token=token)
    assert callers == []


async def test_too_small_a_role_and_another_bucket_are_refused(kit: Kit) -> None:
    callers = await serve(kit)
    for token in (acting(kit, Role.runner), acting(kit, Role.admin, "other")):
        with pytest.raises(Forbidden, match="dev"):
            await kit.bus.call(REQUEST, token=token)
    assert callers == []
    assert b'code="forbidden"' in kit.metrics.render()


async def test_a_handler_s_error_comes_back_as_its_type(kit: Kit) -> None:
    await serve(kit, ObjectNotFound("Gone."))
    with pytest.raises(ObjectNotFound, match="Gone"):
        await kit.bus.call(REQUEST, token=kit.tokens.own())


async def test_an_unexpected_error_does_not_tell_its_inside(kit: Kit) -> None:
    await serve(kit, ZeroDivisionError("secret inside"))
    with pytest.raises(OmegaError) as caught:
        await kit.bus.call(REQUEST, token=kit.tokens.own())
    assert caught.value.code == "internal"
    assert "secret inside" not in str(caught.value)
    assert b'code="internal"' in kit.metrics.render()
