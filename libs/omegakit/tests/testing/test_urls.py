"""Rewriting server URLs changes what is asked for and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omegakit.testing.urls import address_of, with_address, with_database, with_vhost


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("amqp://broker/", ("broker", 5672)),
        ("amqp://u:p%40@broker:99/v", ("broker", 99)),
        ("mongodb://m/?replicaSet=rs0", ("m", 27017)),
        ("http://[::1]:80", ("::1", 80)),
    ],
)
def test_address_of(url: str, address: tuple[str, int]) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize("url", ["memory://", "sqlite:///x", "redis://host"])
def test_a_url_without_an_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="names no host and port"):
        address_of(url)


def test_mongodb_through_another_address_is_a_direct_connection() -> None:
    moved = with_address("mongodb://u:p@db:1/app?replicaSet=rs0&w=majority", "127.0.0.1", 2)
    assert moved == "mongodb://u:p@127.0.0.1:2/app?w=majority&directConnection=true"


def test_with_database_keeps_where_the_user_logs_in() -> None:
    assert with_database("mongodb://h:1/?replicaSet=rs0", "t") == "mongodb://h:1/t?replicaSet=rs0"
    assert with_database("mongodb://u:p@h:1/", "t") == "mongodb://u:p@h:1/t?authSource=admin"
    assert with_database("mongodb://u:p@h:1/users", "t") == "mongodb://u:p@h:1/t?authSource=users"
    assert with_database("mongodb://u:p@h:1/?authSource=x", "t") == "mongodb://u:p@h:1/t?authSource=x"


def test_with_vhost_escapes_the_name() -> None:
    assert with_vhost("amqp://u:p@h:1/", "a/b c") == "amqp://u:p@h:1/a%2Fb%20c"


@given(st.integers(1, 65535), st.sampled_from(["amqp://u:p@", "mongodb://", "http://x@"]))
def test_with_address_then_address_of(port: int, start: str) -> None:
    assert address_of(with_address(f"{start}elsewhere:1/path?a=b", "127.0.0.1", port)) == ("127.0.0.1", port)
