"""`om up` and `om serve` where they refuse; how `om up` runs and ends is tested with the command."""

from __future__ import annotations

from contextlib import closing

import pytest

from omega_mesh.home import Credentials, Home
from omega_mesh.serve import serve, up, worker_environment
from omegakit.tokens import mesh_public_key, worker_secret
from omegaproto.errors import BadRequest, Conflict


def never(credentials: Credentials) -> None:
    pytest.fail(f"a second mesh started at {credentials.url}")


def test_a_folder_has_one_mesh(home: Home) -> None:
    held = home.acquire()
    assert held is not None
    with closing(held):
        with pytest.raises(Conflict, match=r"A mesh runs over .*/mesh already\. Use that one, end it, or set"):
            up(home, host="127.0.0.1", port=0, slots=1, started=never)
        home.announce("http://127.0.0.1:7")
        with pytest.raises(Conflict, match=r"already, at http://127\.0\.0\.1:7\."):
            up(home, host="127.0.0.1", port=0, slots=1, started=never)


def test_a_service_that_is_not_there() -> None:
    with pytest.raises(BadRequest, match="no service 'nope'"):
        serve("nope")


def test_a_worker_gets_no_secret_of_the_mesh() -> None:
    secret = "s" * 48
    given = worker_environment(secret)
    assert given == {
        "OMEGA_AUTH__WORKER_SECRET": worker_secret(secret),
        "OMEGA_AUTH__MESH_PUBLIC_KEY": mesh_public_key(secret),
    }
    assert all(secret not in value for value in given.values())
