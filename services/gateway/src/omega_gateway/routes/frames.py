"""Frames: their manifests, and the rows and columns that a query chooses, as a stream of Arrow."""

from __future__ import annotations

from fastapi import Response

from omega_gateway.access import ReadsFrames, identifier, scoped_router
from omegaproto.frames import FrameManifest, FrameQuery

router = scoped_router("frames")
_ARROW = {"application/vnd.apache.arrow.stream": {"schema": {"type": "string", "format": "binary"}}}


@router.get("/frames/{frame_id}", response_model=FrameManifest)
async def get_frame(caller: ReadsFrames, frame_id: str) -> Response:
    """Describe a frame: its schema and its parts with their statistics."""
    path = f"/v1/frames/{identifier(frame_id)}"
    return await caller.parts.blobstore.download("GET", path, caller.bucket, caller.token, headers={})


@router.post("/frames/{frame_id}/rows", response_class=Response, responses={200: {"content": _ARROW}})
async def read_rows(caller: ReadsFrames, frame_id: str, query: FrameQuery) -> Response:
    """Stream the rows and columns that a query chooses."""
    path = f"/v1/frames/{identifier(frame_id)}/rows"
    headers = {"Content-Type": "application/json"}
    content = query.__pydantic_serializer__.to_json(query)
    return await caller.parts.blobstore.download(
        "POST", path, caller.bucket, caller.token, headers=headers, content=content
    )
