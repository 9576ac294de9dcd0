"""How long tasks take lately, and from that how many to claim ahead of free slots. Pure.

Claiming costs a round trip to the scheduler and its store. Where tasks take milliseconds that trip is the limit, so a
few are claimed ahead; where they take longer none is, so that no worker sits on what another could run.
"""

from __future__ import annotations

import math

_WEIGHT = 0.3
_HORIZON_SECONDS = 0.05
_LEAST_SECONDS = 1e-4


class Pace:
    """A moving geometric mean of run times: quick to follow when tasks get short or long."""

    def __init__(self, slots: int, most_ahead: int) -> None:
        self._slots = slots
        self._most_ahead = most_ahead
        self._log_mean: float | None = None

    def note(self, seconds: float) -> None:
        """Take the run time of a task that ended."""
        value = math.log(max(seconds, _LEAST_SECONDS))
        self._log_mean = value if self._log_mean is None else self._log_mean + _WEIGHT * (value - self._log_mean)

    @property
    def ahead(self) -> int:
        """Give how many tasks to hold beyond the slots: what these finish in 50 ms, at most `most_ahead`."""
        if self._log_mean is None:
            return 0
        return min(self._most_ahead, int(self._slots * _HORIZON_SECONDS / math.exp(self._log_mean)))
