"""Bytes between a client and blobstore, relayed in constant memory both ways. No retries, and no half transfers.

A cut upload is passed on as a cut, so blobstore keeps nothing of it; a broken download ends without its last chunk,
so the client sees that it broke.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping

from pydantic_core import from_json, to_json
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp

from omega_gateway.settings import GatewayOptions
from omegakit.http import Response as Upstream
from omegakit.http import TransportError, open_client
from omegakit.logs import get_logger
from omegakit.requestid import outgoing
from omegaproto.errors import CallTimeout, ErrorInfo, OmegaError, Unavailable

_UP = ("content-length", "content-type", "x-content-sha256")
_DOWN = (
    "content-length", "content-type", "content-range", "accept-ranges", "etag", "x-content-sha256", "last-modified",
)  # fmt: skip
_MAX_ANSWER = 1024 * 1024


class TransferBroken(Exception):
    """A transfer ended early after its answer had begun: the connection to the client must break, not end well."""


class Blobstore:
    """The HTTP side of blobstore."""

    def __init__(self, options: GatewayOptions, peers: Mapping[str, ASGIApp]) -> None:
        self._idle = options.idle_seconds
        self._client = open_client(
            options.blobstore_url, timeout=options.idle_seconds, connections=options.max_transfers, peers=peers
        )

    async def stop(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def upload(self, request: Request, path: str, bucket: str, token: str) -> Response:
        """Stream a request's body to blobstore and give its answer. Raises Unavailable, CallTimeout."""
        headers = _kept(request.headers, _UP) | _identity(token)
        answer = await self._open("POST", path, bucket, headers, self._body(request))
        return await _whole(answer)

    async def download(
        self,
        method: str,
        path: str,
        bucket: str,
        token: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None = None,
    ) -> Response:
        """Give blobstore's answer as a stream; an error that it answered with passes as it is. Raises Unavailable."""
        answer = await self._open(method, path, bucket, dict(headers) | _identity(token), content)
        if answer.is_error or method == "HEAD":
            return await _whole(answer)
        kept = _kept(answer.headers, _DOWN)
        return StreamingResponse(_chunks(answer), status_code=answer.status_code, headers=kept)

    async def _open(
        self,
        method: str,
        path: str,
        bucket: str,
        headers: dict[str, str],
        content: bytes | AsyncIterator[bytes] | None,
    ) -> Upstream:
        request = self._client.build_request(method, path, params={"bucket": bucket}, headers=headers, content=content)
        try:
            return await self._client.send(request, stream=True)
        except TransportError as error:
            raise _unreachable(error) from error

    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        chunks = request.stream()
        while True:
            try:
                async with asyncio.timeout(self._idle):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise CallTimeout(
                    f"The upload stood still for {self._idle:g} s and was cut; nothing was stored.",
                    action="Upload it again.",
                ) from None
            if chunk:
                yield chunk


def _identity(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} | outgoing()


def _kept(headers: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: headers[name] for name in names if name in headers}


async def _whole(answer: Upstream) -> Response:
    """Give a small answer whole: what was stored, or why nothing was."""
    body = b""
    try:
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > _MAX_ANSWER:
                raise OmegaError("Blobstore's answer is too long.", action="See its log.")
    except TransportError as error:
        raise _unreachable(error) from error
    finally:
        await answer.aclose()
    if answer.is_error:
        body = _with_message(body)
    return Response(body, answer.status_code, headers=_kept(answer.headers, _DOWN) | {"content-length": str(len(body))})


def _with_message(body: bytes) -> bytes:
    """Give blobstore's error in the shape of all errors here."""
    try:
        info = ErrorInfo.model_validate(from_json(body)["error"])
    except (ValueError, KeyError, TypeError):
        info = OmegaError("Blobstore answered with an error of its server.", action="See its log.").info()
    return to_json({"error": info, "message": f"{info.message} {info.action}".strip()})


async def _chunks(answer: Upstream) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    except TransportError as error:
        get_logger("gateway").warning("download_broken", path=answer.request.url.path, why=repr(error))
        raise TransferBroken from error
    finally:
        await answer.aclose()


def _unreachable(error: Exception) -> OmegaError:
    return Unavailable(
        f"Blobstore cannot be reached, or broke off: {type(error).__name__}.", action="Try again in a moment."
    )
