"""The worker's figures."""

from __future__ import annotations

from prometheus_client import Histogram

from omegakit.metrics import Metrics

_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)


class WorkerMetrics:
    """What happened to tasks, children and predictions."""

    def __init__(self, metrics: Metrics) -> None:
        self._tasks = metrics.counter("omega_worker_tasks", "Attempts by how they ended.", ("outcome",))
        self._task_seconds = metrics.histogram(
            "omega_worker_task_seconds", "From claim to end of an attempt.", ("action",)
        )
        self.running = metrics.gauge("omega_worker_running", "Attempts claimed and not ended.")
        self._deaths = metrics.counter(
            "omega_worker_child_deaths", "Children that ended by themselves or were killed.", ("role",)
        )
        self._warm_up = metrics.histogram(
            "omega_worker_child_start_seconds", "Time a child needs to get warm.", ("role",)
        )
        self.predict_seconds = metrics.histogram("omega_worker_predict_seconds", "Time to answer a batch.")
        self.batch_size = Histogram(
            "omega_worker_batch_requests", "Requests in a batch.", buckets=_BATCHES, registry=metrics.registry
        )

    def ended(self, outcome: str, action: str, seconds: float) -> None:
        """Count an attempt that ended."""
        self._tasks.labels(outcome).inc()
        self._task_seconds.labels(action).observe(seconds)

    def died(self, role: str) -> None:
        """Count a child that is gone."""
        self._deaths.labels(role).inc()

    def warm_up(self, role: str, seconds: float) -> None:
        """Note how long a child took to get warm."""
        self._warm_up.labels(role).observe(seconds)
