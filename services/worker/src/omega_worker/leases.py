"""Keeping leases: all of a worker's attempts renewed in one call, three times in the life of a lease."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from omega_worker.attempts import Attempt
from omega_worker.outcomes import Stop
from omegakit.service import Kit
from omegaproto.errors import OmegaError
from omegaproto.tasks import LeaseStatus, RenewLeases

_LONGEST_SECONDS = 10.0
_SHORTEST_SECONDS = 0.05
_RETRY_SECONDS = 1.0
_MOST_AT_ONCE = 500


def renewal_interval(expires_at: datetime, now: datetime) -> float:
    """Give how long to wait between renewals, in seconds: a third of the lease, at most 10."""
    return min(max((expires_at - now).total_seconds() / 3, _SHORTEST_SECONDS), _LONGEST_SECONDS)


class LeaseKeeper:
    """The attempts whose leases this worker holds, until their completion is recorded."""

    def __init__(self, kit: Kit, worker: str) -> None:
        self._kit = kit
        self._log: Any = kit.log
        self._worker = worker
        self._held: dict[str, Attempt] = {}
        self._holding = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._interval = _LONGEST_SECONDS

    def start(self) -> None:
        """Renew from now on."""
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Renew no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._held

    def __iter__(self) -> Iterator[Attempt]:
        return iter(list(self._held.values()))

    def __len__(self) -> int:
        return len(self._held)

    def add(self, attempt: Attempt) -> None:
        """Hold an attempt's lease. An older attempt of the same task has lost its own: it ends."""
        if attempt.task_id in self._held:
            self._held[attempt.task_id].stop(Stop.lease_lost)
        self._held[attempt.task_id] = attempt
        self._interval = renewal_interval(attempt.lease.expires_at, self._kit.clock.now())
        self._holding.set()

    def drop(self, attempt: Attempt) -> None:
        """Hold it no more."""
        if self._held.get(attempt.task_id) is attempt:
            del self._held[attempt.task_id]
        if not self._held:
            self._holding.clear()

    async def _keep(self) -> None:
        pause = self._interval
        while True:
            await self._holding.wait()
            await asyncio.sleep(min(pause, self._interval))
            renewed = await self._renew_all()
            pause = self._interval if renewed else min(_RETRY_SECONDS, self._interval)

    async def _renew_all(self) -> bool:
        """Renew; False when the scheduler could not be asked."""
        attempts = list(self._held.values())
        for start in range(0, len(attempts), _MOST_AT_ONCE):
            some = attempts[start : start + _MOST_AT_ONCE]
            request = RenewLeases(worker=self._worker, leases=tuple(attempt.lease for attempt in some))
            try:
                answer = await self._kit.bus.call(request, token=self._kit.tokens.own(), timeout=self._interval + 1)
            except OmegaError as error:
                self._log.warning("leases_not_renewed", why=error.message, leases=len(some))
                return False
            for attempt, status in zip(some, answer.items, strict=True):
                self._apply(attempt, status)
        return True

    def _apply(self, attempt: Attempt, status: LeaseStatus) -> None:
        if self._held.get(attempt.task_id) is not attempt:
            return  # it ended while the answer was on its way
        if status.lease is None:
            self._log.warning("lease_lost", task_id=attempt.task_id)
            attempt.stop(Stop.lease_lost)
            self.drop(attempt)
            return
        attempt.renewed(status.lease, status.access_token)
        if status.cancel_requested:
            attempt.stop(Stop.cancelled)
