"""Where calls go: labels, local mode, pings, results from anywhere, cancelling."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

from omegamesh.client import Omega
from omegamesh.runtime.model import Done
from omegamesh.runtime.promise import Promise
from omegaproto.errors import CallTimeout, TaskCancelled, TaskNotFound, UnknownAction, UnknownLabel


def test_a_label_is_required_of_the_next_call_only(omega: Omega) -> None:
    runtime = omega.runtime
    assert repr(runtime.require("gpu").model("m")) == "<ModelProxy m on gpu>"
    assert repr(runtime.model("m")) == "<ModelProxy m on cpu>"
    assert repr(runtime.model("m", require="gpu")) == "<ModelProxy m on gpu>"
    assert repr(runtime.model("m").require("gpu").require()) == "<ModelProxy m on cpu>"


def test_a_label_is_required_always_until_it_is_undone(omega: Omega) -> None:
    runtime = omega.runtime.require("gpu", always=True)
    assert [repr(runtime.model(name)) for name in "ab"] == ["<ModelProxy a on gpu>", "<ModelProxy b on gpu>"]
    assert repr(runtime.require("tpu").model("m")) == "<ModelProxy m on tpu>"
    assert repr(runtime.model("m")) == "<ModelProxy m on gpu>"
    assert repr(runtime.require(None).model("m")) == "<ModelProxy m on cpu>"
    assert repr(runtime.model("m")) == "<ModelProxy m on cpu>"


def test_calls_can_run_in_this_process(omega: Omega) -> None:
    runtime, here = omega.runtime, "<ModelProxy m on this process>"
    assert repr(runtime.require("local").model("m")) == here
    assert repr(runtime.model("m").require("local")) == here
    assert repr(runtime.model("m")) == "<ModelProxy m on cpu>"
    assert (runtime.mode().is_local, runtime.mode(local=True).is_local) == (False, True)
    assert repr(runtime.model("m")) == here
    assert repr(runtime.mode(local=False).model("m")) == "<ModelProxy m on cpu>"


def test_a_label_that_nobody_offers_is_refused_at_the_call(ready: Omega) -> None:
    with pytest.raises(UnknownLabel, match=r"'gpu9'.*cpu"):
        ready.runtime.require("gpu9").model("m").predict("sample[x,y]")
    with pytest.raises(UnknownLabel):
        ready.runtime.ping(require="gpu9")
    assert ready.runtime.model("m").predict("sample[x,y]").get(timeout=60).tolist() == [0, 1, 1, 0]


def test_what_a_model_requires_chooses_its_workers(ready: Omega) -> None:
    ready.models.put(ready.models.get("m"), "picky", attributes={"require": "gpu9"})
    with pytest.raises(UnknownLabel, match="gpu9"):
        ready.runtime.model("picky").predict("sample[x,y]")
    explicit = ready.runtime.require("cpu").model("picky").predict("sample[x,y]")
    assert isinstance(explicit, Promise)
    assert explicit.task.spec.label == "cpu"
    ready.models.set_attributes("picky", require=7)
    assert repr(ready.runtime.model("picky").predict("sample[x,y]")).startswith("<Promise ")


def test_a_worker_answers_and_is_listed(ready: Omega) -> None:
    answer = ready.runtime.ping(timeout=60)
    assert answer["message"] == "ping return message"
    assert 0 < answer["time"] < 60
    workers = ready.runtime.workers()
    assert workers[answer["worker"]]["labels"] == ("cpu",)
    assert ready.runtime.labels() == ["cpu"]


def test_a_result_can_be_had_by_its_id(ready: Omega) -> None:
    submitted = ready.runtime.model("m").predict("sample[x,y]")
    assert isinstance(submitted, Promise)
    promise = ready.runtime.result(submitted.id, wait=False)
    assert isinstance(promise, Promise)
    assert promise.get(timeout=60).tolist() == ready.runtime.result(submitted.id).tolist() == [0, 1, 1, 0]
    with pytest.raises(TaskNotFound):
        ready.runtime.result("nope")


def test_many_tasks_in_one_go(ready: Omega) -> None:
    promises = ready.runtime.tasks([{"action": "noop"} for _ in range(20)])
    assert len({promise.id for promise in promises}) == 20
    assert ready.runtime.gather(promises, timeout=60) == [None] * 20
    assert all(promise.ready() for promise in promises)


def test_an_action_that_is_not_there(ready: Omega) -> None:
    with pytest.raises(UnknownAction, match="explode"):
        ready.runtime.task("explode").get(timeout=60)


@pytest.fixture
def endless(ready: Omega) -> Promise:
    """A fit that never ends, begun."""
    rows = np.random.default_rng(0).normal(size=(100, 3))
    ready.models.put(SGDClassifier(max_iter=10**9, tol=None), "endless")
    promise = ready.runtime.model("endless").fit(rows, (rows[:, 0] > 0).astype(int))
    assert isinstance(promise, Promise)
    return promise


def test_a_long_task_is_waited_for_and_cancelled(ready: Omega, endless: Promise) -> None:
    with pytest.raises(CallTimeout, match="It goes on"):
        endless.get(timeout=0.5)
    with pytest.raises(CallTimeout, match=r"1 tasks have not ended\. They go on: gather again"):
        ready.runtime.gather([endless], timeout=0.1)
    assert not endless.ready()
    while endless.status == "PENDING":
        """The next answer is asked for at once; a worker begins soon."""
    assert endless.status == "STARTED"
    endless.cancel()
    with pytest.raises(TaskCancelled):
        endless.get(timeout=60)
    assert endless.status == "REVOKED"
    assert len(ready.models.revisions("endless")) == 1


def test_a_call_in_this_process_is_a_promise_that_is_kept(ready: Omega) -> None:
    done = ready.runtime.mode(local=True).model("m").predict("sample[x,y]")
    assert isinstance(done, Done)
    assert (done.status, done.ready(), done.id, done.task_id) == ("SUCCESS", True, None, None)
    assert done.get(timeout=0).tolist() == [0, 1, 1, 0]
