"""Which runner a child has, by its role, warmed up: what every task needs is imported before the first one comes."""

from __future__ import annotations

from importlib import import_module

from omega_worker.child.loop import Runner
from omega_worker.child.options import ChildOptions

WARM = ("numpy", "pandas", "sklearn.linear_model", "sklearn.pipeline", "joblib")
"""Imported ahead. scikit-learn's other parts load when a model that uses them does."""


def make_runner(options: ChildOptions) -> Runner:
    """Give the runner of `options.role`, ready for its first message."""
    for name in WARM:
        import_module(name)
    if options.role == "predict":
        from omega_worker.child.predict import PredictRunner

        return PredictRunner(options.gateway_url, options.model_cache_mb)
    from omega_worker.child.tasks import TaskRunner

    return TaskRunner(options.gateway_url)
