"""The bus requests that metadata answers, and the events that it tells."""

from __future__ import annotations

from typing import Any

from omega_metadata.service import ObjectService
from omega_metadata.users import UserService
from omegakit.rpc import RpcServer
from omegakit.service import Kit
from omegaproto.errors import Forbidden, Unavailable
from omegaproto.messages import Empty, Event
from omegaproto.objects import (
    BlobRefPage,
    BucketList,
    CommitRevision,
    DropObject,
    GetObject,
    ListBlobRefs,
    ListBuckets,
    ListObjects,
    ListRevisions,
    Metadata,
    ObjectDropped,
    ObjectPage,
    RevisionCommitted,
    RevisionPage,
    TagRevision,
    UpdateAttributes,
)
from omegaproto.scopes import Principal, Role
from omegaproto.users import AccessChanged, Authenticate, CreateUser, IssueKey, KeyIssued, RevokeKey, SetGrants


class ObjectHandlers:
    """Requests about objects."""

    def __init__(self, kit: Kit, objects: ObjectService) -> None:
        self._kit = kit
        self._objects = objects

    async def serve(self, rpc: RpcServer) -> None:
        """Answer from now on."""
        await rpc.serve(CommitRevision, self.commit)
        await rpc.serve(GetObject, self.get)
        await rpc.serve(ListObjects, self.list)
        await rpc.serve(ListRevisions, self.revisions)
        await rpc.serve(UpdateAttributes, self.update_attributes)
        await rpc.serve(TagRevision, self.tag)
        await rpc.serve(DropObject, self.drop)
        await rpc.serve(ListBuckets, self.buckets)
        await rpc.serve(ListBlobRefs, self.blob_refs)

    async def commit(self, request: CommitRevision, caller: Principal) -> Metadata:
        """Make a revision visible and tell of it."""
        metadata, changed = await self._objects.commit(request, caller.userid)
        if changed:
            await self._tell_committed(metadata)
        return metadata

    async def get(self, request: GetObject, _caller: Principal) -> Metadata:
        """Give an object as of one of its revisions."""
        return await self._objects.get(request)

    async def list(self, request: ListObjects, _caller: Principal) -> ObjectPage:
        """List objects of a store."""
        return await self._objects.list(request)

    async def revisions(self, request: ListRevisions, _caller: Principal) -> RevisionPage:
        """List the revisions of an object."""
        return await self._objects.revisions(request)

    async def update_attributes(self, request: UpdateAttributes, _caller: Principal) -> Metadata:
        """Merge attributes and tell of it."""
        metadata = await self._objects.update_attributes(request)
        await self._tell_committed(metadata)
        return metadata

    async def tag(self, request: TagRevision, _caller: Principal) -> Metadata:
        """Move a tag and tell of it."""
        metadata = await self._objects.tag(request)
        await self._tell_committed(metadata)
        return metadata

    async def drop(self, request: DropObject, _caller: Principal) -> Empty:
        """Drop an object and tell of it."""
        await self._objects.drop(request)
        await tell(self._kit, ObjectDropped(bucket=request.bucket, store=request.store, name=request.name))
        return Empty()

    async def buckets(self, _request: ListBuckets, _caller: Principal) -> BucketList:
        """List all buckets."""
        return BucketList(items=tuple(await self._objects.buckets()))

    async def blob_refs(self, request: ListBlobRefs, _caller: Principal) -> BlobRefPage:
        """Page through what revisions refer to."""
        return await self._objects.blob_refs(request)

    async def _tell_committed(self, metadata: Metadata) -> None:
        await tell(
            self._kit,
            RevisionCommitted(
                bucket=metadata.bucket,
                store=metadata.store,
                name=metadata.name,
                revision_id=metadata.revision.id,
            ),
        )


class UserHandlers:
    """Requests about users and keys."""

    def __init__(self, kit: Kit, users: UserService) -> None:
        self._kit = kit
        self._users = users

    async def serve(self, rpc: RpcServer) -> None:
        """Answer from now on."""
        await rpc.serve(Authenticate, self.authenticate)
        await rpc.serve(CreateUser, self.create)
        await rpc.serve(IssueKey, self.issue)
        await rpc.serve(RevokeKey, self.revoke)
        await rpc.serve(SetGrants, self.set_grants)

    async def authenticate(self, request: Authenticate, _caller: Principal) -> Principal:
        """Exchange a key for its principal."""
        return await self._users.authenticate(request.apikey.get_secret_value(), request.userid)

    async def create(self, request: CreateUser, _caller: Principal) -> KeyIssued:
        """Make a user."""
        _check_grantable(request.grants)
        return await self._users.create(request.userid, request.grants)

    async def issue(self, request: IssueKey, _caller: Principal) -> KeyIssued:
        """Make one more key."""
        return await self._users.issue(request.userid, request.expires_at)

    async def revoke(self, request: RevokeKey, _caller: Principal) -> Empty:
        """Revoke a key and tell everybody who caches it."""
        userid = await self._users.revoke(request.key_id)
        await tell(self._kit, AccessChanged(userid=userid, key_id=request.key_id))
        return Empty()

    async def set_grants(self, request: SetGrants, _caller: Principal) -> Empty:
        """Replace grants and tell everybody who caches them."""
        _check_grantable(request.grants)
        await self._users.set_grants(request.userid, request.grants)
        await tell(self._kit, AccessChanged(userid=request.userid))
        return Empty()


def _check_grantable(grants: dict[str, Role]) -> None:
    if {Role.service, Role.worker} & set(grants.values()):
        raise Forbidden(
            "The roles service and worker are the mesh's own and are not granted to users.",
            action="Grant reader, runner, writer or admin.",
        )


async def tell(kit: Kit, event: Event) -> None:
    """Publish an event; the change it tells of is done, so a broker that is away only delays who caches it."""
    try:
        await kit.bus.publish(event)
    except Unavailable as error:
        details: dict[str, Any] = {"subject": event.subject, "reason": error.message}
        kit.log.warning("event not published", **details)
