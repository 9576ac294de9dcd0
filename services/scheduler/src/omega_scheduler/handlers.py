"""The bus requests that the scheduler answers."""

from __future__ import annotations

from omega_scheduler.access import submitter
from omega_scheduler.leases import LeaseService
from omega_scheduler.service import TaskService
from omega_scheduler.workers import WorkerRegistry
from omegakit.rpc import RpcServer
from omegaproto.messages import Empty
from omegaproto.objects import BlobRefPage
from omegaproto.scopes import Principal
from omegaproto.tasks import (
    CancelTask,
    Claims,
    ClaimTasks,
    CompleteTasks,
    CompletionResults,
    ForgetWorker,
    GetTasks,
    LeaseStatuses,
    ListTaskBlobRefs,
    ListTasks,
    ListWorkers,
    RegisterWorker,
    RenewLeases,
    SubmitTasks,
    Task,
    TaskList,
    WorkerList,
)

_SUBMITS_AT_ONCE = 256


class TaskHandlers:
    """Requests of users."""

    def __init__(self, tasks: TaskService) -> None:
        self._tasks = tasks

    async def serve(self, rpc: RpcServer) -> None:
        """Answer from now on."""
        await rpc.serve(SubmitTasks, self.submit, prefetch=_SUBMITS_AT_ONCE)
        await rpc.serve(GetTasks, self.get)
        await rpc.serve(ListTasks, self.list)
        await rpc.serve(CancelTask, self.cancel)
        await rpc.serve(ListTaskBlobRefs, self.blob_refs)

    async def submit(self, request: SubmitTasks, caller: Principal) -> TaskList:
        """Store tasks."""
        return await self._tasks.submit(request, submitter(request, caller))

    async def get(self, request: GetTasks, _caller: Principal) -> TaskList:
        """Give tasks by id."""
        return await self._tasks.get(request)

    async def list(self, request: ListTasks, _caller: Principal) -> TaskList:
        """List tasks of a bucket."""
        return await self._tasks.list(request)

    async def cancel(self, request: CancelTask, _caller: Principal) -> Task:
        """Cancel a task."""
        return await self._tasks.cancel(request)

    async def blob_refs(self, request: ListTaskBlobRefs, _caller: Principal) -> BlobRefPage:
        """Page through what tasks refer to."""
        return await self._tasks.blob_refs(request)


class WorkerHandlers:
    """Requests of workers, and about them."""

    def __init__(self, leases: LeaseService, workers: WorkerRegistry) -> None:
        self._leases = leases
        self._workers = workers

    async def serve(self, rpc: RpcServer) -> None:
        """Answer from now on."""
        await rpc.serve(ClaimTasks, self.claim)
        await rpc.serve(RenewLeases, self.renew)
        await rpc.serve(CompleteTasks, self.complete)
        await rpc.serve(RegisterWorker, self.register)
        await rpc.serve(ForgetWorker, self.forget)
        await rpc.serve(ListWorkers, self.list)

    async def claim(self, request: ClaimTasks, _caller: Principal) -> Claims:
        """Claim tasks."""
        return await self._leases.claim(request)

    async def renew(self, request: RenewLeases, _caller: Principal) -> LeaseStatuses:
        """Renew leases."""
        return await self._leases.renew(request)

    async def complete(self, request: CompleteTasks, _caller: Principal) -> CompletionResults:
        """Record how attempts ended."""
        return await self._leases.complete(request)

    async def register(self, request: RegisterWorker, _caller: Principal) -> Empty:
        """Hear a worker's heartbeat."""
        await self._workers.register(request)
        return Empty()

    async def forget(self, request: ForgetWorker, _caller: Principal) -> Empty:
        """Take a worker off the list."""
        await self._workers.forget(request.worker)
        return Empty()

    async def list(self, _request: ListWorkers, _caller: Principal) -> WorkerList:
        """List workers and labels."""
        return await self._workers.listing()
