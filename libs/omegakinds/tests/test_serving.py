"""A batch answers what each request alone would have been answered, and a bad request fails alone."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from omegakinds.serving import ServedModel
from omegaproto.errors import UnknownAction

FRAME, TARGET = load_iris(return_X_y=True, as_frame=True)
NAMES = list(FRAME.columns)
LABELS = TARGET.map({0: "setosa", 1: "versicolor", 2: "virginica"})
MIXED = pd.DataFrame({"town": ["a", "b", "c"] * 10, "size": range(30)})

MODELS: dict[str, Any] = {
    "logistic": LogisticRegression(max_iter=500).fit(FRAME, TARGET),
    "without_names": LogisticRegression(max_iter=500).fit(FRAME.to_numpy(), LABELS),
    "labels": make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, LABELS),
    "forest": RandomForestClassifier(5, random_state=0).fit(FRAME, TARGET),
    "histogram": HistGradientBoostingClassifier(max_iter=3).fit(FRAME, TARGET),
    "grid": GridSearchCV(LogisticRegression(max_iter=500), {"C": [1]}, cv=2).fit(FRAME, TARGET),
    "voting": VotingClassifier([("nb", GaussianNB()), ("lr", LogisticRegression(max_iter=500))]).fit(FRAME, TARGET),
    "columns": make_pipeline(
        make_column_transformer((StandardScaler(), NAMES[:2]), remainder="passthrough"),
        LogisticRegression(max_iter=500),
    ).fit(FRAME, TARGET),
}

number = st.one_of(st.floats(-10, 10), st.integers(-10, 10), st.just(None), st.just("text"))
row = st.one_of(st.lists(st.floats(-10, 10), min_size=4, max_size=4), st.lists(number, min_size=3, max_size=5))
body = st.one_of(
    st.lists(row, min_size=1, max_size=3).map(lambda rows: json.dumps({"data": rows})),
    st.lists(st.floats(-10, 10), min_size=4, max_size=4).map(
        lambda values: json.dumps({"data": [dict(zip(reversed(NAMES), values, strict=True))]})
    ),
    st.just("{"),
    st.just('{"columns": ["x"], "data": [[1]]}'),
)


def assert_close(one: str | None, other: str | None) -> None:
    if one is None or other is None:
        assert one == other
        return
    left, right = json.loads(one), json.loads(other)
    if left and isinstance(left[0], float | list):
        np.testing.assert_allclose(left, right, rtol=1e-12)
    else:
        assert left == right


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("name", MODELS)
@given(bodies=st.lists(body, min_size=1, max_size=6))
def test_a_batch_answers_as_each_alone(name: str, bodies: list[str]) -> None:
    served = ServedModel(MODELS[name])
    for verb in ("predict", "predict_proba") if name != "voting" else ("predict", "transform"):
        batch = served.answer(verb, bodies)
        alone = [served.answer(verb, [one])[0] for one in bodies]
        assert [found.error for found in batch] == [found.error for found in alone]
        for one, other in zip(batch, alone, strict=True):
            assert_close(one.result, other.result)


@pytest.mark.parametrize("name", MODELS)
def test_answers_are_the_models_own_without_warnings(name: str) -> None:
    model = MODELS[name]
    plain = FRAME.to_numpy() if name == "without_names" else FRAME
    bodies = [json.dumps({"columns": NAMES, "data": [values]}) for values in FRAME.to_numpy().tolist()]
    bodies += [json.dumps({"columns": NAMES[::-1], "data": [values[::-1]]}) for values in FRAME.to_numpy()[:3].tolist()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answers = ServedModel(model).answer("predict", bodies)
    expected = model.predict(plain).tolist()
    found = [json.loads(answer.result or "")[0] for answer in answers]
    if name == "without_names":
        assert found[:150] == expected
    else:
        assert found == [*expected, *expected[:3]]
    assert list(getattr(model, "feature_names_in_", NAMES)) == NAMES


def test_results_keep_their_shape() -> None:
    served = ServedModel(MODELS["logistic"])
    one, two = served.answer(
        "predict_proba", ['{"data": [[1, 2, 3, 4]]}', '{"instances": [[1, 2, 3, 4], [4, 3, 2, 1]]}']
    )
    assert np.shape(json.loads(one.result or "")) == (1, 3)
    assert np.shape(json.loads(two.result or "")) == (2, 3)


def test_a_bad_request_fails_alone() -> None:
    good = '{"data": [[5.1, 3.5, 1.4, 0.2]]}'
    bodies = [good, "{", '{"data": [[1, 2]]}', '{"data": [[null, 1, 2, 3]]}', '{"columns": ["a"], "data": [[1]]}']
    bodies += ['{"data": [["x", 1, 2, 3]]}', json.dumps({"columns": [*NAMES, "id"], "data": [[1] * 5]}), good]
    answers = ServedModel(MODELS["logistic"]).answer("predict", bodies)
    codes = [answer.error.code if answer.error else answer.result for answer in answers]
    assert codes == ["[0]", "bad_body", *["bad_input"] * 5, "[0]"]
    assert "missing" in (answers[4].error.message if answers[4].error else "")
    assert "id" in (answers[6].error.message if answers[6].error else "")


def test_missing_values_are_null_both_ways() -> None:
    assert ServedModel(MODELS["histogram"]).answer("predict", ['{"data": [[null, 1, 2, 3]]}'])[0].error is None
    passing = FunctionTransformer(np.log, feature_names_out=None).fit(np.ones((2, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        answers = ServedModel(passing).answer("transform", ['{"data": [[0, 1]]}', '{"data": [[-1, 1]]}'])
    assert [answer.result for answer in answers] == ["[[null,0.0]]", "[[null,0.0]]"]


def test_text_and_numbers_in_columns() -> None:
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough"), LinearRegression()
    ).fit(MIXED, MIXED["size"] * 2.0)
    bodies = [
        '{"columns": ["size", "town"], "data": [[3, "a"]]}',
        '{"data": [{"town": "b", "size": 4}]}',
        '{"data": [["z", 1]]}',
    ]
    first, second, unknown = ServedModel(model).answer("predict", bodies)
    np.testing.assert_allclose([json.loads(first.result or "")[0], json.loads(second.result or "")[0]], [6, 8])
    assert unknown.error is not None
    assert unknown.error.code == "bad_input"
    assert "unknown categories" in unknown.error.message


def test_sparse_results_and_models_without_names() -> None:
    encoder = OneHotEncoder().fit([["a"], ["b"]])
    answers = ServedModel(encoder).answer("transform", ['{"data": [["a"]]}', '{"columns": ["c"], "data": [["b"]]}'])
    assert [answer.result for answer in answers] == ["[[1.0,0.0]]", "[[0.0,1.0]]"]


def test_pandas_output_is_values() -> None:
    scaler = StandardScaler().set_output(transform="pandas").fit(FRAME)
    answer = ServedModel(scaler).answer("transform", [json.dumps({"data": [FRAME.mean().tolist()]})])[0]
    np.testing.assert_allclose(json.loads(answer.result or ""), [[0, 0, 0, 0]], atol=1e-9)


def test_several_outputs_split_by_request() -> None:
    model = MultiOutputClassifier(LogisticRegression()).fit(FRAME, pd.DataFrame({"a": TARGET > 0, "b": TARGET > 1}))
    bodies = [json.dumps({"data": rows}) for rows in (FRAME[:1].to_numpy().tolist(), FRAME[-2:].to_numpy().tolist())]
    served = ServedModel(model)
    one, two = served.answer("predict_proba", bodies)
    assert np.shape(json.loads(one.result or "")) == (2, 1, 2)
    assert np.shape(json.loads(two.result or "")) == (2, 2, 2)
    assert_close(json.dumps(json.loads(two.result or "")[0]), json.dumps(model.predict_proba(FRAME[-2:])[0].tolist()))
    assert served.answer("predict", bodies)[1].result == "[[true,true],[true,true]]"


def test_texts_are_served() -> None:
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(["good day", "bad day"], [1, 0])
    answers = ServedModel(model).answer("predict", ['{"data": ["good"]}', '{"data": ["bad", "good"]}', '{"data": [5]}'])
    assert [answer.result for answer in answers[:2]] == ["[1]", "[0,1]"]
    assert answers[2].error is not None


class Centred(ClassifierMixin, BaseEstimator):
    """A user's model whose answer depends on the other rows, and which fails on a one."""

    def fit(self, X: Any, y: Any) -> Centred:
        self.n_features_in_ = 1
        return self

    def predict(self, X: Any) -> Any:
        if (np.asarray(X) == 1).any():
            raise RuntimeError("a defect")
        return np.asarray(X)[:, 0] - np.asarray(X).mean()


