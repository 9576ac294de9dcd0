"""Which workers said last that they have slots free. Pure: no store, no bus, no clock of its own.

A hint, never a promise: each replica hears a part of what workers say, and another replica may have filled the slot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Worker:
    labels: frozenset[str] = field(default_factory=frozenset)
    idle: int = 0


class IdleSlots:
    """Free slots by worker, less what was taken of them since."""

    def __init__(self) -> None:
        self._workers: dict[str, _Worker] = {}

    def registered(self, worker: str, labels: Iterable[str], idle: int) -> None:
        """Hear a worker's heartbeat: what it listens for, and how many slots it has free."""
        self._workers[worker] = _Worker(frozenset(labels), idle)

    def heard(self, worker: str, idle: int) -> None:
        """Hear from a worker how many slots it has free; nothing when its labels are not known here."""
        if worker in self._workers:
            self._workers[worker].idle = idle

    def forget(self, worker: str) -> None:
        """Take no more slots of a worker before its next heartbeat."""
        self._workers.pop(worker, None)

    def keep(self, workers: Iterable[str]) -> None:
        """Forget all workers but these."""
        alive = set(workers)
        self._workers = {name: worker for name, worker in self._workers.items() if name in alive}

    def take(self, label: str) -> str | None:
        """Give the worker with the most free slots for a label, one of which is counted as taken; None without any."""
        offering = [name for name, worker in self._workers.items() if worker.idle > 0 and label in worker.labels]
        if not offering:
            return None
        name = max(offering, key=lambda each: self._workers[each].idle)
        self._workers[name].idle -= 1
        return name
