"""Connections to one gateway, kept open and shared by threads; the SDK's one module that imports urllib3.

What goes wrong is told by how far the request came, for that decides what may be done again.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3 import exceptions
from urllib3.connection import HTTPConnection

from omegaproto.errors import BadRequest

Response = urllib3.BaseHTTPResponse

_CONNECT_SECONDS = 10.0
_KEPT_OPEN = 64


class NotReached(Exception):
    """Nobody listens there: nothing was sent."""


class NoAnswer(Exception):
    """The answer, or its next bytes, did not come in time."""


class BrokenOff(Exception):
    """The connection was lost; the request may or may not have taken effect."""


@contextmanager
def transport_faults() -> Iterator[None]:
    """Turn what urllib3 raises into the three ways in which a transfer fails."""
    try:
        yield
    except (exceptions.NewConnectionError, exceptions.ConnectTimeoutError) as error:
        raise NotReached(str(error)) from error
    except exceptions.ReadTimeoutError as error:
        raise NoAnswer(str(error)) from error
    except (exceptions.HTTPError, OSError) as error:
        raise BrokenOff(str(error) or type(error).__name__) from error


class Connections:
    """A pool of connections to one address, and the credentials that every request carries."""

    def __init__(self, url: str, authorization: str) -> None:
        self.authorization = authorization
        self.move(url)

    def move(self, url: str) -> None:
        """Speak to another address from now on: ``http://host:port/prefix``, https, or ``unix:///path``.

        Raises BadRequest.
        """
        self._pool, self._prefix = _pool(url)

    def close(self) -> None:
        """Close those that are idle; busy ones close when they are done."""
        self._pool.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        headers: Mapping[str, str],
        params: Mapping[str, Any] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        stream: bool = False,
    ) -> Response:
        """Send a request and give its answer, whatever its status; `stream` leaves its body to be read.

        `seconds` is how long to wait for the answer, and between any two pieces of it. A body that is not bytes is sent
        in chunks. Raises NotReached, NoAnswer, BrokenOff.
        """
        query = f"?{urlencode(params, doseq=True)}" if params else ""
        with transport_faults():
            return self._pool.urlopen(
                method,
                f"{self._prefix}{path}{query}",
                body=body,
                headers={**headers, "Authorization": self.authorization},
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=seconds),
                chunked=body is not None and not isinstance(body, bytes | bytearray | memoryview),
                retries=False,
                redirect=False,
                preload_content=not stream,
                decode_content=False,
            )


def _pool(url: str) -> tuple[urllib3.HTTPConnectionPool, str]:
    scheme, _, rest = url.partition("://")
    if scheme == "unix":
        pool = urllib3.HTTPConnectionPool("mesh", maxsize=_KEPT_OPEN)
        pool.ConnectionCls = partial(_UnixConnection, rest)  # type: ignore[assignment]  # it is only ever called
        return pool, ""
    parsed = urllib3.util.parse_url(url)
    if scheme not in {"http", "https"} or not parsed.host:
        raise BadRequest(
            f"{url!r} is no address of a mesh.", action="Use http://host:port, https://host or unix:///path."
        )
    kind = urllib3.HTTPSConnectionPool if scheme == "https" else urllib3.HTTPConnectionPool
    return kind(parsed.host, parsed.port, maxsize=_KEPT_OPEN), (parsed.path or "").rstrip("/")


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(_CONNECT_SECONDS)
        try:
            sock.connect(self._path)
        except OSError as error:
            sock.close()
            raise exceptions.NewConnectionError(self, f"{self._path}: {error}") from error
        self.sock = sock
