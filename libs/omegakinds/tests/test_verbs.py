"""Verbs: the right shapes go in, and what a model refuses is said in its terms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from omegakinds.verbs import is_fitted, run, shape_x, verbs_of
from omegaproto.errors import BadInput, NotFitted, UnknownAction

X = np.arange(20.0).reshape(10, 2)
Y = np.array([0, 1] * 5)


def test_fit_and_predict() -> None:
    model = LogisticRegression()
    fitted = run("fit", model, X, Y)
    assert (fitted.result, fitted.model_changed) == (model, True)
    predicted = run("predict", model, X)
    assert predicted.model_changed is False
    np.testing.assert_array_equal(predicted.result, model.predict(X))
    assert run("predict_proba", model, X).result.shape == (10, 2)
    assert run("score", model, X, Y).result == model.score(X, Y)


def test_transformers_have_their_verbs() -> None:
    scaler = StandardScaler()
    assert run("fit_transform", scaler, X).model_changed
    np.testing.assert_allclose(run("transform", scaler, X).result.mean(axis=0), 0, atol=1e-9)
    assert "predict" not in verbs_of(scaler)


def test_partial_fit_takes_classes() -> None:
    model = SGDClassifier(random_state=0)
    assert run("partial_fit", model, X, Y, classes=[0, 1]).model_changed
    with pytest.raises(BadInput, match="classes"):
        run("partial_fit", SGDClassifier(), X, Y)


@pytest.mark.parametrize(
    "column",
    [pd.Series([1.0, 2.0, 3.0], name="x"), np.array([1.0, 2.0, 3.0]), [1.0, 2.0, 3.0], (1.0, 2.0, 3.0)],
    ids=["series", "array", "list", "tuple"],
)
def test_one_dimension_becomes_a_column(column: Any) -> None:
    model = run("fit", LinearRegression(), column, column).result
    np.testing.assert_allclose(run("predict", model, column).result, [1, 2, 3])


def test_rows_as_lists_stay() -> None:
    assert shape_x(LinearRegression(), [[1, 2]]) == [[1, 2]]
    assert shape_x(LinearRegression(), []) == []
    assert shape_x(LinearRegression(), None) is None


@pytest.mark.parametrize("y", [pd.DataFrame({"t": Y}), Y.reshape(-1, 1)], ids=["frame", "array"])
def test_a_target_of_one_column_is_flat(y: Any) -> None:
    assert run("fit", LogisticRegression(), X, y).result.classes_.tolist() == [0, 1]


def test_texts_stay_flat() -> None:
    model = make_pipeline(CountVectorizer(), LogisticRegression())
    run("fit", model, ["good day", "bad day"], [1, 0])
    for texts in (pd.Series(["good"]), pd.DataFrame({"text": ["good"]}), np.array([["good"]])):
        assert run("predict", model, texts).result.tolist() == [1]
    search = GridSearchCV(model, {"logisticregression__C": [1]}, cv=2)
    run("fit", search, ["good day", "bad day"] * 2, [1, 0] * 2)
    assert run("predict", search, ["good"]).result.tolist() == [1]


def test_unknown_verbs_name_those_there_are() -> None:
    for verb in ("predict_proba", "__init__", "get_params"):
        with pytest.raises(UnknownAction, match=r"It has: fit, predict, score, decision_function"):
            run(verb, SVC(), X)


def test_never_fitted() -> None:
    assert not is_fitted(LogisticRegression())
    with pytest.raises(NotFitted, match="LogisticRegression was never fitted"):
        run("predict", LogisticRegression(), X)
    with pytest.raises(NotFitted):
        run("predict", make_pipeline(StandardScaler(), LogisticRegression()), X)


@pytest.mark.parametrize(
    "data",
    [
        X[:, :1],
        np.array([[np.nan, 1.0]]),
        np.array([["a", "b"]]),
        np.zeros((2, 2, 2)),
        [[1, 2], [3]],
        np.zeros((0, 2)),
    ],
    ids=["features", "nan", "text", "dimensions", "ragged", "empty"],
)
def test_bad_data_says_what_is_expected(data: Any) -> None:
    model = LogisticRegression().fit(X, Y)
    with pytest.raises(BadInput, match="It expects rows of 2 values"):
        run("predict", model, data)


def test_wrong_columns_name_the_right_ones() -> None:
    model = LogisticRegression().fit(pd.DataFrame(X, columns=["a", "b"]), Y)
    with pytest.raises(BadInput, match=r"in the columns a, b\."):
        run("predict", model, pd.DataFrame(X, columns=["a", "c"]))


def test_rows_and_targets_must_fit_together() -> None:
    with pytest.raises(BadInput, match="inconsistent numbers of samples"):
        run("fit", LogisticRegression(), X, Y[:5])
    with pytest.raises(BadInput):
        run("fit", LogisticRegression(), X)


class Own(BaseEstimator):
    """A user's estimator whose code fails."""

    def fit(self, X: Any, y: Any = None) -> Own:
        raise ValueError("my own defect")

    def predict(self, X: Any) -> Any:
        raise RuntimeError("another defect")


def test_errors_of_the_users_code_pass_through() -> None:
    with pytest.raises(ValueError, match="my own defect"):
        run("fit", Own(), X, Y)
    with pytest.raises(RuntimeError):
        run("predict", Own(), X)
    assert not is_fitted(Own())
