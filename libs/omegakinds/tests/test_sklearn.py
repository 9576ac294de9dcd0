"""Every estimator of scikit-learn comes back, from the safe format where that holds it, and predicts the same."""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils._test_common.instance_generator import _construct_instances
from sklearn.utils.discovery import all_estimators
from skops.io.exceptions import UntrustedTypesFoundException

from omegakinds.base import Dumped, ModelKind
from omegakinds.pickles import load_pickle
from omegakinds.safe_models import REVIEWED_TYPES, dump_safe, load_safe
from omegakinds.sklearn import SklearnModels
from omegaproto.errors import BlobCorrupted, Forbidden, UnknownKind

KIND = SklearnModels()
FRAME, TARGET = load_iris(return_X_y=True, as_frame=True)

PICKLED = {"Birch"}
"""Estimators that skops does not hold yet."""

FITTED = {
    "logistic": LogisticRegression(max_iter=500),
    "pipeline": make_pipeline(StandardScaler(), SelectKBest(k=2), LogisticRegression()),
    "grid": GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.1, 1]}, cv=2, scoring="accuracy"),
    "forest": RandomForestClassifier(5, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=3, random_state=0),
    "histogram": HistGradientBoostingClassifier(max_iter=3),
    "bagging": BaggingClassifier(n_estimators=3, max_features=2, random_state=0),
    "stacking": StackingClassifier([("tree", DecisionTreeClassifier(max_depth=2)), ("nb", GaussianNB())], cv=2),
    "calibrated": CalibratedClassifierCV(GaussianNB(), cv=2),
    "neighbours": KNeighborsClassifier(3),
    "svm": SVC(),
    "gaussian": GaussianProcessClassifier(max_iter_predict=5),
    "network": MLPClassifier((4,), solver="sgd", max_iter=3, random_state=0),
    "columns": make_pipeline(
        make_column_transformer((StandardScaler(), [FRAME.columns[0]]), remainder="passthrough"),
        LogisticRegression(max_iter=500),
    ),
}


class OwnModel(ClassifierMixin, BaseEstimator):
    """A user's estimator."""

    def fit(self, X: Any, y: Any) -> OwnModel:
        self.mean_ = float(np.mean(X))
        return self


def instances() -> list[Any]:
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, cls in all_estimators():
            if name == "FrozenEstimator":
                continue
            found.append(pytest.param(next(iter(_construct_instances(cls))), id=name))
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", instances())
def test_every_estimator_comes_back(model: Any, blobs: Any) -> None:
    dumped = KIND.dump(model, blobs)
    back = KIND.load(dumped, blobs, trusted=True)
    assert type(back) is type(model)
    assert repr(back) == repr(model)
    assert dumped.kind_meta["format"] == ("joblib" if type(model).__name__ in PICKLED else "skops")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", FITTED)
def test_fitted_models_predict_the_same(name: str, blobs: Any) -> None:
    model = FITTED[name].fit(FRAME, TARGET)
    dumped = KIND.dump(model, blobs)
    back = KIND.load(dumped, blobs)
    assert dumped.kind_meta["format"] == "skops"
    np.testing.assert_array_equal(back.predict(FRAME), model.predict(FRAME))
    if hasattr(model, "predict_proba"):
        np.testing.assert_array_equal(back.predict_proba(FRAME), model.predict_proba(FRAME))


def test_the_description_says_what_a_signature_needs(blobs: Any) -> None:
    meta = KIND.dump(LogisticRegression(max_iter=500).fit(FRAME, TARGET), blobs).kind_meta
    assert meta["class"] == "sklearn.linear_model._logistic.LogisticRegression"
    assert meta["fitted"] is True
    assert meta["feature_names_in_"] == list(FRAME.columns)
    assert (meta["n_features_in_"], meta["n_classes"]) == (4, 3)
    assert "predict_proba" in meta["verbs"]
    fresh = KIND.dump(LinearRegression(), blobs).kind_meta
    assert (fresh["fitted"], fresh["n_features_in_"], fresh["feature_names_in_"]) == (False, None, None)


def test_own_code_is_a_pickle_that_must_be_trusted(blobs: Any) -> None:
    dumped = KIND.dump(FunctionTransformer(np.log1p).fit(FRAME), blobs)
    assert dumped.kind_meta["format"] == "skops"
    dumped = KIND.dump(FunctionTransformer(pd.DataFrame.abs).fit(FRAME), blobs)
    assert dumped.kind_meta["format"] == "joblib"
    with pytest.raises(Forbidden, match="runs code"):
        KIND.load(dumped, blobs)
    assert KIND.load(dumped, blobs, trusted=True).func is pd.DataFrame.abs


