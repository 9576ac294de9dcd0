"""Linear models of scikit-learn without what scikit-learn does around their one product: bit for bit the same answers.

A call of theirs costs about 100 µs of checks, and a few for the numbers. A verb is compiled only when the model's class
inherits it unchanged from scikit-learn's linear base classes, which say in two lines what it computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Verb = Callable[[Array], Array]


def compiled(model: Any) -> dict[str, Verb]:
    """Give the verbs that can be answered directly, each for a float64 array of shape (rows, features) without NaN.

    Empty for everything that is not a fitted linear model with plain float64 coefficients.
    """
    if not type(model).__module__.startswith("sklearn.") or not _plain(getattr(model, "coef_", None)):
        return {}
    from sklearn.linear_model import _base

    weights = model.coef_.T
    intercept = getattr(model, "intercept_", None)
    if not (isinstance(intercept, float) or _plain(intercept)):
        return {}
    if _inherits(model, "decision_function", _base.LinearClassifierMixin):
        return _classifier(model, weights, intercept, _base.LinearClassifierMixin)
    bases = _base.LinearModel, getattr(_base, "MultiOutputLinearModel", _base.LinearModel)  # the second since 1.9
    if any(_inherits(model, "predict", base) for base in bases) and (
        _inherits(model, "_decision_function", _base.LinearModel)
    ):
        return {"predict": lambda rows: rows @ weights + intercept}
    return {}


def _classifier(model: Any, weights: Array, intercept: Any, base: type) -> dict[str, Verb]:
    classes: Any = getattr(model, "classes_", None)

    def decision_function(rows: Array) -> Array:
        scores: Array = rows @ weights + intercept
        return scores.reshape(-1) if scores.ndim > 1 and scores.shape[1] == 1 else scores

    def predict(rows: Array) -> Array:
        scores = decision_function(rows)
        chosen = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        labels: Array = classes.take(chosen, axis=0)
        return labels

    verbs: dict[str, Verb] = {"decision_function": decision_function}
    if _inherits(model, "predict", base) and isinstance(classes, np.ndarray) and classes.ndim == 1:
        verbs["predict"] = predict
    return verbs


def _inherits(model: Any, verb: str, base: type) -> bool:
    """Say whether the model's verb is the base class's own, overridden by no class between and not on the model."""
    return verb not in vars(model) and getattr(type(model), verb, None) is getattr(base, verb, base)


def _plain(value: Any) -> bool:
    return type(value) is np.ndarray and value.dtype == np.float64 and value.ndim in (1, 2)
