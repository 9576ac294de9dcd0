"""What users do with tasks: submit, look, cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from omega_scheduler.access import task_role
from omega_scheduler.counts import TaskCounts
from omega_scheduler.dispatch import Dispatcher
from omega_scheduler.followups import Followups
from omega_scheduler.records import (
    REPLY_BYTES,
    blob_ids,
    fitting,
    new_document,
    record_of,
    same_request,
    shown_bytes,
    task_of,
)
from omega_scheduler.repository import TaskRepository
from omega_scheduler.settings import SchedulerOptions
from omega_scheduler.workers import WorkerRegistry
from omegakit.batching import GreedyBatcher
from omegakit.docs import Doc
from omegakit.service import Kit
from omegaproto.errors import BadRequest, IdempotencyMismatch, TaskNotFound, TooLarge, Unavailable
from omegaproto.ids import new_id
from omegaproto.objects import BlobRefPage
from omegaproto.scopes import Principal
from omegaproto.states import Cancel, Change, Then, decide
from omegaproto.tasks import (
    CancelTask,
    GetTasks,
    ListTaskBlobRefs,
    ListTasks,
    SubmitTasks,
    Task,
    TaskList,
    TaskSpec,
    TaskState,
)

_INSERTED_AT_ONCE = 1000
_TRIES = 3
_IDS_OF_A_PAGE = 4000


class TaskService:
    """Tasks as users see them."""

    def __init__(
        self,
        kit: Kit,
        repository: TaskRepository,
        workers: WorkerRegistry,
        counts: TaskCounts,
        followups: Followups,
        dispatcher: Dispatcher,
        options: SchedulerOptions,
    ) -> None:
        self._clock = kit.clock
        self._log = kit.log
        self._repository = repository
        self._workers = workers
        self._counts = counts
        self._followups = followups
        self._dispatcher = dispatcher
        self._policy = options.policy()
        self._inserts: GreedyBatcher[list[Doc], list[bool]] = GreedyBatcher(
            self._insert_all,
            max_items=_INSERTED_AT_ONCE,
            max_size=_INSERTED_AT_ONCE,
            size_of=len,
            max_waiting=options.max_waiting,
        )
        self._submitted = kit.metrics.counter("omega_tasks_submitted", "Tasks that were stored.", ("label",))

    async def submit(self, request: SubmitTasks, user: Principal) -> TaskList:
        """Store tasks, each once for its idempotency key, and have them dispatched or rung for in the background.

        Raises:
            UnknownLabel, UnknownAction, Forbidden, BadRequest, TooLarge, Overloaded: nothing was stored.
            IdempotencyMismatch: a key was used for another task; those before and after it are stored.
        """
        made = self._documents(request, user)
        _check_reply([doc for doc, _ in made])
        await self._workers.check({spec.label for spec in request.specs})
        self._counts.admit(len(made))
        stored = await self._store([self._dispatcher.claimed(*each) for each in made], request.specs)
        return TaskList(items=tuple(map(task_of, stored)))

    def _documents(self, request: SubmitTasks, user: Principal) -> list[tuple[Doc, Then]]:
        now = self._clock.now()
        strays = {spec.bucket for spec in request.specs} - {request.bucket}
        if strays:
            raise BadRequest(
                f"The request is for bucket {request.bucket!r} and a task in it for {min(strays)!r}.",
                action="Submit the tasks of each bucket in a request of their own.",
            )
        return [
            new_document(new_id(), spec, user.userid, task_role(spec, user), now, self._policy)
            for spec in request.specs
        ]

    async def _store(self, made: list[tuple[Doc, Then]], specs: Sequence[TaskSpec]) -> list[Doc]:
        for _ in range(_TRIES):
            fresh = await self._inserts.submit([doc for doc, _ in made])
            self._note_stored([each for each, is_new in zip(made, fresh, strict=True) if is_new])
            found = [
                doc if is_new else await self._existing(doc, spec)
                for (doc, _), is_new, spec in zip(made, fresh, specs, strict=True)
            ]
            stored = [doc for doc in found if doc is not None]
            if len(stored) == len(found):
                return stored
        raise Unavailable("Tasks with these idempotency keys end just now.", action="Submit them again.")

    async def _insert_all(self, batch: list[list[Doc]]) -> list[list[bool]]:
        made = [doc for docs in batch for doc in docs]
        storing = asyncio.create_task(self._repository.insert(made))
        await asyncio.sleep(0)  # it is on its way; what is sent to workers next can be signed meanwhile
        parcels = self._dispatcher.prepared(made)
        self._dispatcher.send([each for each in parcels if each.early])
        stored = await storing
        self._dispatcher.send([each for each in parcels if not each.early and stored[each.place]])
        fresh = iter(stored)
        return [[next(fresh) for _ in docs] for docs in batch]

    def _note_stored(self, made: list[tuple[Doc, Then]]) -> None:
        for doc, _ in made:
            self._submitted.labels(doc["label"]).inc()
            self._log.debug("task stored", task_id=doc["_id"], label=doc["label"], state=doc["state"])
        self._followups.follow([(doc, then, None) for doc, then in made])

    async def _existing(self, doc: Doc, spec: TaskSpec) -> Doc | None:
        """Give the task that holds the idempotency key; None when it expired since it refused the insert."""
        found = await self._repository.with_key(doc["bucket"], doc["idempotency_key"])
        if found is not None and not same_request(found, spec):
            raise IdempotencyMismatch(
                f"The idempotency key {spec.idempotency_key!r} was used for another task ({found['_id']}).",
                action="Use a new key for a new task, and repeat a submit with the very same task.",
                task_id=found["_id"],
            )
        return found

    async def get(self, request: GetTasks) -> TaskList:
        """Give tasks by id, as many of the first as fit into a reply. Raises TaskNotFound."""
        docs = [
            self._visible(doc, request.bucket, task_id)
            for task_id, doc in zip(request.task_ids, await self._repository.get(request.task_ids), strict=True)
        ]
        return TaskList(items=tuple(map(task_of, docs[: fitting(docs, shown_bytes)])))

    async def list(self, request: ListTasks) -> TaskList:
        """Give a page of a bucket's tasks, newest first, without results."""
        page = await self._repository.newest(request.bucket, request.state, request.limit, request.after)
        count = fitting(page.items, shown_bytes)
        if count < len(page.items):
            page = await self._repository.newest(request.bucket, request.state, count, request.after)
        return TaskList(items=tuple(task_of(doc, result=False) for doc in page.items), next=page.next)

    async def blob_refs(self, request: ListTaskBlobRefs) -> BlobRefPage:
        """Give a page of the blobs that kept tasks refer to; fewer tasks when theirs are too many for one message."""
        limit = request.limit
        while True:
            page = await self._repository.holding_blobs(request.after, limit)
            found = tuple(id for doc in page.items for id in blob_ids(doc))
            if len(found) <= _IDS_OF_A_PAGE or limit == 1:
                return BlobRefPage(blob_ids=found, next=page.next)
            limit = max(1, limit // 2)

    async def cancel(self, request: CancelTask) -> Task:
        """Cancel a task: at once when it waits, through its worker when it runs. Raises TaskNotFound."""
        while True:  # each turn but the last means that the task went on in the meantime
            (found,) = await self._repository.get([request.task_id])
            doc = self._visible(found, request.bucket, request.task_id)
            change = decide(record_of(doc), Cancel(), self._clock.now(), self._policy)
            if not isinstance(change, Change):
                return task_of(doc)
            (changed,) = await self._repository.change([(request.task_id, change)])
            if changed is not None:
                self._log.info("cancel requested", task_id=request.task_id, state=doc["state"])
                self._followups.follow([(changed, change.then, TaskState(doc["state"]))])
                return task_of(changed)

    async def drain(self) -> None:
        """Return when every submit that was taken is stored and dispatched."""
        await self._inserts.drain()
        await self._dispatcher.drain()

    @staticmethod
    def _visible(doc: Doc | None, bucket: str, task_id: str) -> Doc:
        if doc is None or doc["bucket"] != bucket:
            raise TaskNotFound(
                f"There is no task {task_id!r} in bucket {bucket!r}.",
                action="Check the id and the bucket; results are kept for a limited time.",
            )
        return doc


def _check_reply(docs: list[Doc]) -> None:
    if fitting(docs, shown_bytes) < len(docs):
        raise TooLarge(
            f"{len(docs)} tasks of this size do not fit into one message with their answer.",
            action="Submit fewer tasks at a time, or store their data as datasets.",
            limit=REPLY_BYTES,
        )
