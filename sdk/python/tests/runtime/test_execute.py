"""Running one action, as workers do it: a second run of the same task changes nothing more."""

from __future__ import annotations

from typing import Any

import pytest

from omegamesh.client import Omega
from omegamesh.runtime.execute import execute
from omegaproto.errors import IdempotencyMismatch, UnknownAction
from omegaproto.tasks import RESULT_NAME, TaskSpec


def spec(om: Omega, action: str, target: str = "m", **fields: Any) -> TaskSpec:
    bucket = om.client.config.bucket
    return TaskSpec(bucket=bucket, action=action, target=target, idempotency_key="k", **fields)


def test_nothing_is_done(own: Omega) -> None:
    assert execute(own, spec(own, "noop")) is None


@pytest.mark.parametrize("action", ["explode", "job.run", "noop.x"])
def test_an_action_that_is_not_there_names_those_that_are(own: Omega, action: str) -> None:
    with pytest.raises(UnknownAction, match=r"Use one of: noop, model\.<verb>"):
        execute(own, spec(own, action))


def test_a_verb_that_the_model_has_not_names_those_that_it_has(own: Omega) -> None:
    with pytest.raises(UnknownAction, match="predict_proba"):
        execute(own, spec(own, "model.transform", inputs={"X": "sample[x,y]"}))


def test_a_fit_that_is_run_again_by_the_same_task_is_one_version(own: Omega) -> None:
    fit = spec(own, "model.fit", "raw", inputs={"X": "sample[x,y]", "Y": "sample[target]"})
    first, second = (execute(own, fit, task_id="t1") for _ in range(2))
    assert first == second
    assert len(own.models.revisions("raw")) == 2
    execute(own, fit, task_id="t2")
    assert len(own.models.revisions("raw")) == 3


def test_a_result_that_is_stored_again_by_the_same_task_is_one_revision(own: Omega) -> None:
    predict = spec(own, "model.predict", inputs={"X": "sample[x,y]"}, params={RESULT_NAME: "out"})
    assert execute(own, predict, task_id="t1") == execute(own, predict, task_id="t1")
    assert len(own.datasets.revisions("out")) == 1


def test_a_run_of_no_task_makes_a_version_each_time(own: Omega) -> None:
    fit = spec(own, "model.fit", "raw", inputs={"X": "sample[x,y]", "Y": "sample[target]"})
    for _ in range(2):
        execute(own, fit)
    assert len(own.models.revisions("raw")) == 3


def test_a_key_of_somebody_else_is_not_taken_for_a_tasks_own(own: Omega) -> None:
    own.datasets.put({"a": 1}, "d", idempotency_key="mine")
    with pytest.raises(IdempotencyMismatch):
        own.datasets.put({"a": 2}, "d", append=False, idempotency_key="mine")
