"""The HTTP client between services, over TCP or a Unix socket; the one module of the services that imports httpx2."""

from __future__ import annotations

import httpx2
from httpcore2._async.http11 import AsyncHTTP11Connection

# Bytes of one read: 64 KiB as it comes, which makes a relay of large blobs a matter of counting reads. uvloop gives at
# most 256 KiB at a time.
AsyncHTTP11Connection.READ_NUM_BYTES = 1024 * 1024

AsyncClient = httpx2.AsyncClient
Response = httpx2.Response
TransportError = httpx2.TransportError


def open_client(url: str, *, timeout: float = 30.0, connections: int = 256) -> AsyncClient:
    """Give a client whose paths are relative to `url`: ``http://host:port`` or ``unix:///path/to/socket``."""
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
    times = httpx2.Timeout(timeout, pool=timeout)
    if url.startswith("unix://"):
        transport = httpx2.AsyncHTTPTransport(uds=url.removeprefix("unix://"), limits=limits)
        return AsyncClient(transport=transport, base_url="http://mesh", timeout=times)
    return AsyncClient(base_url=url, limits=limits, timeout=times, trust_env=False)
