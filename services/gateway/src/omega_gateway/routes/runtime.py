"""The runtime: whether the mesh answers, which workers live, and which labels can be required."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import Response

from omega_gateway.access import ReadsRuntime, reply, scoped_router
from omegaproto.messages import Message
from omegaproto.tasks import ListWorkers, WorkerList

router = scoped_router("runtime")


class Ping(Message):
    """A sign of life, and who the mesh takes the caller for."""

    ping: datetime
    userid: str
    bucket: str


class Labels(Message):
    """Labels that tasks may require."""

    items: tuple[str, ...]


@router.get("/ping", response_model=Ping)
async def ping(caller: ReadsRuntime) -> Response:
    """Answer, with who is asking and the bucket that is meant."""
    return reply(Ping(ping=datetime.now(UTC), userid=caller.principal.userid, bucket=caller.bucket))


@router.get("/runtime/workers", response_model=WorkerList)
async def list_workers(caller: ReadsRuntime) -> Response:
    """List the live workers and the labels on offer."""
    return reply(await caller.call_as_mesh(ListWorkers()))


@router.get("/runtime/labels", response_model=Labels)
async def list_labels(caller: ReadsRuntime) -> Response:
    """List the labels on offer."""
    return reply(Labels(items=(await caller.call_as_mesh(ListWorkers())).labels))
