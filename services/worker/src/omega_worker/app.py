"""Wiring of the worker."""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp

from omega_worker.metrics import WorkerMetrics
from omega_worker.pool import ChildPool
from omega_worker.predict import Predictor
from omega_worker.registration import Registration
from omega_worker.settings import WorkerSettings
from omega_worker.supervisor import Supervisor
from omegakit.health import health_app
from omegakit.service import Kit
from omegaproto.errors import Unavailable
from omegaproto.predictions import PredictBatch
from omegaproto.tasks import DispatchTask

_BATCHES_WAITING = 8


class WorkerService:
    """Runs tasks and answers predictions, in child processes."""

    def __init__(self, kit: Kit, settings: WorkerSettings) -> None:
        options = settings.worker.named()
        self._kit = kit
        self._log: Any = kit.log
        self._options = options
        metrics = WorkerMetrics(kit.metrics)
        self.task_pool = ChildPool(options, "tasks", options.slots, self._log_output, metrics, self._log)
        self.predict_pool = ChildPool(
            options, "predict", options.predict_children, self._log_output, metrics, self._log, patient=True
        )
        self._supervisor = Supervisor(kit, options, self.task_pool, metrics)
        self._registration = Registration(kit, options, lambda: self._supervisor.running, lambda: self._supervisor.idle)
        self._predictor = Predictor(options, self.predict_pool, metrics)
        self._rpc = kit.rpc()
        checks = {"bus": self._check_bus, "scheduler": self._check_scheduler, "predict": self._check_predict}
        self._asgi = health_app(kit.metrics, checks)

    @property
    def asgi(self) -> ASGIApp:
        """Give the health application: the worker is spoken to over the bus."""
        return self._asgi

    async def start(self) -> None:
        """Warm children up, register, and take tasks and predictions. The first of them wait for a warm child."""
        self.predict_pool.start()
        self.task_pool.start()
        for label in self._options.label_names:
            await self._rpc.serve(PredictBatch, self._predictor.answer, route=label, prefetch=_BATCHES_WAITING)
        self._supervisor.start()
        await self._rpc.serve(
            DispatchTask, self._supervisor.take, route=self._options.name, prefetch=self._options.slots
        )
        await self._registration.start()

    async def drain(self) -> None:
        """Take no more, let what runs go on for the drain time, hand the rest back, and sign off."""
        await self._rpc.stop()
        await self._supervisor.drain()
        await self._registration.stop()

    async def stop(self) -> None:
        """End all children."""
        await self._supervisor.stop()
        await self.task_pool.close()
        await self.predict_pool.close()

    def _log_output(self, task_id: str | None, line: str) -> None:
        if task_id is None:
            self._log.info("child_output", line=line)
        else:
            self._log.info("task_output", task_id=task_id, line=line)

    async def _check_bus(self) -> None:
        if not self._kit.bus.connected:
            raise Unavailable("The broker cannot be reached.")

    async def _check_scheduler(self) -> None:
        self._registration.check()

    async def _check_predict(self) -> None:
        self.predict_pool.check()


def create(kit: Kit, settings: WorkerSettings) -> WorkerService:
    """Make the service."""
    return WorkerService(kit, settings)
