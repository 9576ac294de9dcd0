"""The bus requests that blobstore answers."""

from __future__ import annotations

from omega_blobstore.blobs import BlobService, ref_of
from omega_blobstore.concurrently import mapped
from omega_blobstore.frames.service import FrameService
from omega_blobstore.sweep import Sweeper
from omegakit.rpc import RpcServer
from omegaproto.blobs import BlobInfo, BlobInfos, CreateFrame, GetFrame, StatBlobs, SweepBlobs, Swept
from omegaproto.frames import FrameInfo, FrameManifest
from omegaproto.scopes import Principal

_STATS_AT_ONCE = 16


class Handlers:
    """Requests about blobs, frames and sweeping."""

    def __init__(self, blobs: BlobService, frames: FrameService, sweeper: Sweeper) -> None:
        self._blobs, self._frames, self._sweeper = blobs, frames, sweeper

    async def serve(self, rpc: RpcServer) -> None:
        """Answer from now on."""
        await rpc.serve(StatBlobs, self.stat)
        await rpc.serve(CreateFrame, self.create_frame)
        await rpc.serve(GetFrame, self.get_frame)
        await rpc.serve(SweepBlobs, self.sweep, prefetch=1)

    async def stat(self, request: StatBlobs, _caller: Principal) -> BlobInfos:
        """Describe blobs."""

        async def one(id: str) -> BlobInfo:
            blob = await self._blobs.stat(request.bucket, id)
            return BlobInfo(ref=ref_of(blob), bucket=blob.bucket, created=blob.created)

        return BlobInfos(items=tuple(await mapped(one, request.blob_ids, at_once=_STATS_AT_ONCE)))

    async def create_frame(self, request: CreateFrame, _caller: Principal) -> FrameInfo:
        """Make a frame out of parts."""
        return await self._frames.create(request.bucket, request.parts, request.base)

    async def get_frame(self, request: GetFrame, _caller: Principal) -> FrameManifest:
        """Give the manifest of a frame."""
        return await self._frames.get(request.bucket, request.frame_id)

    async def sweep(self, request: SweepBlobs, _caller: Principal) -> Swept:
        """Remove what no revision refers to."""
        return await self._sweeper.sweep(request.grace_seconds)
