"""Who is calling: every form of the header, wrong and revoked keys, and what a flood of them costs metadata."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from omega_gateway.auth import Authenticator, Credentials, bucket_of, parse_authorization
from omega_gateway.settings import GatewayOptions
from omegakit.bus.memory import MemoryBroker, MemoryBus
from omegakit.settings import AuthSettings
from omegakit.tokens import Tokens
from omegaproto.errors import BadRequest, Overloaded, Unauthenticated
from omegaproto.scopes import Principal, Role
from omegaproto.users import AccessChanged, Authenticate

from .conftest import ADMIN_KEY, SECRET, Mesh

KEY = "omk_0123456789abcdef_" + "k" * 40


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"ann:{KEY}", Credentials(KEY, "ann")),
        (f"ApiKey ann:{KEY}", Credentials(KEY, "ann")),
        (f"apikey  ann:{KEY} ", Credentials(KEY, "ann")),
        (f"Bearer {KEY}", Credentials(KEY)),
        (f"bearer {KEY}", Credentials(KEY)),
        ("Bearer aa.bb.cc", Credentials("aa.bb.cc", is_token=True)),
    ],
)
def test_every_form_of_the_header(header: str, found: Credentials) -> None:
    assert parse_authorization(header) == found


@given(st.text(max_size=60) | st.from_regex(r"(ApiKey|Bearer|Basic)? ?[a-z:._]{0,20}", fullmatch=True))
def test_whatever_else_is_refused(header: str) -> None:
    try:
        found = parse_authorization(header)
    except Unauthenticated:
        return
    assert found.is_token and found.secret.count(".") == 2


@pytest.mark.parametrize("header", [None, "", "default"])
def test_no_bucket_is_the_default_bucket(header: str | None) -> None:
    assert bucket_of(header) == "omegaml"


@pytest.mark.parametrize("header", ["*", "a b", "a/b", "x" * 129, "ä", "a\n"])
def test_what_cannot_name_a_bucket_is_refused(header: str) -> None:
    with pytest.raises(BadRequest):
        bucket_of(header)


async def test_every_form_is_accepted_by_the_gateway(mesh: Mesh) -> None:
    token = mesh.kit.tokens.acting_for(Principal(userid="ann", grants={"omegaml": Role.reader}), "omegaml")
    forms = {
        f"admin:{ADMIN_KEY}": "admin",
        f"ApiKey admin:{ADMIN_KEY}": "admin",
        f"Bearer {ADMIN_KEY}": "admin",
        f"Bearer {token}": "ann",
    }
    for header, userid in forms.items():
        async with mesh.client(header) as client:
            answer = await client.get("/api/v1/ping")
            assert (answer.status_code, answer.json()["userid"]) == (200, userid)


async def test_every_wrong_credential_gets_the_same_answer(mesh: Mesh) -> None:
    wrong = [
        "nonsense",
        "Basic YWJj",
        "ApiKey admin",
        "ApiKey admin:omk_1_2",
        f"ApiKey somebody:{ADMIN_KEY}",
        f"ApiKey admin:{KEY}",
        f"Bearer {KEY}",
        "Bearer aa.bb.cc",
        f"Bearer {ADMIN_KEY}{'x' * 9000}",
        "Bearer omk_0123456789abcdef_" + "é" * 40,
    ]
    seen = set()
    for header in wrong:
        async with mesh.client(None) as client:
            answer = await client.get("/api/v1/ping", headers={"Authorization": header.encode()})
        seen.add((answer.status_code, answer.json()["message"]))
        assert "ApiKey" in answer.headers["WWW-Authenticate"]
    assert len(seen) == 1 and seen.pop()[0] == 401


async def test_no_credentials_say_how_to_give_them(mesh: Mesh) -> None:
    async with mesh.client(None) as anyone:
        answer = await anyone.get("/api/v1/ping")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthenticated"
    assert "ApiKey userid:apikey" in answer.json()["message"]


async def test_a_token_of_somebody_else_is_refused(mesh: Mesh) -> None:
    stranger = Tokens(AuthSettings(secret=SecretStr("x" * 40)), "gateway")
    async with mesh.client(f"Bearer {stranger.own()}") as client:
        assert (await client.get("/api/v1/ping")).status_code == 401


async def test_a_worker_token_opens_no_route(mesh: Mesh) -> None:
    async with mesh.client(f"Bearer {mesh.worker.kit.tokens.own()}") as client:
        assert (await client.get("/api/v1/ping")).status_code == 403


class CountingMetadata:
    """Answers Authenticate, and counts how often and how many at once."""

    def __init__(self) -> None:
        self.asked = 0
        self.running = 0
        self.most = 0
        self.open = asyncio.Event()
        self.open.set()
        self.refuses = False

    async def answer(self, _request: Authenticate, _call: Any) -> Principal:
        self.asked += 1
        self.running += 1
        self.most = max(self.most, self.running)
        await self.open.wait()
        self.running -= 1
        if self.refuses:
            raise Unauthenticated("no")
        return Principal(userid="ann", grants={"omegaml": Role.reader}, key_id="k1")


@pytest.fixture
async def keys() -> Any:
    bus, metadata = MemoryBus(MemoryBroker()), CountingMetadata()
    await bus.start()
    await bus.serve(Authenticate, metadata.answer)
    options = GatewayOptions(key_checks=4, key_checks_waiting=8)
    made = Authenticator(bus, Tokens(AuthSettings(secret=SecretStr(SECRET)), "gateway"), options)
    await made.start()
    yield made, metadata, bus
    await made.stop()
    await bus.close()


def header(number: int = 0) -> bytes:
    return f"Bearer {KEY}{number:04}".encode()


async def test_a_key_is_checked_once(keys: Any) -> None:
    made, metadata, _ = keys
    assert made.known(header()) is None
    found = await asyncio.gather(*(made.principal(header()) for _ in range(50)))
    assert {one.userid for one in found} == {"ann"}
    assert metadata.asked == 1
    assert made.known(header()) is not None


async def test_a_refused_key_is_refused_again_without_asking(keys: Any) -> None:
    made, metadata, _ = keys
    metadata.refuses = True
    for _ in range(20):
        with pytest.raises(Unauthenticated):
            await made.principal(header())
    assert metadata.asked == 1
    assert made.known(header()) is None


async def test_a_flood_of_keys_is_bounded(keys: Any) -> None:
    made, metadata, _ = keys
    metadata.refuses = True
    metadata.open.clear()
    asking = [asyncio.create_task(made.principal(header(number))) for number in range(100)]
    while metadata.running < 4:
        await asyncio.sleep(0)
    metadata.open.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert metadata.most == 4 and metadata.asked == 12
    assert sum(isinstance(one, Overloaded) for one in found) == 88


@pytest.mark.parametrize("known_before", [True, False])
async def test_a_change_of_access_is_not_outrun_by_a_check_that_began_before_it(keys: Any, known_before: bool) -> None:
    made, metadata, bus = keys
    if known_before:
        await made.principal(header())
    else:
        metadata.open.clear()
        early = asyncio.create_task(made.principal(header()))
        while not metadata.running:
            await asyncio.sleep(0)
    await bus.publish(AccessChanged(userid="ann"))
    heard = asyncio.Event()
    await bus.subscribe(AccessChanged, lambda _event: _set(heard))
    await bus.publish(AccessChanged(userid="ann"))
    await heard.wait()
    if not known_before:
        metadata.open.set()
        assert (await early).userid == "ann"
    assert made.known(header()) is None
    metadata.refuses = True
    with pytest.raises(Unauthenticated):
        await made.principal(header())


async def _set(event: asyncio.Event) -> None:
    event.set()


async def test_a_key_is_forgotten_by_its_id(keys: Any) -> None:
    made, _, _ = keys
    await made.principal(header())
    made.forget_key("another")
    assert made.known(header()) is not None
    made.forget_key("k1")
    assert made.known(header()) is None
