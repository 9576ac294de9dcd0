"""Blobs: bytes streamed to and from blobstore."""

from __future__ import annotations

from fastapi import Request, Response

from omega_gateway.access import ReadsBlobs, WritesBlobs, identifier, scoped_router
from omega_gateway.errors import ErrorBody
from omegaproto.objects import BlobRef

router = scoped_router("blobs")
_RANGE = ("range", "if-range", "if-none-match")
_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


@router.post(
    "/blobs",
    response_model=BlobRef,
    status_code=201,
    openapi_extra={"requestBody": {"required": True, "content": _BYTES}},
)
async def upload(caller: WritesBlobs, request: Request) -> Response:
    """Store the body as a blob. `X-Content-SHA256` is checked when given; a cut upload leaves nothing."""
    return await caller.parts.blobstore.upload(request, "/v1/blobs", caller.bucket, caller.token)


@router.head("/blobs/{blob_id}", response_class=Response, responses={200: {}, 206: {}, 416: {}})
@router.get(
    "/blobs/{blob_id}",
    response_class=Response,
    responses={
        200: {"content": _BYTES},
        206: {"content": _BYTES, "description": "The range that was asked for."},
        416: {"model": ErrorBody, "description": "The range lies outside the blob."},
    },
)
async def download(caller: ReadsBlobs, blob_id: str, request: Request) -> Response:
    """Stream a blob, or the range of it that a Range header asks for. `X-Content-SHA256` is that of the whole."""
    headers = {name: request.headers[name] for name in _RANGE if name in request.headers}
    path = f"/v1/blobs/{identifier(blob_id)}"
    return await caller.parts.blobstore.download(request.method, path, caller.bucket, caller.token, headers=headers)
