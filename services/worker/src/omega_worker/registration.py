"""Telling the scheduler that this worker lives, what labels it takes and how much it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from omega_worker.settings import WorkerOptions
from omegakit.service import Kit
from omegaproto.errors import OmegaError, Unavailable
from omegaproto.tasks import ForgetWorker, RegisterWorker

_CALL_SECONDS = 5.0
_RETRY_SECONDS = 0.5


class Registration:
    """The worker's entry in the scheduler's list, kept by a heartbeat."""

    def __init__(self, kit: Kit, options: WorkerOptions, running: Callable[[], int], idle: Callable[[], int]) -> None:
        self._kit = kit
        self._log: Any = kit.log
        self._options = options
        self._running = running
        self._idle = idle
        self._task: asyncio.Task[None] | None = None
        self._known = False

    async def start(self) -> None:
        """Register now if the scheduler answers, and in any case keep at it."""
        await self._beat()
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Take the worker off the list. Best effort: a scheduler that does not hear it forgets after missed beats."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        try:
            request = ForgetWorker(worker=self._options.name)
            await self._kit.bus.call(request, token=self._kit.tokens.own(), timeout=_CALL_SECONDS)
        except OmegaError as error:
            self._log.warning("worker_not_forgotten", why=error.message)

    def check(self) -> None:
        """Return when the scheduler answered the last heartbeat. Raises Unavailable."""
        if not self._known:
            raise Unavailable("The scheduler does not answer.", action="Look whether the scheduler runs.")

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._options.heartbeat_seconds if self._known else _RETRY_SECONDS)
            await self._beat()

    async def _beat(self) -> None:
        request = RegisterWorker(
            worker=self._options.name,
            labels=self._options.label_names,
            slots=self._options.slots,
            running=self._running(),
            idle=self._idle(),
        )
        try:
            await self._kit.bus.call(request, token=self._kit.tokens.own(), timeout=_CALL_SECONDS)
        except OmegaError as error:
            if self._known or self._task is None:
                self._log.warning("worker_not_registered", why=error.message)
            self._known = False
        else:
            self._known = True
