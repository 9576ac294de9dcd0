"""Doorbells of all labels, taken only while there is room, and given back when there is none for a moment.

A doorbell that waits here is one that an idle worker elsewhere does not hear; so a busy worker stops listening, rings
again for what it took, and listens anew when a slot is free.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from omegakit.bus import Subscription
from omegakit.service import Kit
from omegaproto.errors import OmegaError
from omegaproto.messages import Doorbell

_RETRY_SECONDS = 0.5


@dataclass(eq=False)
class WaitingBell:
    """A doorbell that is not acknowledged yet. Settled with True it is done, with False it is rung again."""

    doorbell: Doorbell
    settled: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def settle(self, done: bool) -> None:
        """Let its handler return."""
        if not self.settled.done():
            self.settled.set_result(done)


class Doorbells:
    """The doorbells that wait for a claim, in order of arrival."""

    def __init__(self, kit: Kit, labels: tuple[str, ...], arrived: Callable[[], None]) -> None:
        self._kit = kit
        self._log: Any = kit.log
        self._labels = labels
        self._arrived = arrived
        self._waiting: dict[str, WaitingBell] = {}
        self._taken: set[str] = set()
        self._subscriptions: list[Subscription] = []
        self._chores: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self.prefetch = 0
        """How many doorbells of each label may wait; 0 while nobody listens."""

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, count: int) -> list[WaitingBell]:
        """Give the oldest doorbells to claim. The caller settles them, after `claimed`."""
        bells = [self._waiting.pop(task_id) for task_id in list(self._waiting)[:count]]
        self._taken.update(bell.doorbell.task_id for bell in bells)
        return bells

    def claimed(self, bells: list[WaitingBell]) -> None:
        """Acknowledge doorbells whose claim was answered."""
        for bell in bells:
            self._taken.discard(bell.doorbell.task_id)
            bell.settle(True)

    def give_back(self, bells: list[WaitingBell]) -> None:
        """Ring again for doorbells that were taken and not claimed."""
        for bell in bells:
            self._taken.discard(bell.doorbell.task_id)
            bell.settle(False)

    def start(self, prefetch: int) -> None:
        """Begin to listen, with at most `prefetch` waiting a label."""
        self._keeper = asyncio.create_task(self._follow())
        self.listen(prefetch)

    def listen(self, prefetch: int) -> None:
        """Listen from now on with at most `prefetch` waiting a label. Returns at once."""
        self.prefetch = prefetch
        self._changed.set()

    def pause(self) -> None:
        """Listen no more, and ring again for what waits. Returns at once."""
        self.listen(0)
        waiting, self._waiting = self._waiting, {}
        self.give_back(list(waiting.values()))

    async def close(self) -> None:
        """Pause, and return when every handler has ended. What was taken must have been settled."""
        self.pause()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._hang_up()
        while self._chores:
            await asyncio.wait(self._chores)

    async def _follow(self) -> None:
        """Make what is subscribed follow what is wanted, one step at a time."""
        heard = 0
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = self.prefetch
            if wanted == heard:
                continue
            self._hang_up()
            heard = wanted if wanted == 0 or await self._subscribe(wanted) else -1
            if heard == -1:
                await asyncio.sleep(_RETRY_SECONDS)
                self._changed.set()

    async def _subscribe(self, prefetch: int) -> bool:
        """Listen to all labels; False when the broker did not let us."""
        for label in self._labels:
            try:
                self._subscriptions.append(await self._kit.bus.on_ring(label, self._on_ring, prefetch=prefetch))
            except OmegaError as error:
                self._log.warning("label_not_heard", label=label, why=error.message)
                return False
        return True

    def _hang_up(self) -> None:
        """Cancel all subscriptions, in the background: cancelling waits for handlers, and these for claims."""
        for subscription in self._subscriptions:
            task = asyncio.create_task(_cancel(subscription))
            self._chores.add(task)
            task.add_done_callback(self._chores.discard)
        self._subscriptions = []

    async def _on_ring(self, doorbell: Doorbell) -> None:
        task_id = doorbell.task_id
        if task_id in self._waiting or task_id in self._taken:
            return  # rung again for what is about to be claimed
        bell = WaitingBell(doorbell)
        if self.prefetch == 0:
            bell.settle(False)
        else:
            self._waiting[task_id] = bell
            self._arrived()
        if not await bell.settled:
            await self._kit.bus.ring([doorbell])


async def _cancel(subscription: Subscription) -> None:
    await subscription.cancel()
