"""One attempt of a task: from its claim, through a child, to its completion. Ended early by `stop`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from omega_worker.framing import BadFraming
from omega_worker.messages import RunTask, TaskEnded
from omega_worker.outcomes import Stop, ended_by_child, ended_by_death, ended_by_us
from omega_worker.pool import ChildPool
from omega_worker.process import ChildDied, ChildProcess
from omegaproto.tasks import ClaimedTask, Completion, Lease, TaskSpec

TERM_SECONDS = 2.0
"""How long a cancelled task may take to end by itself after SIGTERM."""
_CHILD_SECONDS = 30.0
"""How long to wait for a child before the task goes back to others: this worker may not be able to start any."""
_HARMLESS = frozenset({"noop"})
"""Actions that run no code of a bucket, so that any child will do: it may be another bucket's, and gets no token."""


class Attempt:
    """Runs one claimed task. `run` gives the completion; `lease` and the child's token move with each renewal."""

    def __init__(self, claimed: ClaimedTask) -> None:
        self.lease: Lease = claimed.lease
        self.spec: TaskSpec = claimed.task.spec
        self.task_id = claimed.task.id
        self.begun: float | None = None
        """When a child began with it (time.monotonic); None while it waits for one."""
        self._number = claimed.task.attempt
        self._harmless = self.spec.action in _HARMLESS
        self._token = "" if self._harmless else claimed.access_token
        self._child: ChildProcess | None = None
        self._why: Stop | None = None
        self._waiting: asyncio.Task[Any] | None = None
        """The task to interrupt while it waits for a child; afterwards the child is what `stop` ends."""

    async def run(self, pool: ChildPool) -> Completion | None:
        """Run the task in a child and give the completion; None when there is nothing to record."""
        expiry = asyncio.get_running_loop().call_later(_CHILD_SECONDS, self.stop, Stop.released)
        try:
            self._waiting = asyncio.current_task()
            child = await pool.acquire(None if self._harmless else self.spec.bucket)
        except asyncio.CancelledError:
            if self._why is None:
                raise
            return ended_by_us(self.lease, self.spec, self._why)
        finally:
            self._waiting = None
            expiry.cancel()
        try:
            return await self._run_in(child)
        finally:
            pool.release(child)

    async def _run_in(self, child: ChildProcess) -> Completion | None:
        self._child, self.begun = child, time.monotonic()
        expiry = asyncio.get_running_loop().call_later(self.spec.timeout_seconds, self.stop, Stop.timed_out)
        try:
            message = RunTask.model_construct(
                task_id=self.task_id, attempt=self._number, spec=self.spec, access_token=self._token
            )
            answer = await child.run(message, self.task_id)
        except ChildDied as death:
            if self._why is not None:
                return ended_by_us(self.lease, self.spec, self._why)
            return ended_by_death(self.lease, str(death))
        except BadFraming as error:
            return ended_by_death(self.lease, f"could not be told its task: {error}")
        finally:
            expiry.cancel()
            self._child = None
        if not isinstance(answer, TaskEnded):
            child.kill()
            return ended_by_death(self.lease, "answered with something else than a result")
        return ended_by_child(self.lease, answer)

    def renewed(self, lease: Lease, token: str | None) -> None:
        """Take the lease's new expiry, and the token that goes with it."""
        self.lease = lease
        if token is not None and not self._harmless:
            self._token = token
            if self._child is not None and self._child.alive:
                self._child.renew(token)

    def stop(self, why: Stop) -> None:
        """End the attempt; the first reason given counts. A cancelled child may end by itself, any other is killed."""
        if self._why is not None:
            return
        self._why = why
        if self._waiting is not None:
            self._waiting.cancel()
        elif self._child is None:
            return  # it ended already, and its completion is on the way
        elif why is Stop.cancelled:
            self._child.terminate()
            asyncio.get_running_loop().call_later(TERM_SECONDS, self._child.kill)
        else:
            self._child.kill()
