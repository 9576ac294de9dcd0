"""Who is calling: reading the Authorization header (pure), and keys checked, until metadata says otherwise."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from pydantic import SecretStr

from omega_gateway.cache import ReadThrough
from omega_gateway.limits import Turns
from omega_gateway.settings import GatewayOptions
from omegakit.bus import Bus
from omegakit.tokens import Tokens
from omegaproto.errors import BadRequest, Unauthenticated
from omegaproto.scopes import DEFAULT_BUCKET, Principal
from omegaproto.users import AccessChanged, Authenticate

MAX_HEADER = 8192
_KEY = re.compile(r"omk_[0-9A-Za-z]{1,64}_[0-9A-Za-z_\-]{1,256}")
_USER = re.compile(r"[A-Za-z0-9_.@-]{1,128}")
_BUCKET = re.compile(r"[A-Za-z0-9_.\-]{1,128}")
_DOTS_IN_JWT = 2


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a header claims: an API key, perhaps with the user that it should belong to, or a signed token."""

    secret: str
    userid: str | None = None
    is_token: bool = False


def refused() -> Unauthenticated:
    """Give the one answer to every wrong credential, so that nobody learns which part of it was wrong."""
    return Unauthenticated(
        "The credentials are unknown, expired or revoked, or belong to another user.",
        action="Check OMEGA_USERID and OMEGA_APIKEY, or ask an administrator for a new key.",
    )


def parse_authorization(header: str) -> Credentials:
    """Read ``userid:apikey``, ``ApiKey userid:apikey``, ``Bearer apikey`` or ``Bearer token``.

    Raises Unauthenticated.
    """
    scheme, _, rest = header.strip().partition(" ")
    value = rest.strip()
    match scheme.lower():
        case "bearer" if value.count(".") == _DOTS_IN_JWT and " " not in value:
            return Credentials(value, is_token=True)
        case "bearer":
            return _key(value, None)
        case "apikey":
            return _pair(value)
        case _ if not value:
            return _pair(scheme)
    raise refused()


def _pair(text: str) -> Credentials:
    userid, _, key = text.partition(":")
    if _USER.fullmatch(userid) is None:
        raise refused()
    return _key(key, userid)


def _key(text: str, userid: str | None) -> Credentials:
    if _KEY.fullmatch(text) is None:
        raise refused()
    return Credentials(text, userid)


def bucket_of(header: str | None) -> str:
    """Give the bucket that a Bucket header selects; none, an empty one and ``default`` are the default bucket.

    Raises BadRequest when it cannot name a bucket.
    """
    if not header or header == "default":
        return DEFAULT_BUCKET
    if _BUCKET.fullmatch(header) is None:
        raise BadRequest(
            f"{header[:80]!r} cannot name a bucket.", action="Use up to 128 letters, digits, dots, dashes, underscores."
        )
    return header


class Authenticator:
    """Turns Authorization headers into principals; each key is checked with metadata once in a while."""

    def __init__(self, bus: Bus, tokens: Tokens, options: GatewayOptions) -> None:
        self._bus = bus
        self._tokens = tokens
        self._turns = Turns(options.key_checks, options.key_checks_waiting, "API keys wait to be checked")
        self._known: ReadThrough[bytes, Principal | Unauthenticated] = ReadThrough(
            size=options.keys_cached,
            seconds=lambda found: options.key_seconds if isinstance(found, Principal) else options.refused_seconds,
        )

    async def start(self) -> None:
        """Listen for revoked keys and changed grants."""
        await self._bus.subscribe(AccessChanged, self._access_changed)
        self._bus.on_reconnect(self._known.clear)

    async def stop(self) -> None:
        """Let go of what is being checked."""
        await self._known.close()

    def known(self, header: bytes) -> Principal | None:
        """Give the principal of a header that was checked before, if it was; asks nobody."""
        found = self._known.get(_digest(header))
        return found if isinstance(found, Principal) else None

    async def principal(self, header: bytes | None) -> Principal:
        """Give who a header speaks for.

        Raises:
            Unauthenticated: nobody that the mesh knows; the same for every reason.
            Overloaded: too many keys are being checked.
            Unavailable: metadata cannot be reached.
        """
        if header is None:
            raise Unauthenticated(
                "The request carries no credentials.",
                action="Send `Authorization: ApiKey userid:apikey`, or `Authorization: Bearer apikey`.",
            )
        if len(header) > MAX_HEADER:
            raise refused()
        found = self._known.get(_digest(header)) or await self._checked(header)
        if isinstance(found, Unauthenticated):
            raise refused()
        return found

    async def _checked(self, header: bytes) -> Principal | Unauthenticated:
        credentials = parse_authorization(header.decode("latin-1"))
        if credentials.is_token:
            return self._verified(credentials.secret)
        return await self._known.read(_digest(header), lambda: self._ask(credentials))

    def _verified(self, token: str) -> Principal | Unauthenticated:
        try:
            return self._tokens.verify(token)
        except Unauthenticated as error:
            return error

    async def _ask(self, credentials: Credentials) -> Principal | Unauthenticated:
        request = Authenticate(apikey=SecretStr(credentials.secret), userid=credentials.userid)
        async with self._turns:
            try:
                return await self._bus.call(request, token=self._tokens.own())
            except Unauthenticated as error:
                return error.with_traceback(None)

    async def _access_changed(self, event: AccessChanged) -> None:
        self.forget(event.userid)

    def forget(self, userid: str) -> None:
        """Forget everything about a user's keys, and every refusal."""
        self._known.evict(lambda _, found: not isinstance(found, Principal) or found.userid == userid)

    def forget_key(self, key_id: str) -> None:
        """Forget one key, and every refusal."""
        self._known.evict(lambda _, found: not isinstance(found, Principal) or found.key_id == key_id)


def _digest(header: bytes) -> bytes:
    return hashlib.sha256(header).digest()
