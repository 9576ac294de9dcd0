"""Short-lived signed tokens between services. A token carries the end user and reaches as far as its grants.

Tokens are JWTs signed with Ed25519. Two keys exist: the mesh's own, derived from the mesh secret, with which trusted
services speak for users; and the workers', derived from the worker secret, which proves no more than "a worker". A
worker holds the public half of the mesh's key, so it can check who calls it and can speak for nobody.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from omegakit.settings import AuthSettings
from omegaproto.errors import Unauthenticated
from omegaproto.scopes import ANY_BUCKET, Principal, Role

_ALGORITHM = "EdDSA"
_MESH, _WORKER = "mesh", "worker"
_LEAST_SECRET = 32
_CACHE_SIZE = 4096
_LEEWAY_SECONDS = 5


def derive(secret: str, purpose: str) -> bytes:
    """Give the 32-byte key that `secret` yields for one purpose (HMAC-SHA256 as a key derivation)."""
    return hmac.digest(secret.encode(), b"omega-mesh/" + purpose.encode(), hashlib.sha256)


def worker_secret(mesh_secret: str) -> str:
    """Give the worker secret that belongs to a mesh secret."""
    return base64.urlsafe_b64encode(derive(mesh_secret, "worker")).decode()


def mesh_public_key(mesh_secret: str) -> str:
    """Give the public key that belongs to a mesh secret, as base64 text."""
    return base64.urlsafe_b64encode(_mesh_key(mesh_secret).public_key().public_bytes_raw()).decode()


def _mesh_key(mesh_secret: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(derive(mesh_secret, "mesh-signing"))


def _worker_key(secret: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(derive(secret, "worker-signing"))


def _load_keys(settings: AuthSettings) -> tuple[str, Ed25519PrivateKey, dict[str, Ed25519PublicKey]]:
    if settings.secret is not None:
        secret = settings.secret.get_secret_value()
        if len(secret) < _LEAST_SECRET:
            raise ValueError(f"OMEGA_AUTH__SECRET is too short: give {_LEAST_SECRET} random characters or more.")
        mesh = _mesh_key(secret)
        worker = _worker_key(worker_secret(secret)).public_key()
        return _MESH, mesh, {_MESH: mesh.public_key(), _WORKER: worker}
    if settings.worker_secret is None or settings.mesh_public_key is None:
        raise ValueError(
            "No secret is set: give OMEGA_AUTH__SECRET to a service, "
            "or OMEGA_AUTH__WORKER_SECRET and OMEGA_AUTH__MESH_PUBLIC_KEY to a worker."
        )
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(settings.mesh_public_key))
    return _WORKER, _worker_key(settings.worker_secret.get_secret_value()), {_MESH: public}


class Tokens:
    """Makes and checks the tokens of one service, with a small cache both ways."""

    def __init__(self, settings: AuthSettings, service: str, now: Callable[[], float] = time.time) -> None:
        self._service = service
        self._lifetime = settings.token_seconds
        self._now = now
        self._minted: OrderedDict[tuple[Any, ...], tuple[str, float]] = OrderedDict()
        self._verified: OrderedDict[str, tuple[Principal, float]] = OrderedDict()
        self._key_id, self._key, self._trusted = _load_keys(settings)

    def own(self) -> str:
        """Give this service's own token: the role `service`, or `worker` when signed with the worker secret."""
        role = Role.worker if self._key_id == _WORKER else Role.service
        return self._cached(Principal(userid=f"service:{self._service}", grants={ANY_BUCKET: role}))

    def acting_for(self, principal: Principal, bucket: str) -> str:
        """Give a token that carries `principal` and reaches no further than `bucket`."""
        return self._cached(principal.narrowed(bucket))

    def for_task(self, principal: Principal, expires_at: float) -> str:
        """Give a token for one attempt of a task; it ends with the lease, at `expires_at` (seconds since 1970)."""
        return self._sign(principal, expires_at)

    def _cached(self, principal: Principal) -> str:
        key = (principal.userid, tuple(principal.grants.items()), principal.task_id, principal.key_id)
        found = self._minted.get(key)
        now = self._now()
        if found and found[1] - now > self._lifetime / 2:
            return found[0]
        expires = now + self._lifetime
        token = self._sign(principal, expires)
        _remember(self._minted, key, (token, expires))
        return token

    def _sign(self, principal: Principal, expires_at: float) -> str:
        claims = {"sub": principal.userid, "iss": self._service, "exp": expires_at, "grants": principal.grants}
        extra = {"task": principal.task_id, "key": principal.key_id}
        claims |= {name: value for name, value in extra.items() if value is not None}
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM, headers={"kid": self._key_id})

    def verify(self, token: str) -> Principal:
        """Give the principal that a token carries.

        Raises:
            Unauthenticated: it is malformed, expired, or signed by nobody that this service trusts.
        """
        found = self._verified.get(token)
        if found is None:
            found = self._decode(token)
            _remember(self._verified, token, found)
        principal, expires = found
        if expires + _LEEWAY_SECONDS < self._now():
            raise Unauthenticated("The token has expired.", action="Authenticate again.")
        return principal

    def _decode(self, token: str) -> tuple[Principal, float]:
        try:
            key_id = jwt.get_unverified_header(token).get("kid", "")
            claims = jwt.decode(
                token,
                self._trusted[key_id],
                algorithms=[_ALGORITHM],
                options={"require": ["exp", "sub"], "verify_exp": False},
            )
            grants = {str(bucket): Role(role) for bucket, role in claims.get("grants", {}).items()}
        except (jwt.InvalidTokenError, KeyError, ValueError, AttributeError) as error:
            raise Unauthenticated("The token is not valid here.", action="Authenticate again.") from error
        if key_id == _WORKER:
            grants = {ANY_BUCKET: Role.worker}
        principal = Principal(userid=claims["sub"], grants=grants, task_id=claims.get("task"), key_id=claims.get("key"))
        return principal, float(claims["exp"])


def _remember(cache: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    cache[key] = value
    if len(cache) > _CACHE_SIZE:
        cache.popitem(last=False)
