"""The main job: store, fit, predict, score, look at revisions, serve over HTTP; by the public SDK and REST only."""

from __future__ import annotations

from typing import Any

import httpx2
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from omegamesh.client import Omega


@pytest.fixture(scope="module")
def sample() -> pd.DataFrame:
    """A real data set."""
    frame: pd.DataFrame = load_iris(as_frame=True).frame
    return frame


@pytest.fixture
def fitted(om: Omega, sample: pd.DataFrame) -> Omega:
    """A bucket with the sample and a model fitted on it by a worker."""
    om.datasets.put(sample, "sample")
    om.models.put(LogisticRegression(max_iter=500), "mymodel")
    om.runtime.require("cpu").model("mymodel").fit("sample[^target]", "sample[target]").get(timeout=60)
    return om


def test_datasets_are_stored_filtered_and_listed(om: Omega, sample: pd.DataFrame) -> None:
    om.datasets.put(sample, "sample")
    assert_frame_equal(om.datasets.get("sample"), sample)
    column = "sepal length (cm)"
    found = om.datasets.get("sample", **{f"{column}__gte": 7.0})
    assert_frame_equal(found, sample[sample[column] >= 7.0])
    assert om.datasets.list() == ["sample"]
    assert_frame_equal(om.datasets.get("sample[target]"), sample[["target"]])


def test_a_worker_fits_and_the_result_is_a_new_version(fitted: Omega, sample: pd.DataFrame) -> None:
    assert len(fitted.models.revisions("mymodel")) == 2
    model = fitted.models.get("mymodel")
    assert model.score(sample.drop(columns="target"), sample["target"]) > 0.9
    assert not hasattr(fitted.models.get("mymodel^"), "coef_")


def test_a_worker_predicts_and_scores(fitted: Omega, sample: pd.DataFrame) -> None:
    runtime, features = fitted.runtime, sample.drop(columns="target")
    expected = fitted.models.get("mymodel").predict(features)
    np.testing.assert_array_equal(runtime.model("mymodel").predict("sample[^target]").get(timeout=60), expected)
    np.testing.assert_array_equal(runtime.model("mymodel").predict(features).get(timeout=60), expected)
    probabilities = runtime.model("mymodel").predict_proba("sample[^target]").get(timeout=60)
    assert probabilities.shape == (150, 3)
    assert runtime.model("mymodel").score("sample[^target]", "sample[target]").get(timeout=60) > 0.9
    assert runtime.model("mymodel").decision_function("sample[^target]").get(timeout=60).shape == (150, 3)


def test_a_result_can_be_stored(fitted: Omega, sample: pd.DataFrame) -> None:
    text = fitted.runtime.model("mymodel").predict("sample[^target]", rName="predicted").get(timeout=60)
    assert text.startswith("<Metadata: Metadata(name=predicted,")
    assert len(fitted.datasets.get("predicted")) == len(sample)


def test_partial_fit_and_transform(om: Omega, sample: pd.DataFrame) -> None:
    om.datasets.put(sample, "sample")
    om.models.put(SGDClassifier(random_state=0), "sgd")
    om.runtime.model("sgd").partial_fit("sample[^target]", "sample[target]", classes=[0, 1, 2]).get(timeout=60)
    om.runtime.model("sgd").partial_fit("sample[^target]", "sample[target]").get(timeout=60)
    assert len(om.models.revisions("sgd")) == 3
    om.models.put(StandardScaler(), "scaler")
    om.runtime.model("scaler").fit("sample[^target]").get(timeout=60)
    scaled = om.runtime.model("scaler").transform("sample[^target]").get(timeout=60)
    assert np.allclose(np.asarray(scaled).mean(axis=0), 0)


