"""Claiming: what rang is claimed in one call as far as there is room, and the next call takes what rang meanwhile.

Room is the free slots, and a few more while tasks take milliseconds (see `pace`). When nothing ended for a moment and
more waits than can run, the worker stops listening and gives everything back that it has not begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from omega_worker.doorbells import Doorbells
from omega_worker.pace import Pace
from omega_worker.settings import WorkerOptions
from omegakit.service import Kit
from omegaproto.errors import OmegaError
from omegaproto.ids import new_id
from omegaproto.tasks import ClaimedTask, ClaimTasks

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_CALL_SECONDS = 10.0
_CLOSE_SECONDS = 5.0
STALL_SECONDS = 0.25
"""How long what waits may wait for a slot here before it is given to others."""


class Claimer:
    """Takes doorbells, claims their tasks, and hands these to `begin`."""

    def __init__(
        self,
        kit: Kit,
        options: WorkerOptions,
        begin: Callable[[ClaimedTask], None],
        release_waiting: Callable[[], None],
    ) -> None:
        self._kit = kit
        self._log: Any = kit.log
        self._options = options
        self._begin = begin
        self._release_waiting = release_waiting
        self._wake = asyncio.Event()
        self._bells = Doorbells(kit, options.label_names, self._wake.set)
        self._pace = Pace(options.slots, options.claim_ahead)
        self._stall: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.active = 0
        """Attempts that were claimed and have not ended."""

    @property
    def room(self) -> int:
        """Give how many tasks may be claimed now."""
        return self._options.slots + self._pace.ahead - self.active

    @property
    def idle(self) -> int:
        """Give how many tasks may be handed to this worker now: free slots that no doorbell waits for."""
        return 0 if self._closing else max(self._options.slots - self.active - len(self._bells), 0)

    def take(self, item: ClaimedTask) -> bool:
        """Begin a task that was handed to this worker; False when there is no slot free for it."""
        if self.idle == 0:
            return False
        self.active += 1
        self._begin(item)
        return True

    def start(self) -> None:
        """Listen and claim from now on."""
        self._bells.start(self._options.slots + self._options.claim_ahead)
        self._task = asyncio.create_task(self._claim_all())

    async def close(self) -> None:
        """Take no more, and return when what was asked for is answered."""
        self._closing = True
        self._bells.pause()
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._stall is not None:
            self._stall.cancel()
        await self._bells.close()

    def ended(self, seconds: float | None) -> None:
        """Hear that an attempt ended, which ran for `seconds` (None: it never began)."""
        self.active -= 1
        if seconds is not None:
            self._pace.note(seconds)
        self._listen()
        self._wake.set()
        self._watch_stall(again=True)

    def _listen(self) -> None:
        """Listen again after a pause; and listen for more at a time when tasks became short."""
        wanted = self._options.slots + self._pace.ahead
        if self._closing or self.room <= 0:
            return
        if self._bells.prefetch == 0 or self._bells.prefetch * 2 <= wanted:
            self._bells.listen(wanted if self._pace.ahead else self.room)

    async def _claim_all(self) -> None:
        while not self._closing:
            await self._wake.wait()
            self._wake.clear()
            while not self._closing and self.room > 0 and len(self._bells):
                await self._claim_some()
            self._watch_stall()

    async def _claim_some(self) -> None:
        bells = self._bells.take(self.room)
        try:
            claimed = await self._claim(tuple(bell.doorbell.task_id for bell in bells))
        except asyncio.CancelledError:
            self._bells.give_back(bells)
            raise
        for item in claimed:
            self.active += 1
            self._begin(item)
        self._bells.claimed(bells)

    async def _claim(self, task_ids: tuple[str, ...]) -> tuple[ClaimedTask, ...]:
        """Claim, again and again until there is an answer: a claim that is repeated gives the same leases."""
        request, pause = (
            ClaimTasks(worker=self._options.name, task_ids=task_ids, claim_id=new_id()),
            _FIRST_PAUSE_SECONDS,
        )
        while True:
            try:
                claims = await self._kit.bus.call(request, token=self._kit.tokens.own(), timeout=_CALL_SECONDS)
            except OmegaError as error:
                self._log.warning("tasks_not_claimed", why=error.message, tasks=len(task_ids))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            else:
                return claims.items

    def _watch_stall(self, *, again: bool = False) -> None:
        """Have an eye on what waits here: `again` begins the time anew, since something ended."""
        waits = self.active > self._options.slots or (self.room <= 0 and len(self._bells) > 0)
        if self._stall is not None and (again or not waits):
            self._stall.cancel()
            self._stall = None
        if waits and self._stall is None and not self._closing:
            self._stall = asyncio.get_running_loop().call_later(STALL_SECONDS, self._stalled)

    def _stalled(self) -> None:
        self._stall = None
        if not self._closing:
            self._bells.pause()
            self._release_waiting()
