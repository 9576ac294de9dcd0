"""Handing a new task straight to a worker that has a slot free: submit and claim in one write, and no doorbell.

The task is stored as claimed for that worker, so its lease and the sweepers guard it as they guard any claim. One that
only reads is sent while it is being stored; what comes back of it is recorded once it is, or never. A worker
that does not take it (its slot was filled meanwhile, or it is gone) costs a release: then it is rung for like others.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from omega_scheduler.access import only_reads
from omega_scheduler.leases import TOKEN_BYTES, LeaseService
from omega_scheduler.records import claimed_document
from omega_scheduler.settings import SchedulerOptions
from omega_scheduler.slots import IdleSlots
from omegakit.docs import Doc
from omegakit.service import Kit
from omegaproto.errors import OmegaError
from omegaproto.states import Change, Claim, Then, direct
from omegaproto.tasks import DispatchTask, TaskState

_CALL_SECONDS = 3.0


class Parcel(NamedTuple):
    """A task that is claimed for a worker, and its place among those that are stored together."""

    place: int
    doc: Doc
    request: DispatchTask

    @property
    def early(self) -> bool:
        """Say whether it may run before it is known to be stored: it only reads, so running for nothing does no harm.

        When it proves to be a repeated submit, or the store fails, nobody asks for what it gave.
        """
        return only_reads(self.request.claimed.task.spec)


class Dispatcher:
    """Claims new tasks for idle workers, and sends them there."""

    def __init__(self, kit: Kit, slots: IdleSlots, leases: LeaseService, options: SchedulerOptions) -> None:
        self._kit = kit
        self._log = kit.log
        self._slots = slots
        self._leases = leases
        self._policy = options.policy()
        self._sending: set[asyncio.Task[None]] = set()

    def claimed(self, doc: Doc, then: Then) -> tuple[Doc, Then]:
        """Give a task that is about to be stored as claimed for an idle worker; as it is when none is known."""
        worker = self._slots.take(doc["label"]) if then is Then.ring else None
        if worker is None:
            return doc, then
        claim = direct(Claim(worker, secrets.token_urlsafe(TOKEN_BYTES)), doc["created"], self._policy)
        return (claimed_document(doc, claim), Then.nothing) if isinstance(claim, Change) else (doc, then)

    def prepared(self, docs: Sequence[Doc]) -> list[Parcel]:
        """Give those of the tasks that are claimed, each as it goes to its worker once it is stored."""
        return [
            Parcel(place, doc, DispatchTask(claimed=self._leases.handed(doc)))
            for place, doc in enumerate(docs)
            if doc["state"] == TaskState.running
        ]

    def send(self, parcels: Iterable[Parcel]) -> None:
        """Hand stored tasks to the workers that they are claimed for, in the background."""
        for parcel in parcels:
            task = asyncio.create_task(self._send(parcel.doc, parcel.request))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def drain(self) -> None:
        """Return when every task that was sent is taken, or released."""
        while self._sending:
            await asyncio.wait(self._sending)

    async def _send(self, doc: Doc, request: DispatchTask) -> None:
        worker = doc["worker"]
        try:
            if await self._taken(request, worker):
                self._leases.note_taken(doc)
                return
            self._log.debug("task not taken", task_id=doc["_id"], worker=worker)
            self._slots.heard(worker, 0)
        except OmegaError as error:
            self._log.warning("task not dispatched", task_id=doc["_id"], worker=worker, reason=error.message)
            self._slots.forget(worker)
        try:
            await self._leases.release([doc], worker)
        except OmegaError as error:  # its lease ends, and then it is queued
            self._log.warning("task not released", task_id=doc["_id"], reason=error.message)

    async def _taken(self, request: DispatchTask, worker: str) -> bool:
        token = self._kit.tokens.own()
        return (await self._kit.bus.call(request, token=token, route=worker, timeout=_CALL_SECONDS)).taken
