"""The HTTP interface of blobstore: bytes in and out. Callers are services with a token; users reach it by the gateway.

Every route takes ``Authorization: Bearer <token>`` (`kit.tokens.acting_for(principal, bucket)`) and ``?bucket=<name>``,
and answers an error as ``{"error": ErrorInfo}`` with its status. A blob or frame of another bucket is not there.

::

    POST /v1/blobs?bucket=B                      scope blob.write
        body: the bytes. Headers, all optional: Content-Length, X-Content-SHA256 (hexadecimal).
        201 BlobRef as JSON. 400 checksum_mismatch | incomplete_upload, 413 too_large: nothing was stored.
        A refusal in the middle of the body closes the connection after it.
    GET  /v1/blobs/{id}?bucket=B                 scope blob.read; HEAD too
        200, or 206 with Range (one range; If-Range too), 416 when it is outside the blob.
        Headers: Content-Length, ETag ("<sha256>"), X-Content-SHA256 (of the whole blob), Accept-Ranges.
        A blob that proves damaged on the way ends in a broken transfer (or 500 blob_corrupted before the first byte).
    GET  /v1/frames/{frame_id}?bucket=B          scope frame.read
        200 FrameManifest as JSON, of any size (the bus request GetFrame carries small ones only).
    POST /v1/frames/{frame_id}/rows?bucket=B     scope frame.read
        body: FrameQuery as JSON. 200 Arrow IPC stream (application/vnd.apache.arrow.stream), chunked.
        400 unknown_column | bad_filter | bad_body, 404 blob_not_found come before the first byte.
        When rows are filtered or sliced, the column ``__omega_row__`` (int64, last) holds each row's position in the
        whole frame, counted from 0 over all its parts: see `omegaproto.frames.ROW_COLUMN`.
    GET  /healthz /readyz /metrics               no token
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from omega_blobstore.access import bucket_of
from omega_blobstore.blobs import BlobService
from omega_blobstore.frames.service import FrameService
from omega_blobstore.metrics import BlobstoreMetrics
from omega_blobstore.ranges import ByteRange, Unsatisfiable, parse_range
from omega_blobstore.responses import Refusal, error_response, streamed
from omegakit.service import Kit
from omegaproto.errors import BadBody, BadRequest, IncompleteUpload, OmegaError
from omegaproto.frames import FrameQuery

ARROW_STREAM = "application/vnd.apache.arrow.stream"
_SHA256_DIGITS = 64
_MAX_QUERY_BYTES = 4 * 1024 * 1024


class BlobRoutes:
    """Uploads and downloads."""

    def __init__(self, kit: Kit, blobs: BlobService, metrics: BlobstoreMetrics) -> None:
        self._kit, self._blobs, self._metrics = kit, blobs, metrics

    def routes(self) -> list[Route]:
        """Give the routes."""
        return [
            Route("/v1/blobs", self.upload, methods=["POST"]),
            Route("/v1/blobs/{id}", self.download, methods=["GET"]),
        ]

    async def upload(self, request: Request) -> Response:
        """Store the body as a new blob."""
        body = _Body(request)
        try:
            bucket = bucket_of(request, self._kit.tokens, "blob.write")
            sha256, length = _announced(request)
            ref = await self._blobs.put(bucket, body.chunks(), sha256=sha256, length=length)
        except OmegaError as error:
            return error_response(error) if body.ended else Refusal(error)
        return JSONResponse(ref.model_dump(mode="json"), 201)

    async def download(self, request: Request) -> Response:
        """Stream a blob, or a range of it."""
        bucket = bucket_of(request, self._kit.tokens, "blob.read")
        blob = await self._blobs.stat(bucket, request.path_params["id"])
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
            "ETag": f'"{blob.sha256}"',
            "X-Content-SHA256": blob.sha256,
        }
        try:
            wanted = _wanted(request, blob.sha256, blob.length)
        except Unsatisfiable:
            error = BadRequest("The range is outside the blob.", action=f"Ask for bytes below {blob.length:,}.")
            info = error.info().model_copy(update={"status": 416}).model_dump(mode="json")
            return JSONResponse({"error": info}, 416, {"Content-Range": f"bytes */{blob.length}"})
        span, status = wanted or ByteRange(0, blob.length), 206 if wanted else 200
        headers["Content-Length"] = str(span.stop - span.start)
        if wanted:
            headers["Content-Range"] = span.content_range(blob.length)
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        chunks = self._blobs.read(blob, span.start, span.stop)
        return await streamed(self._kit, chunks, headers=headers, status=status, sent=self._metrics.bytes_out.inc)


class FrameRoutes:
    """Manifests and rows of frames."""

    def __init__(self, kit: Kit, frames: FrameService, metrics: BlobstoreMetrics) -> None:
        self._kit, self._frames, self._metrics = kit, frames, metrics

    def routes(self) -> list[Route]:
        """Give the routes."""
        return [
            Route("/v1/frames/{id}", self.manifest, methods=["GET"]),
            Route("/v1/frames/{id}/rows", self.rows, methods=["POST"]),
        ]

    async def manifest(self, request: Request) -> Response:
        """Give the manifest of a frame."""
        bucket = bucket_of(request, self._kit.tokens, "frame.read")
        manifest = await self._frames.get(bucket, request.path_params["id"])
        return Response(manifest.model_dump_json(), media_type="application/json")

    async def rows(self, request: Request) -> Response:
        """Stream the rows that a query asks for."""
        bucket = bucket_of(request, self._kit.tokens, "frame.read")
        query = await _query(request)
        chunks = await self._frames.rows(bucket, request.path_params["id"], query)
        headers = {"Content-Type": ARROW_STREAM}
        return await streamed(self._kit, chunks, headers=headers, sent=self._metrics.bytes_out.inc)


def _announced(request: Request) -> tuple[str | None, int | None]:
    """Give the sha256 and length that the headers announce."""
    sha256 = request.headers.get("x-content-sha256")
    if sha256 is not None and (len(sha256) != _SHA256_DIGITS or set(sha256.lower()) - set("0123456789abcdef")):
        raise BadRequest("X-Content-SHA256 is not a sha256.", action="Send 64 hexadecimal digits.")
    length = request.headers.get("content-length")
    return sha256, int(length) if length is not None else None


class _Body:
    """The body of a request while it is read."""

    def __init__(self, request: Request) -> None:
        self._receive = request.receive
        self.ended = False
        """Whether it was read to its end, or its sender is gone."""

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Stream it. Raises IncompleteUpload when the connection is cut."""
        while not self.ended:
            message = await self._receive()
            self.ended = not message.get("more_body", False)
            if message["type"] == "http.disconnect":
                raise IncompleteUpload(
                    "The connection was cut before the end of the upload; nothing was stored.", action="Upload again."
                )
            if message.get("body"):
                yield message["body"]


def _wanted(request: Request, sha256: str, length: int) -> ByteRange | None:
    if request.headers.get("if-range", f'"{sha256}"') != f'"{sha256}"':
        return None
    return parse_range(request.headers.get("range"), length)


async def _query(request: Request) -> FrameQuery:
    body = bytearray()
    async for chunk in _Body(request).chunks():
        body += chunk
        if len(body) > _MAX_QUERY_BYTES:
            raise BadBody("The query is over 4 MiB.", action="Filter by a range instead of a long list of values.")
    try:
        return FrameQuery.model_validate_json(bytes(body) or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BadBody(
            f"The query is not a FrameQuery: {where}: {first['msg']}.", action='Send {"where": [["x__gt", 1]]}.'
        ) from error
