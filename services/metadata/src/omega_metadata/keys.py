"""API keys: how they are made, read and checked. Pure.

A key is ``omk_<id>_<secret>``. The secret has 256 random bits, so an HMAC with a pepper (1.6 microseconds) is as
safe as a slow hash would be: nobody can try secrets, with or without the database.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from omegaproto.errors import Unauthenticated

_FORM = re.compile(r"^omk_([0-9a-f]{16})_([A-Za-z0-9_\-]{32,128})$")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key in its two halves."""

    id: str
    secret: str

    def __str__(self) -> str:
        return f"omk_{self.id}_{self.secret}"


def make_key() -> ApiKey:
    """Give a new random key."""
    return ApiKey(secrets.token_hex(8), secrets.token_urlsafe(32))


def parse_key(text: str) -> ApiKey:
    """Read a key. Raises Unauthenticated when it has not the form of one."""
    match = _FORM.match(text)
    if match is None:
        raise refused()
    return ApiKey(match[1], match[2])


def digest(key: ApiKey, pepper: str) -> str:
    """Give what is kept of a key."""
    return hmac.digest(pepper.encode(), str(key).encode(), hashlib.sha256).hex()


def matches(key: ApiKey, kept: str, pepper: str) -> bool:
    """Say whether `kept` was made from this key, in constant time."""
    return hmac.compare_digest(digest(key, pepper), kept)


def refused() -> Unauthenticated:
    """Give the one answer to every wrong key, so that nobody learns which part of it was wrong."""
    return Unauthenticated(
        "The API key is unknown, expired or revoked, or belongs to another user.",
        action="Check OMEGA_USERID and OMEGA_APIKEY, or ask an administrator for a new key.",
    )