def test_blob_corrupted(blobs: Any) -> None:
    for model in (LinearRegression(), FunctionTransformer(pd.DataFrame.abs)):
        dumped = KIND.dump(model, blobs)
        blobs.blobs[dumped.blobs[0].id] += b"x"
        with pytest.raises(BlobCorrupted):
            KIND.load(dumped, blobs, trusted=True)


def test_what_cannot_be_pickled_is_refused(blobs: Any) -> None:
    with pytest.raises(UnknownKind, match="FunctionTransformer holds"):
        KIND.dump(FunctionTransformer(lambda X: X), blobs)


def test_pickles_that_need_other_code_say_so(blobs: Any) -> None:
    ref = blobs.put(b"cnowhere\nthing\n.")
    with pytest.raises(UnknownKind, match="nowhere"):
        load_pickle(blobs, ref, trusted=True)


def test_a_file_that_names_other_types_is_refused(blobs: Any) -> None:
    data = dump_safe(LinearRegression())
    assert data is not None
    hostile = rewritten(data, b'"LinearRegression"', b'"Popen"')
    hostile = rewritten(hostile, b"sklearn.linear_model._base", b"subprocess")
    with pytest.raises(UntrustedTypesFoundException):
        load_safe(hostile)
    ref = blobs.put(hostile)
    with pytest.raises(Forbidden, match=r"subprocess\.Popen"):
        KIND.load(Dumped(KIND.name, {"format": "skops"}, (ref,)), blobs, trusted=True)


def test_what_is_no_archive_is_corrupted(blobs: Any) -> None:
    ref = blobs.put(b"no archive")
    assert ref.sha256 == hashlib.sha256(b"no archive").hexdigest()
    with pytest.raises(BlobCorrupted, match="not a skops file"):
        KIND.load(Dumped(KIND.name, {"format": "skops"}, (ref,)), blobs)


def rewritten(data: bytes, old: bytes, new: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(out, "w") as after:
        for item in before.namelist():
            after.writestr(item, before.read(item).replace(old, new))
    return out.getvalue()


def damaged_nodes(data: bytes, field: str, value: int) -> bytes:
    """Set a field of the first node of every tree in the file."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(out, "w") as after:
        for item in before.namelist():
            content = before.read(item)
            if item.endswith(".npy"):
                array = np.load(io.BytesIO(content))
                if array.dtype.names and field in array.dtype.names:
                    array[field][0] = value
                    changed = io.BytesIO()
                    np.save(changed, array)
                    content = changed.getvalue()
            after.writestr(item, content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        (DecisionTreeClassifier(), "left_child", 10_000),
        (DecisionTreeClassifier(), "right_child", 0),
        (RandomForestClassifier(2), "feature", 99),
        (HistGradientBoostingClassifier(max_iter=2), "left", 10_000),
        (HistGradientBoostingClassifier(max_iter=2), "feature_idx", 99),
    ],
    ids=["left", "loop", "feature", "histogram_left", "histogram_feature"],
)
def test_trees_that_point_outside_themselves_are_refused(model: Any, field: str, value: int) -> None:
    data = dump_safe(model.fit(FRAME, TARGET))
    assert data is not None
    load_safe(data)
    with pytest.raises(BlobCorrupted, match="outside itself"):
        load_safe(damaged_nodes(data, field, value))


def test_a_forest_whose_trees_expect_more_features_is_refused() -> None:
    forest = RandomForestClassifier(2).fit(FRAME, TARGET)
    forest.n_features_in_ = 2
    assert dump_safe(forest) is None


def test_histograms_with_categories_come_back() -> None:
    frame = pd.DataFrame({"c": pd.Categorical(list("abc") * 50), "x": range(150)})
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features="from_dtype").fit(frame, TARGET)
    data = dump_safe(model)
    assert data is not None
    np.testing.assert_array_equal(load_safe(data).predict(frame), model.predict(frame))


def test_the_reviewed_types_stay_few_and_known() -> None:
    assert {name.split(".")[0] for name in REVIEWED_TYPES} == {"functools", "numpy", "scipy", "sklearn"}
    assert not {"builtins.eval", "os.system"} & REVIEWED_TYPES


def test_only_estimators_are_supported() -> None:
    assert KIND.supports(OwnModel(), "x")
    assert not KIND.supports(OwnModel, "x")
    assert not KIND.supports(TransformerMixin(), "x")
    assert not KIND.supports(object(), "x")
    assert isinstance(KIND, ModelKind)


def test_the_kind_runs_and_serves() -> None:
    model = make_pipeline(OneHotEncoder(), LogisticRegression())
    fitted = KIND.run("fit", model, pd.DataFrame({"a": ["x", "y"] * 5}), pd.DataFrame({"t": [0, 1] * 5}))
    assert fitted.model_changed
    assert "predict" in KIND.verbs(model)
    assert [found.result for found in KIND.servable(model).answer("predict", ['{"data": [["y"], ["x"]]}'])] == ["[1,0]"]
