"""The verbs of a model with every sort of input, by users of every role that may call them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from omega_mesh.home import Credentials
from omegamesh.client import Omega, setup
from omegaproto.errors import BadInput, BadName, Forbidden, NotFitted, ObjectNotFound

ROWS = [[1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [0.0, 1.0]]
EXPECTED = [0, 1, 1, 0]


@pytest.fixture
def runner(ready: Omega, embedded_mesh: Credentials) -> Iterator[Omega]:
    """The same bucket as seen by a user who may run models, and store nothing."""
    bucket, userid = ready.client.config.bucket, f"u{secrets.token_hex(4)}"
    body = {"userid": userid, "grants": {bucket: "runner"}}
    made = ready.client.call("POST", "/api/v1/users", body=body)
    with closing(setup(userid, made["apikey"], embedded_mesh.url, bucket)) as om:
        yield om


@pytest.mark.parametrize(
    "given",
    ["sample[x,y]", "sample[^target]", ROWS, np.array(ROWS), pd.DataFrame(ROWS, columns=["x", "y"])],
    ids=["columns", "all but one", "list", "array", "frame"],
)
@pytest.mark.parametrize("local", [False, True], ids=["worker", "here"])
@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
def test_inputs_of_every_sort(ready: Omega, given: Any, local: bool) -> None:
    model = ready.runtime.mode(local=local).model("m")
    assert np.asarray(model.predict(given).get(timeout=60)).tolist() == EXPECTED


def test_inputs_as_plain_data(ready: Omega) -> None:
    ready.models.put(ready.models.get("raw"), "plain")
    model = ready.runtime.model("plain")
    assert model.fit(ROWS, EXPECTED).get(timeout=60).startswith("<Metadata: Metadata(name=plain,")
    assert model.score(ROWS, EXPECTED).get(timeout=60) == 1.0
    with pytest.raises(BadInput):
        model.predict({"x": 1}).get(timeout=60)


def test_inputs_and_results_that_do_not_fit_into_a_message(ready: Omega, large: pd.DataFrame) -> None:
    expected = ready.models.get("m").predict_proba(large)
    np.testing.assert_allclose(ready.runtime.model("m").predict_proba(large).get(timeout=60), expected)
    values = large.to_numpy()
    ready.models.put(StandardScaler().fit(values), "scaler")
    scaled = ready.runtime.model("scaler").transform(values).get(timeout=60)
    np.testing.assert_allclose(scaled, StandardScaler().fit_transform(values))


def test_a_runner_predicts_with_data_of_any_size(ready: Omega, runner: Omega, large: pd.DataFrame) -> None:
    expected = ready.models.get("m").predict(large)
    np.testing.assert_array_equal(runner.runtime.model("m").predict(large).get(timeout=60), expected)
    np.testing.assert_array_equal(runner.runtime.model("m").predict(large.head(3)).get(timeout=60), expected[:3])
    with pytest.raises(Forbidden):
        runner.models.put(StandardScaler(), "mine")
    with pytest.raises(Forbidden):
        runner.runtime.model("m").fit("sample[x,y]", "sample[target]").get(timeout=60)


@pytest.mark.parametrize("local", [False, True], ids=["worker", "here"])
def test_a_result_is_stored_in_place_of_what_was_there(ready: Omega, local: bool) -> None:
    model, name = ready.runtime.mode(local=local).model("m"), f"out-{local}"
    for _ in range(2):
        text = model.predict("sample[x,y]", rName=name).get(timeout=60)
        assert text.startswith(f"<Metadata: Metadata(name={name},")
    assert np.asarray(ready.datasets.get(name)).ravel().tolist() == EXPECTED
    assert len(ready.datasets.revisions(name)) == 2


def test_verbs_that_change_the_model_make_a_version(ready: Omega) -> None:
    ready.models.put(ready.models.get("raw"), "own")
    ready.runtime.model("own").fit("sample[x,y]", "sample[target]").get(timeout=60)
    assert ready.runtime.model("own").decision_function("sample[x,y]").get(timeout=60).shape == (4,)
    assert ready.runtime.model("own").score("sample[x,y]", "sample[target]").get(timeout=60) == 1.0
    with pytest.raises(NotFitted):
        ready.runtime.model("own^").predict("sample[x,y]").get(timeout=60)
    ready.models.put(StandardScaler(), "steps")
    ready.runtime.mode(local=True).model("steps").partial_fit("sample[x,y]").get()
    assert [len(ready.models.revisions(name)) for name in ("own", "steps")] == [2, 2]


def test_what_is_no_input(ready: Omega) -> None:
    model = ready.runtime.model("m")
    for wrong in (len, pd.DataFrame):
        with pytest.raises(BadInput, match=r"X is a .*Give a dataset's name, or data"):
            model.predict(wrong)
    with pytest.raises(BadName):
        model.predict("sample[")
    with pytest.raises(BadName):
        ready.runtime.model("a//b")


@pytest.mark.parametrize("local", [False, True], ids=["worker", "here"])
def test_what_is_missing_is_named(ready: Omega, local: bool) -> None:
    runtime = ready.runtime.mode(local=local)
    with pytest.raises(ObjectNotFound, match="no model 'nope'"):
        runtime.model("nope").predict("sample[x,y]").get(timeout=60)
    with pytest.raises(ObjectNotFound, match=r"no dataset 'nope' in bucket 'test-.*List what is there"):
        runtime.model("m").predict("nope").get(timeout=60)
