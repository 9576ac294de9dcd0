"""Live workers and the labels they offer, with a short-lived copy in this process.

A label is refused only after the store was read: another replica may have heard of a new worker a moment ago.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from omega_scheduler.slots import IdleSlots
from omegakit.clock import Clock
from omegakit.docs import Collection, Doc, DocStore, Update
from omegaproto.errors import DuplicateKey, UnknownLabel
from omegaproto.tasks import RegisterWorker, WorkerInfo, WorkerList

WORKERS = Collection("workers", expires="expires_at")
_MOST_WORKERS = 1000


class WorkerRegistry:
    """Workers as documents that expire unless their heartbeat is heard."""

    def __init__(
        self,
        docs: DocStore,
        clock: Clock,
        slots: IdleSlots,
        pools: Iterable[str],
        *,
        worker_seconds: float,
        labels_seconds: float,
    ) -> None:
        self._docs = docs
        self._clock = clock
        self._slots = slots
        self._pools = frozenset(pools)
        self._alive_for = timedelta(seconds=worker_seconds)
        self._kept_for = timedelta(seconds=labels_seconds)
        self._offered: dict[str, datetime] = {}
        """Until when each label is on offer, as far as is known here."""
        self._read_at: datetime | None = None

    async def register(self, request: RegisterWorker) -> None:
        """List a worker until it is silent for too long."""
        now = self._clock.now()
        doc: Doc = {
            "labels": list(request.labels),
            "slots": request.slots,
            "running": request.running,
            "seen": now,
            "expires_at": now + self._alive_for,
        }
        await self._upsert(request.worker, doc)
        for label in request.labels:
            self._offered[label] = doc["expires_at"]
        self._slots.registered(request.worker, request.labels, request.idle)

    async def _upsert(self, worker: str, doc: Doc) -> None:
        if await self._docs.update(WORKERS.name, Update(worker, set=doc)) is not None:
            return
        try:
            await self._docs.insert(WORKERS.name, doc | {"_id": worker})
        except DuplicateKey:
            await self._docs.update(WORKERS.name, Update(worker, set=doc))

    async def forget(self, worker: str) -> None:
        """Take a worker off the list."""
        self._slots.forget(worker)
        await self._docs.delete(WORKERS.name, worker)
        self._read_at = None

    async def listing(self) -> WorkerList:
        """List live workers, and the labels on offer."""
        found = await self._read()
        infos = tuple(
            WorkerInfo(
                worker=doc["_id"], labels=doc["labels"], slots=doc["slots"], running=doc["running"], seen=doc["seen"]
            )
            for doc in found
        )
        return WorkerList(items=infos, labels=tuple(sorted(self._labels())))

    async def check(self, labels: Iterable[str]) -> None:
        """Return when every label is on offer. Raises UnknownLabel for the first that is not, naming those that are."""
        wanted = set(labels) - self._pools
        if not wanted or (self._fresh() and wanted <= self._labels()):
            return
        await self._read()
        missing = sorted(wanted - self._labels())
        if missing:
            offered = ", ".join(sorted(self._labels())) or "none"
            raise UnknownLabel(
                f"No worker pool offers the label {missing[0]!r}.",
                action=f"Use one of: {offered}; or start a worker that listens for it.",
                labels=sorted(self._labels()),
            )

    async def _read(self) -> list[Doc]:
        now = self._clock.now()
        page = await self._docs.find(WORKERS.name, limit=_MOST_WORKERS)
        alive = [doc for doc in page.items if doc["expires_at"] > now]
        offered: dict[str, datetime] = {}
        for doc in alive:
            for label in doc["labels"]:
                offered[label] = max(doc["expires_at"], offered.get(label, now))
        self._offered, self._read_at = offered, now
        self._slots.keep(doc["_id"] for doc in alive)
        return alive

    def _fresh(self) -> bool:
        return self._read_at is not None and self._clock.now() - self._read_at <= self._kept_for

    def _labels(self) -> frozenset[str]:
        now = self._clock.now()
        return self._pools | {label for label, until in self._offered.items() if until > now}
