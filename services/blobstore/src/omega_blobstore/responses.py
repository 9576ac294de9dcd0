"""Answers over HTTP: errors as JSON, and streams that end whole or visibly broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from omegakit.service import Kit
from omegaproto.errors import ErrorInfo, NotFound, OmegaError

_LINGER_SECONDS = 5.0


def error_response(error: OmegaError) -> JSONResponse:
    """Give an error as ``{"error": ErrorInfo}`` with its status."""
    return JSONResponse({"error": error.info().model_dump(mode="json")}, error.status)


class Refusal(Response):
    """An error as the answer to a request whose body is not read to its end. The connection closes after it.

    The rest of the body is thrown away for some seconds first: closing on a client that still sends makes TCP reset
    the connection, and the client would lose the answer.
    """

    def __init__(self, error: OmegaError) -> None:
        info = ErrorInfo.model_dump_json(error.info())
        super().__init__(f'{{"error":{info}}}', error.status, {"Connection": "close"}, "application/json")

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, throw the rest of the body away, and end."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while (await receive()).get("more_body"):
                    pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def on_omega_error(_request: Request, error: Exception) -> Response:
    """Answer a typed error."""
    if not isinstance(error, OmegaError):
        raise error
    return error_response(error)


async def on_http_error(_request: Request, error: Exception) -> Response:
    """Answer a path or method that no route has."""
    if not isinstance(error, HTTPException):
        raise error
    code = NotFound.code if error.status_code == NotFound.status else "bad_request"
    info = ErrorInfo(code=code, status=error.status_code, message=error.detail, action="See the routes of blobstore.")
    return JSONResponse({"error": info.model_dump(mode="json")}, error.status_code, error.headers)


async def streamed(
    kit: Kit,
    chunks: AsyncGenerator[bytes, None],
    *,
    headers: dict[str, str],
    status: int = 200,
    sent: Callable[[int], None],
) -> Response:
    """Give a response that streams `chunks`. What goes wrong before the first of them is raised here."""
    try:
        first = await anext(chunks, b"")
    except BaseException:
        await chunks.aclose()
        raise
    return _Stream(kit, first, chunks, headers=headers, status=status, sent=sent)


class _Stream(Response):
    """Sends chunks as they come. An error in the middle breaks the transfer off, so that nobody takes it for whole."""

    def __init__(
        self,
        kit: Kit,
        first: bytes,
        chunks: AsyncGenerator[bytes, None],
        *,
        headers: dict[str, str],
        status: int,
        sent: Callable[[int], None],
    ) -> None:
        self._kit, self._first, self._chunks, self._sent = kit, first, chunks, sent
        self.status_code = status
        self.background = None
        self.raw_headers = [(key.lower().encode(), value.encode("latin-1")) for key, value in headers.items()]

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_disconnected(receive))
        try:
            async with aclosing(self._chunks):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                if await self._send_all(send, gone):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OmegaError as error:
            # The status is on its way: an answer that does not end is the one way left to say that it failed.
            self._kit.log.warning("transfer broken off", code=error.code, reason=error.message)
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone

    async def _send_all(self, send: Send, gone: asyncio.Task[None]) -> bool:
        """Send every chunk; False when the client went away."""
        chunk: bytes | None = self._first
        while chunk is not None and not gone.done():
            if chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                self._sent(len(chunk))
            chunk = await anext(self._chunks, None)
        return not gone.done()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
