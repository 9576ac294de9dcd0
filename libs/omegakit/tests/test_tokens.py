"""Tokens: who may speak for whom, for how long, and that nobody else can."""

from __future__ import annotations

import jwt
import pytest
from pydantic import SecretStr

from omegakit.settings import AuthSettings
from omegakit.tokens import Tokens, mesh_public_key, worker_secret
from omegaproto.errors import Unauthenticated
from omegaproto.scopes import Principal, Role

SECRET = "s" * 40
ANN = Principal(userid="ann", grants={"dev": Role.writer, "*": Role.reader}, key_id="k")


class Now:
    """A clock to set."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


def service(now: Now, secret: str = SECRET) -> Tokens:
    return Tokens(AuthSettings(secret=SecretStr(secret)), "gateway", now)


def worker(now: Now, secret: str = SECRET) -> Tokens:
    settings = AuthSettings(worker_secret=SecretStr(worker_secret(secret)), mesh_public_key=mesh_public_key(secret))
    return Tokens(settings, "worker", now)


def test_a_token_carries_its_user_into_one_bucket(now: Now) -> None:
    tokens = service(now)
    found = tokens.verify(tokens.acting_for(ANN, "dev"))
    assert (found.userid, found.grants, found.key_id) == ("ann", {"dev": Role.writer}, "k")
    assert tokens.verify(tokens.acting_for(ANN, "other")).grants == {"other": Role.reader}


def test_a_user_without_a_role_gets_a_token_that_opens_nothing(now: Now) -> None:
    tokens = service(now)
    assert tokens.verify(tokens.acting_for(Principal(userid="bob"), "dev")).grants == {}


def test_services_trust_each_other(now: Now) -> None:
    assert service(now).verify(service(now).own()).grants == {"*": Role.service}


def test_a_worker_proves_that_it_is_one_and_no_more(now: Now) -> None:
    assert service(now).verify(worker(now).own()).grants == {"*": Role.worker}
    forged = worker(now).for_task(Principal(userid="root", grants={"*": Role.service}), now.seconds + 60)
    assert service(now).verify(forged).grants == {"*": Role.worker}


def test_a_worker_checks_who_calls_it(now: Now) -> None:
    assert worker(now).verify(service(now).own()).grants == {"*": Role.service}
    with pytest.raises(Unauthenticated):
        worker(now).verify(worker(now).own())


def test_a_task_s_token_ends_with_its_lease(now: Now) -> None:
    tokens = service(now)
    token = tokens.for_task(ANN.model_copy(update={"task_id": "t"}), now.seconds + 30)
    assert tokens.verify(token).task_id == "t"
    now.seconds += 40
    with pytest.raises(Unauthenticated, match="expired"):
        tokens.verify(token)
    with pytest.raises(Unauthenticated, match="expired"):
        service(now).verify(token)


def test_tokens_are_reused_while_half_their_life_is_left(now: Now) -> None:
    tokens = service(now)
    first = tokens.own()
    now.seconds += 50
    assert tokens.own() == first
    now.seconds += 20
    assert tokens.own() != first


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "🙂"])
def test_nonsense_is_refused(now: Now, token: str) -> None:
    with pytest.raises(Unauthenticated):
        service(now).verify(token)


def test_tokens_of_another_mesh_are_refused(now: Now) -> None:
    with pytest.raises(Unauthenticated):
        service(now).verify(service(now, "t" * 40).own())


def test_an_unsigned_or_otherwise_signed_token_is_refused(now: Now) -> None:
    claims = {"sub": "root", "exp": now.seconds + 60, "grants": {"*": "service"}}
    public = mesh_public_key(SECRET)
    for token in (
        jwt.encode(claims, None, algorithm="none", headers={"kid": "mesh"}),
        jwt.encode(claims, public, algorithm="HS256", headers={"kid": "mesh"}),
    ):
        with pytest.raises(Unauthenticated):
            service(now).verify(token)


def test_a_token_with_a_role_that_does_not_exist_is_refused(now: Now) -> None:
    tokens = service(now)
    claims = {"sub": "x", "exp": now.seconds + 60, "grants": {"*": "god"}}
    token = jwt.encode(claims, tokens._key, algorithm="EdDSA", headers={"kid": "mesh"})
    with pytest.raises(Unauthenticated):
        tokens.verify(token)


def test_secrets_are_needed_and_long(now: Now) -> None:
    with pytest.raises(ValueError, match="too short"):
        service(now, "short")
    with pytest.raises(ValueError, match="No secret"):
        Tokens(AuthSettings(), "gateway")


def test_the_caches_are_bounded(now: Now) -> None:
    tokens = service(now)
    for number in range(4100):
        tokens.verify(tokens.acting_for(Principal(userid=f"u{number}", grants={"b": Role.reader}), "b"))
    assert len(tokens._verified) == len(tokens._minted) == 4096
