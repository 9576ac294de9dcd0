"""What workers do with tasks: claim, renew, complete. One guarded write for a batch, and a second look where needed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from omega_scheduler.followups import Followups
from omega_scheduler.records import bounded, claim_bytes, fitting, record_of, task_of
from omega_scheduler.repository import TaskRepository
from omega_scheduler.settings import SchedulerOptions
from omega_scheduler.slots import IdleSlots
from omegakit.docs import Doc
from omegakit.service import Kit
from omegaproto.scopes import Principal, Role
from omegaproto.states import (
    Change,
    Claim,
    Fail,
    Lost,
    Release,
    Renew,
    Stopped,
    Succeed,
    TaskEvent,
    Then,
    decide,
    direct,
)
from omegaproto.tasks import (
    ClaimedTask,
    Claims,
    ClaimTasks,
    CompleteTasks,
    Completion,
    CompletionResult,
    CompletionResults,
    Lease,
    LeaseStatus,
    LeaseStatuses,
    RenewLeases,
    TaskState,
)

ItemT = TypeVar("ItemT")
TOKEN_BYTES = 16
"""How much chance is in a lease's token."""
_SIGNED_AT_ONCE = 8


class LeaseService:
    """Tasks as workers see them."""

    def __init__(
        self, kit: Kit, repository: TaskRepository, followups: Followups, slots: IdleSlots, options: SchedulerOptions
    ) -> None:
        self._clock = kit.clock
        self._tokens = kit.tokens
        self._log = kit.log
        self._repository = repository
        self._followups = followups
        self._slots = slots
        self._policy = options.policy()
        self._waited = kit.metrics.histogram(
            "omega_task_wait_seconds", "From due to claimed, or to taken when it was handed over.", ("label",)
        )

    async def claim(self, request: ClaimTasks) -> Claims:
        """Give the named tasks that could be claimed, each with a lease; what a reply cannot hold stays queued."""
        now, task_ids = self._clock.now(), list(dict.fromkeys(request.task_ids))
        events = [Claim(request.worker, secrets.token_urlsafe(TOKEN_BYTES), request.claim_id) for _ in task_ids]
        docs = await self._repository.change(self._direct(task_ids, events))
        claimed = [doc for doc in docs if doc is not None]
        self._followups.follow([(doc, Then.nothing, TaskState.queued) for doc in claimed])
        for doc in claimed:
            self._waited.labels(doc["label"]).observe((now - doc["due_at"]).total_seconds())
        if request.claim_id is not None and len(claimed) < len(task_ids):
            claimed += await self._claimed_before(request, docs, task_ids)
        count = fitting(claimed, claim_bytes)
        await self.release(claimed[count:], request.worker)
        return Claims(items=tuple([self.handed(doc) async for doc in _gently(claimed[:count])]))

    async def _claimed_before(
        self, request: ClaimTasks, docs: Sequence[Doc | None], task_ids: Sequence[str]
    ) -> list[Doc]:
        """Give what an earlier call with the same claim id got, and its caller never heard of."""
        missed = [task_id for task_id, doc in zip(task_ids, docs, strict=True) if doc is None]
        found = await self._repository.get(missed)
        mine = {"state": TaskState.running.value, "worker": request.worker, "claim_id": request.claim_id}
        return [doc for doc in found if doc is not None and mine.items() <= doc.items()]

    def note_taken(self, doc: Doc) -> None:
        """Note how long a task waited that a worker took when it was handed to it."""
        self._waited.labels(doc["label"]).observe((self._clock.now() - doc["due_at"]).total_seconds())

    async def release(self, docs: list[Doc], worker: str) -> None:
        """Queue claimed tasks again that did not reach their worker."""
        if docs:
            released = [Completion(task_id=doc["_id"], token=doc["token"], outcome="released") for doc in docs]
            await self.complete(CompleteTasks(worker=worker, completions=tuple(released)))

    def handed(self, doc: Doc) -> ClaimedTask:
        """Give a claimed task as its worker gets it."""
        return ClaimedTask(
            task=task_of(doc, whole=True, result=False), lease=_lease(doc), access_token=self._access_token(doc)
        )

    def _access_token(self, doc: Doc) -> str:
        user = Principal(userid=doc["userid"], grants={doc["bucket"]: Role(doc["role"])}, task_id=doc["_id"])
        return self._tokens.for_task(user, doc["wake_at"].timestamp())

    async def renew(self, request: RenewLeases) -> LeaseStatuses:
        """Move the expiry of leases that still hold, and tell which tasks are to be cancelled."""
        task_ids = [lease.task_id for lease in request.leases]
        events = [Renew(lease.token) for lease in request.leases]
        docs = await self._repository.change(self._direct(task_ids, events))
        statuses = [self._status(*each) async for each in _gently(list(zip(task_ids, docs, strict=True)))]
        return LeaseStatuses(items=tuple(statuses))

    def _status(self, task_id: str, doc: Doc | None) -> LeaseStatus:
        if doc is None:
            return LeaseStatus(task_id=task_id)
        return LeaseStatus(
            task_id=task_id,
            lease=_lease(doc),
            cancel_requested=doc["cancel_requested"],
            access_token=self._access_token(doc),
        )

    async def complete(self, request: CompleteTasks) -> CompletionResults:
        """Record how attempts ended, each once; a repeated completion is answered as the first one was."""
        self._slots.heard(request.worker, request.idle)
        completions = [bounded(completion) for completion in request.completions]
        results: dict[int, CompletionResult] = {}
        await self._complete_directly(completions, results)
        while left := [place for place in range(len(completions)) if place not in results]:
            # Each turn but the last means that a cancel came in between, and that happens to a task once.
            await self._complete_by_record(completions, left, results)
        return CompletionResults(items=tuple(results[place] for place in range(len(completions))))

    async def _complete_directly(self, completions: list[Completion], results: dict[int, CompletionResult]) -> None:
        now = self._clock.now()
        made = [(place, direct(_event(each), now, self._policy)) for place, each in enumerate(completions)]
        changes = [(place, completions[place].task_id, change) for place, change in made if change is not None]
        await self._record(changes, results)

    async def _complete_by_record(
        self, completions: list[Completion], left: list[int], results: dict[int, CompletionResult]
    ) -> None:
        now, changes = self._clock.now(), list[tuple[int, str, Change]]()
        docs = await self._repository.get([completions[place].task_id for place in left])
        for place, doc in zip(left, docs, strict=True):
            completion = completions[place]
            if doc is None:
                results[place] = CompletionResult(task_id=completion.task_id, recorded=False)
                continue
            change = decide(record_of(doc), _event(completion), now, self._policy)
            if isinstance(change, Change):
                changes.append((place, completion.task_id, change))
            else:
                recorded = doc["done_token"] == completion.token
                state = TaskState(doc["state"])
                results[place] = CompletionResult(task_id=completion.task_id, recorded=recorded, state=state)
        await self._record(changes, results)

    async def _record(self, changes: list[tuple[int, str, Change]], results: dict[int, CompletionResult]) -> None:
        """Apply changes; those that were not applied get no result."""
        if not changes:
            return
        docs = await self._repository.change([(task_id, change) for _, task_id, change in changes])
        followed: list[tuple[Doc, Then, TaskState | None]] = []
        for (place, task_id, change), doc in zip(changes, docs, strict=True):
            if doc is not None:
                followed.append((doc, change.then, TaskState.running))
                results[place] = CompletionResult(task_id=task_id, recorded=True, state=TaskState(doc["state"]))
        self._followups.follow(followed)
        await asyncio.sleep(0)  # the event goes out before the answer: somebody waits for it

    def _direct(self, task_ids: Sequence[str], events: Sequence[TaskEvent]) -> list[tuple[str, Change]]:
        now = self._clock.now()
        changes = [(task_id, direct(event, now, self._policy)) for task_id, event in zip(task_ids, events, strict=True)]
        return [(task_id, change) for task_id, change in changes if change is not None]


async def _gently(items: Sequence[ItemT]) -> AsyncIterator[ItemT]:
    """Give items, and let others run now and then: signing a token takes about 0.1 ms."""
    for count, item in enumerate(items, 1):
        yield item
        if count % _SIGNED_AT_ONCE == 0:
            await asyncio.sleep(0)


def _lease(doc: Doc) -> Lease:
    return Lease(task_id=doc["_id"], token=doc["token"], expires_at=doc["wake_at"])


def _event(completion: Completion) -> TaskEvent:
    match completion.outcome:
        case "succeeded":
            return Succeed(completion.token, completion.result)
        case "failed":
            return Fail(completion.token, completion.error, completion.retryable)
        case "cancelled":
            return Stopped(completion.token)
        case "released":
            return Release(completion.token)
        case _:
            return Lost(completion.token, completion.error)