class Short(Centred):
    """A user's model that says it answers row by row, and gives too few rows."""

    omega_row_wise = True

    def predict(self, X: Any) -> Any:
        return np.zeros(1)


def test_rows_of_one_request_never_reach_another_by_the_users_code() -> None:
    model = Centred().fit(None, None)
    answers = ServedModel(model).answer("predict", ['{"data": [[4]]}', '{"data": [[8]]}', '{"data": [[1]]}'])
    assert [answer.result for answer in answers[:2]] == ["[0.0]", "[0.0]"]
    assert answers[2].error is not None
    assert (answers[2].error.code, answers[2].error.details) == ("task_failed", {"type": "RuntimeError"})
    short = ServedModel(Short().fit(None, None)).answer("predict", ['{"data": [[4]]}', '{"data": [[8]]}'])
    assert [answer.result for answer in short] == ["[0.0]", "[0.0]"]


def test_not_fitted() -> None:
    answer = ServedModel(LogisticRegression()).answer("predict", ['{"data": [[1, 2]]}'])[0]
    assert answer.error is not None
    assert answer.error.code == "not_fitted"


@pytest.mark.parametrize("verb", ["score", "fit", "__class__", "transform"])
def test_other_verbs_are_not_served(verb: str) -> None:
    with pytest.raises(UnknownAction, match="serves: decision_function, predict, predict_proba"):
        ServedModel(MODELS["logistic"]).answer(verb, ["{}"])


def test_the_model_is_left_as_it_was() -> None:
    model = MODELS["voting"]
    ServedModel(model)
    assert list(model.feature_names_in_) == NAMES
    assert all(list(part.feature_names_in_) == NAMES for part in model.estimators_)
