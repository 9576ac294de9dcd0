"""Compiled linear models: bit for bit what scikit-learn gives, and what is not proven is not compiled."""

from __future__ import annotations

import copy
import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import all_estimators

from omegakinds.linear import compiled
from omegakinds.serving import ServedModel

ROWS = np.random.default_rng(7).normal(size=(40, 5))
EXPECTED = {"LinearRegression", "LinearSVC", "LogisticRegression", "Perceptron", "RidgeClassifier", "SGDClassifier"}


@cache
def fitted(kind: type, classes: int) -> Any:
    """The estimator after a fit on a small problem; None when it does not take that kind of problem."""
    if hasattr(kind, "decision_function") or "Classifier" in kind.__name__:
        X, y = make_classification(60, 5, n_informative=4, n_redundant=0, n_classes=classes, random_state=0)
    else:
        X, y = make_regression(60, 5, n_targets=classes - 1, random_state=0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return kind().fit(X, y)
    except (TypeError, ValueError):
        return None


def test_every_linear_model_answers_the_same_bits() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kinds = [kind for _, kind in all_estimators() if kind.__module__.startswith(("sklearn.linear", "sklearn.svm"))]
    seen = set()
    for kind in kinds:
        for classes in (2, 3):
            model = fitted(kind, classes)
            for verb, direct in compiled(model).items() if model is not None else ():
                seen.add(kind.__name__)
                mine, theirs = direct(ROWS), getattr(model, verb)(ROWS)
                assert mine.dtype == theirs.dtype, (kind, verb)
                assert np.array_equal(mine, theirs), (kind, verb)
    assert EXPECTED - seen == set()


@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 9), st.just(5)), elements=st.floats(-1e9, 1e9)),
    st.integers(2, 4),
)
def test_any_numbers_give_the_same_bits(rows: np.ndarray[Any, Any], classes: int) -> None:
    model = fitted(LogisticRegression, classes)
    verbs = compiled(model)
    assert set(verbs) == {"decision_function", "predict"}
    for verb, direct in verbs.items():
        assert np.array_equal(direct(rows), getattr(model, verb)(rows))


class Own(LogisticRegression):
    """A user's class with a verb of its own."""

    def predict(self, X: Any) -> Any:
        return np.zeros(len(X))


def test_what_is_not_proven_is_not_compiled() -> None:
    model = fitted(LogisticRegression, 3)
    assert compiled(LogisticRegression()) == {}
    assert compiled(make_pipeline(StandardScaler(), clone(model)).fit(ROWS, ROWS[:, 0] > 0)) == {}
    assert compiled(fitted(Own, 2)) == {}
    assert compiled(clone(model).fit(ROWS, ROWS[:, 0] > 0).sparsify()) == {}
    assert compiled(LinearRegression().fit(ROWS.astype(np.float32), ROWS[:, 0].astype(np.float32))) == {}
    own = copy.copy(model)
    own.decision_function = lambda rows: rows
    assert compiled(own) == {}


@pytest.mark.parametrize("body", ['{"data": [[1, 2, 3, null, 5]]}', '{"data": [[1, 2, 3]]}'])
def test_what_scikit_learn_refuses_is_refused(body: str) -> None:
    (answer,) = ServedModel(fitted(LogisticRegression, 2)).answer("predict", [body])
    assert answer.error is not None


def test_labels_keep_their_kind() -> None:
    model = LogisticRegression().fit(ROWS, np.where(ROWS[:, 0] > 0, "yes", "no"))
    (answer,) = ServedModel(model).answer("predict", ['{"data": [[9, 0, 0, 0, 0], [-9, 0, 0, 0, 0]]}'])
    assert answer.result == '["yes","no"]'
