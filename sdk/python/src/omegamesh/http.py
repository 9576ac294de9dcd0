"""The SDK's way to the gateway: what is sent, what is repeated, and which errors come out.

Errors come out as the types of :mod:`omegaproto.errors`. What can be repeated safely is repeated while the mesh cannot
be reached: reads, deletes, and writes that carry an idempotency key. When nothing listens any more, a client of the
embedded mesh looks once for its new address: the mesh may have ended with the process that ran it.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, TypeVar
from urllib.parse import quote

from omegamesh.config import Config
from omegamesh.connections import BrokenOff, Connections, NoAnswer, NotReached, Response, transport_faults
from omegaproto.errors import (
    BlobCorrupted,
    CallTimeout,
    ErrorInfo,
    OmegaError,
    Overloaded,
    Unavailable,
    error_from,
)

T = TypeVar("T")
TRIES = 6
BLOCK = 4 * 1024 * 1024
"""Bytes that are checked and handed on together: each hash gives the interpreter lock away and waits to get it back."""
_FIRST_PAUSE_SECONDS = 0.1
_ANSWER_SECONDS = 120.0
_ERROR = 400


def quoted(name: str) -> str:
    """Give a name as it stands in a URL path: everything but the slash is escaped."""
    return quote(name, safe="/")


class MeshClient:
    """HTTP to one gateway, for one user and bucket. Safe to share between threads."""

    def __init__(
        self, config: Config, connections: Connections | None = None, find_again: Callable[[], str] | None = None
    ) -> None:
        """Prepare; `connections` are shared ones, `find_again` gives the address of a mesh that can move."""
        if config.url is None:
            raise ValueError("A client needs a URL.")
        self.config = config
        self._connections = connections or _open(config)
        self._find_again = find_again
        self._headers = {"Bucket": config.bucket}

    def in_bucket(self, bucket: str | None) -> MeshClient:
        """Give a client for another bucket over the same connections."""
        return MeshClient(self.config.in_bucket(bucket), self._connections, self._find_again)

    def use_token(self, token: str) -> None:
        """Log in with another token from now on, over the same connections: a task's token is renewed while it runs."""
        self._connections.authorization = f"Bearer {token}"

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
        timeout: float | None = None,
    ) -> Any:
        """Send one request and give its parsed JSON answer (None when it has no body).

        `body` is a JSON-able value or a pydantic model; `timeout` is in seconds.

        Raises OmegaError: what the mesh answered, as its own type; Unavailable when it cannot be reached.
        """
        content, kind = _encoded(body)
        send = {**self._headers, **(headers or {}), **kind}
        shown = {key: _shown(value) for key, value in (params or {}).items() if value is not None}
        seconds = _ANSWER_SECONDS if timeout is None else timeout + 10.0

        def once() -> Any:
            response = self._connections.request(
                method, path, body=content, params=shown, headers=send, seconds=seconds
            )
            _raise_for(response, method, path)
            return json.loads(response.data) if response.data else None

        return self._made(once, repeatable=repeatable)

    def upload(self, path: str, chunks: Iterable[bytes] | bytes, headers: Mapping[str, str] | None = None) -> Any:
        """Stream bytes up and give the parsed answer. Bytes are sent again when the mesh could not be reached."""
        send = {**self._headers, **(headers or {}), "Content-Type": "application/octet-stream"}

        def once() -> Any:
            response = self._connections.request("POST", path, body=chunks, headers=send, seconds=_ANSWER_SECONDS)
            _raise_for(response, "POST", path)
            return json.loads(response.data)

        return self._made(once, repeatable=isinstance(chunks, bytes | bytearray | memoryview))

    @contextmanager
    def stream(
        self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[Response]:
        """Open a streamed answer to what only reads.

        A transfer that breaks off raises Unavailable, never ends early in silence.
        """
        content, kind = _encoded(body)

        def once() -> Response:
            send = {**self._headers, **(headers or {}), **kind}
            response = self._connections.request(
                method, path, body=content, headers=send, seconds=_ANSWER_SECONDS, stream=True
            )
            if response.status >= _ERROR:
                with closing(response), transport_faults():
                    _raise_for(response, method, path)
            return response

        with closing(self._made(once)) as response:
            try:
                with transport_faults():
                    yield response
            except (NoAnswer, BrokenOff) as error:
                raise _unreachable(error) from error

    def blob(self, blob_id: str, sha256: str, block: int = BLOCK) -> Iterator[bytes]:
        """Stream a blob in blocks of so many bytes; a transfer that breaks off goes on where it broke.

        Raises BlobCorrupted when the bytes are not those of `sha256`, before the last of them or at the end.
        """
        digest, received, tries = hashlib.sha256(), 0, TRIES
        while True:
            try:
                headers = {"Range": f"bytes={received}-"} if received else None
                with self.stream("GET", f"/api/v1/blobs/{blob_id}", headers=headers) as response:
                    for piece in response.stream(block):
                        digest.update(piece)
                        received += len(piece)
                        yield piece
                break
            except Unavailable:
                tries -= 1
                if not tries:
                    raise
                time.sleep(_FIRST_PAUSE_SECONDS)
        if digest.hexdigest() != sha256:
            raise BlobCorrupted(f"Blob {blob_id} arrived with another sha256 than recorded.", action="Put it again.")

    def _made(self, once: Callable[[], T], *, repeatable: bool = True) -> T:
        """Make a call where the mesh is; one that never reached it is made at the mesh's new address, if it has one."""
        find_again = self._find_again

        def there() -> T:
            nonlocal find_again
            try:
                return once()
            except NotReached:
                if find_again is None:
                    raise
                find, find_again = find_again, None
                self._connections.move(find())
                return once()

        return _persistently(there) if repeatable else _translated(there)


def _open(config: Config) -> Connections:
    credentials = f"Bearer {config.token}" if config.token else f"ApiKey {config.userid}:{config.apikey}"
    return Connections(str(config.url), credentials)


def _shown(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _encoded(body: Any) -> tuple[bytes | None, dict[str, str]]:
    if body is None:
        return None, {}
    from pydantic_core import to_json

    return to_json(body, bytes_mode="base64"), {"Content-Type": "application/json"}


_CODES = {401: "unauthenticated", 429: "overloaded", 502: "unavailable", 503: "unavailable", 504: "unavailable"}
"""What a status means when it does not come from a mesh, but from a proxy before it."""


def _raise_for(response: Response, method: str, path: str) -> None:
    if response.status < _ERROR:
        return
    try:
        info = ErrorInfo.model_validate(json.loads(response.data)["error"])
    except (ValueError, KeyError, TypeError):
        info = ErrorInfo(
            code=_CODES.get(response.status, "internal"),
            status=response.status,
            message=f"{method} {path} was answered with status {response.status}.",
            action="See the gateway's log.",
        )
    raise error_from(info)


def _translated(once: Callable[[], T]) -> T:
    try:
        return once()
    except NoAnswer as error:
        raise CallTimeout("The mesh did not answer in time.", action="Try again, or wait longer.") from error
    except (NotReached, BrokenOff) as error:
        raise _unreachable(error) from error


def _persistently(once: Callable[[], T]) -> T:
    pause = _FIRST_PAUSE_SECONDS
    for _ in range(TRIES - 1):
        try:
            return _translated(once)
        except (Unavailable, Overloaded):
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads repeated calls
            pause *= 2
    return _translated(once)


def _unreachable(error: Exception) -> OmegaError:
    return Unavailable(
        f"The mesh cannot be reached: {error or type(error).__name__}.",
        action="Check OMEGA_URL and that the mesh runs (om up, or your platform team).",
    )
