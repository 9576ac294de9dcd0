"""How many tasks wait and run, by label: counted in the store now and then, and moved along with every change."""

from __future__ import annotations

from collections import Counter

from omega_scheduler.repository import TaskRepository
from omegakit.metrics import Metrics
from omegaproto.errors import Overloaded
from omegaproto.tasks import TaskState

_COUNTED = (TaskState.queued, TaskState.running)
_LEFT_OUT = 8


class TaskCounts:
    """The gauges, and the bound on queued tasks that stands on them."""

    def __init__(self, metrics: Metrics, repository: TaskRepository, max_queued: int) -> None:
        self._repository = repository
        self._max_queued = max_queued
        self._gauge = metrics.gauge("omega_tasks", "Tasks that wait or run, by label.", ("state", "label"))
        self._counts: dict[TaskState, Counter[str]] = {state: Counter() for state in _COUNTED}
        self._moves = 0
        self._left_out = 0

    @property
    def queued(self) -> int:
        """How many tasks wait, as far as is known here."""
        return self._counts[TaskState.queued].total()

    def admit(self, count: int) -> None:
        """Return when `count` more tasks may wait. Raises Overloaded."""
        if self.queued + count > self._max_queued:
            raise Overloaded(
                f"{self.queued} tasks wait already, at most {self._max_queued} may.",
                action="Try again later, or add workers.",
                limit=self._max_queued,
            )

    def move(self, label: str, *, before: TaskState | None = None, after: TaskState | None = None) -> None:
        """Count a task that went from one state to another."""
        self._moves += 1
        if before in self._counts:
            self._add(before, label, -1)
        if after in self._counts:
            self._add(after, label, 1)

    async def sample(self) -> None:
        """Count in the store, where the changes of all replicas meet.

        A count during which tasks moved here would undo what is known of them: it is left out, a few times in a row.
        """
        for state in _COUNTED:
            before = self._moves
            found = Counter(await self._repository.count(state))
            if self._moves != before and self._left_out < _LEFT_OUT:
                self._left_out += 1
                continue
            self._left_out = 0
            for label in self._counts[state].keys() - found.keys():
                self._set(state, label, 0)
            for label, count in found.items():
                self._set(state, label, count)

    def _add(self, state: TaskState, label: str, by: int) -> None:
        self._set(state, label, max(self._counts[state][label] + by, 0))

    def _set(self, state: TaskState, label: str, count: int) -> None:
        self._counts[state][label] = count
        self._gauge.labels(state.value, label).set(count)