def test_http_predict_is_answered_by_a_worker(fitted: Omega, http: httpx2.Client, sample: pd.DataFrame) -> None:
    features = sample.drop(columns="target").head(3)
    body = {"columns": list(features.columns), "data": features.to_numpy().tolist()}
    answer = http.post("/api/v1/model/mymodel/predict", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"] == "mymodel"
    assert answer.json()["result"] == fitted.models.get("mymodel").predict(features).tolist()
    records = {"columns": body["columns"], "data": features.to_dict("records")}
    assert http.put("/api/v1/model/mymodel/predict", json=records).json()["result"] == answer.json()["result"]
    proba = http.post("/api/v1/model/mymodel/predict_proba", json=body).json()["result"]
    assert np.asarray(proba).shape == (3, 3)


def test_a_version_is_served_by_its_tag(om: Omega, http: httpx2.Client, sample: pd.DataFrame) -> None:
    features, target = sample.drop(columns="target").to_numpy(), sample["target"].to_numpy()
    om.models.put(LogisticRegression(max_iter=500).fit(features, target), "m", tag="prod")
    om.models.put(LogisticRegression(max_iter=500).fit(features, 2 - target), "m")
    body = {"columns": ["a", "b", "c", "d"], "data": features[:1].tolist()}
    assert http.post("/api/v1/model/m@prod/predict", json=body).json()["result"] == [0]
    assert http.post("/api/v1/model/m/predict", json=body).json()["result"] == [2]
    assert http.post("/api/v1/model/m^/predict", json=body).json()["result"] == [0]


def test_a_new_version_is_served_at_once(fitted: Omega, http: httpx2.Client, sample: pd.DataFrame) -> None:
    features = sample.drop(columns="target")
    body = {"columns": list(features.columns), "data": features.head(1).to_numpy().tolist()}
    assert http.post("/api/v1/model/mymodel/predict", json=body).json()["result"] == [0]
    fitted.models.put(LogisticRegression(max_iter=500).fit(features, 2 - sample["target"]), "mymodel")
    assert http.post("/api/v1/model/mymodel/predict", json=body).json()["result"] == [2]


def test_dataset_actions_over_http(fitted: Omega, http: httpx2.Client) -> None:
    query = {"datax": "sample[^target]", "datay": "sample[target]"}
    scored = http.get("/api/v1/model/mymodel/score", params=query)
    assert scored.status_code == 200, scored.text
    assert scored.json()["result"] > 0.9
    submitted = http.put("/api/v1/model/mymodel/fit", params={**query, "async": "1"})
    assert submitted.status_code == 202
    result = http.get(submitted.headers["Location"], params={"wait": 30})
    assert result.status_code == 200, result.text
    assert len(fitted.models.revisions("mymodel")) == 3


def test_local_mode_needs_no_worker(om: Omega, sample: pd.DataFrame) -> None:
    om.datasets.put(sample, "sample")
    om.models.put(make_pipeline(StandardScaler(), LogisticRegression()), "pipe")
    local = om.runtime.mode(local=True)
    local.model("pipe").fit("sample[^target]", "sample[target]").get()
    assert local.model("pipe").score("sample[^target]", "sample[target]").get() > 0.9
    assert len(om.models.revisions("pipe")) == 2


def test_results_are_read_from_another_client(fitted: Omega, mesh: Any) -> None:
    promise = fitted.runtime.model("mymodel").score("sample[^target]", "sample[target]")
    from omegamesh.client import setup

    other = setup(api_url=mesh.url, userid=mesh.userid, apikey=mesh.apikey, bucket=fitted.client.config.bucket)
    assert other.runtime.result(promise.id) == promise.get(timeout=60)
    assert promise.ready()
    assert promise.status == "SUCCESS"
    other.close()


def test_a_larger_data_set_round_trips(om: Omega) -> None:
    frame = load_breast_cancer(as_frame=True).frame
    om.datasets.put(frame, "cancer")
    assert_frame_equal(om.datasets.get("cancer"), frame)
    with pytest.warns(UserWarning, match="appended"):
        om.datasets.put(frame, "cancer")
    assert len(om.datasets.get("cancer")) == 2 * len(frame)
    om.datasets.put(frame, "cancer", append=False)
    assert_frame_equal(om.datasets.get("cancer"), frame)
    assert len(om.datasets.revisions("cancer")) == 3


def test_python_data_is_appended(om: Omega) -> None:
    om.datasets.put({"a": 1}, "x")
    om.datasets.put({"a": 2}, "x", append=True)
    assert om.datasets.get("x") == [{"a": 1}, {"a": 2}]


def test_arrays_and_files_round_trip(om: Omega, tmp_path: Any) -> None:
    array = np.arange(24, dtype="float32").reshape(2, 3, 4)
    om.datasets.put(array, "a")
    np.testing.assert_array_equal(om.datasets.get("a"), array)
    source = tmp_path / "f.bin"
    source.write_bytes(bytes(range(256)) * 1000)
    om.datasets.put(str(source), "f")
    om.datasets.get("f", local=str(tmp_path / "g.bin"))
    assert (tmp_path / "g.bin").read_bytes() == source.read_bytes()


def test_buckets_are_apart(om: Omega, sample: pd.DataFrame) -> None:
    om.datasets.put(sample, "sample")
    other = om[f"{om.bucket}x"]
    assert other.datasets.list() == []
    assert other.datasets.get("sample") is None
    other.datasets.put(sample.head(), "mine")
    assert {om.bucket, other.bucket} <= set(om.buckets)
    assert om.datasets.list() == ["sample"]


def test_existing_code_runs_unchanged(om: Omega, monkeypatch: pytest.MonkeyPatch, sample: pd.DataFrame) -> None:
    import sys

    import omegamesh

    config = om.client.config
    for name, value in {
        "URL": config.url,
        "USERID": config.userid,
        "APIKEY": config.apikey,
        "BUCKET": config.bucket,
    }.items():
        monkeypatch.setenv(f"OMEGA_{name}", str(value))
    monkeypatch.setattr(omegamesh, "_om", None)
    monkeypatch.setitem(sys.modules, "omegaml", omegamesh)
    omegamesh.install_as_omegaml()
    import omegaml as legacy  # type: ignore[import-not-found]

    legacy.datasets.put(sample, "sample")
    assert legacy.datasets.list() == om.datasets.list() == ["sample"]
    assert legacy[om.bucket].datasets.exists("sample")
    legacy.close()


def test_the_runtime_answers(om: Omega) -> None:
    assert om.runtime.ping(timeout=30)["message"]
    assert "cpu" in om.runtime.labels()
    assert any("cpu" in worker["labels"] for worker in om.runtime.workers().values())
