"""The decisions of the worker that need no process: pace, outcomes, output lines, cached models, errors, settings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.sparse import csr_matrix

from omega_worker.child.failures import MAX_TRACEBACK, failure_of
from omega_worker.child.models import ModelCache
from omega_worker.child.plain import json_payload
from omega_worker.launch import child_environment
from omega_worker.leases import renewal_interval
from omega_worker.messages import TaskEnded
from omega_worker.outcomes import Stop, ended_by_child, ended_by_death, ended_by_us
from omega_worker.output import MAX_LINE, OutputLines
from omega_worker.pace import Pace
from omega_worker.predict import REPLY_BYTES, fitting
from omega_worker.process import describe_exit
from omega_worker.settings import WorkerOptions, WorkerSettings
from omegaproto.errors import BadInput, NotFitted, TaskFailed, TooLarge, Unavailable
from omegaproto.predictions import Prediction, Predictions
from omegaproto.tasks import Lease, Payload

from .conftest import spec

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LEASE = Lease(task_id="t", token="secret", expires_at=NOW + timedelta(seconds=30))


class TestPace:
    @given(st.lists(st.floats(0, 1e5), max_size=30), st.integers(1, 64), st.integers(0, 64))
    def test_stays_within_its_bounds(self, seconds: list[float], slots: int, most: int) -> None:
        pace = Pace(slots, most)
        assert pace.ahead == 0
        for each in seconds:
            pace.note(each)
        assert 0 <= pace.ahead <= most

    def test_follows_what_tasks_take(self) -> None:
        pace = Pace(2, 16)
        pace.note(0.001)
        assert pace.ahead == 16
        for _ in range(4):
            pace.note(60)
        assert pace.ahead == 0
        for _ in range(8):
            pace.note(0.001)
        assert pace.ahead > 8


class TestOutcomes:
    def test_what_the_child_answered(self) -> None:
        done = ended_by_child(LEASE, TaskEnded(result=Payload(value=1)))
        assert (done.outcome, done.result, done.token, done.task_id) == ("succeeded", Payload(value=1), "secret", "t")
        failed = ended_by_child(LEASE, TaskEnded(error=Unavailable("No.").info(), retryable=True))
        assert (failed.outcome, failed.retryable, failed.result) == ("failed", True, None)

    @pytest.mark.parametrize(
        ("why", "outcome"), [(Stop.cancelled, "cancelled"), (Stop.released, "released"), (Stop.timed_out, "failed")]
    )
    def test_what_we_stopped(self, why: Stop, outcome: str) -> None:
        completion = ended_by_us(LEASE, spec(timeout_seconds=5), why)
        assert completion is not None
        assert (completion.outcome, completion.token) == (outcome, "secret")

    def test_a_lost_lease_records_nothing(self) -> None:
        assert ended_by_us(LEASE, spec(), Stop.lease_lost) is None

    def test_a_timeout_says_how_long_and_what_to_do(self) -> None:
        completion = ended_by_us(LEASE, spec(timeout_seconds=5), Stop.timed_out)
        assert completion is not None
        assert completion.error is not None
        assert "5 s" in completion.error.message
        assert "timeout_seconds" in completion.error.action

    def test_a_death_is_a_lost_attempt(self) -> None:
        completion = ended_by_death(LEASE, describe_exit(-9))
        assert completion.outcome == "lost"
        assert completion.error is not None
        assert "SIGKILL" in completion.error.message

    @pytest.mark.parametrize(("code", "says"), [(0, "status 0"), (-11, "SIGSEGV"), (-200, "signal 200")])
    def test_exits_in_words(self, code: int, says: str) -> None:
        assert says in describe_exit(code)


class TestOutput:
    @given(st.lists(st.binary(max_size=300), max_size=20), st.integers(0, 500))
    def test_never_keeps_more_than_its_budget(self, pieces: list[bytes], budget: int) -> None:
        lines = OutputLines(budget)
        found = [line for piece in pieces for line in lines.feed(piece)]
        dropped = lines.dropped
        found += lines.renew()[: 1 if dropped == 0 else -1]
        assert sum(len(line.encode("utf-8", "replace")) for line in found) <= 3 * budget  # a bad byte becomes three
        assert dropped == max(sum(map(len, pieces)) - budget, 0)

    def test_cuts_into_lines_and_begins_anew(self) -> None:
        lines = OutputLines(20)
        assert lines.feed(b"one\r\n\ntw") == ["one"]
        assert lines.feed(b"o\nthree and more than fits\n") == ["two"]
        assert lines.renew() == ["three and ", "… 15 bytes more were printed and left out"]
        assert lines.feed(b"again\n") == ["again"]

    def test_a_line_without_end_is_cut(self) -> None:
        assert [len(line) for line in OutputLines(10**6).feed(b"x" * (MAX_LINE + 1))] == [MAX_LINE]


class TestModelCache:
    def test_drops_the_least_recently_used(self) -> None:
        cache: ModelCache[str] = ModelCache(10)
        a, b, c = (("bucket", "name", revision) for revision in "abc")
        cache.put(a, "A", 4)
        cache.put(b, "B", 4)
        assert cache.get(a) == "A"
        cache.put(c, "C", 4)
        assert (cache.get(a), cache.get(b), cache.get(c), len(cache)) == ("A", None, "C", 2)

    def test_keeps_one_that_is_over_the_limit_and_replaces_the_same(self) -> None:
        cache: ModelCache[str] = ModelCache(10)
        key = ("bucket", "name", "a")
        cache.put(key, "old", 8)
        cache.put(key, "new", 100)
        assert (cache.get(key), len(cache)) == ("new", 1)
        cache.put(("bucket", "name", "b"), "other", 1)
        assert cache.get(key) is None

    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20)), max_size=40))
    def test_never_holds_more_than_the_limit_but_for_the_newest(self, puts: list[tuple[int, int]]) -> None:
        cache: ModelCache[int] = ModelCache(30)
        sizes: dict[int, int] = {}
        for number, size in puts:
            cache.put(("b", "n", str(number)), size, size)
            sizes[number] = size
            held = [size for number, size in sizes.items() if cache.get(("b", "n", str(number))) is not None]
            assert sum(held) <= 30 or len(held) == 1
            assert cache.get(("b", "n", str(number))) == size


class TestFailures:
    def test_mesh_errors_stay_what_they_are(self) -> None:
        info, retryable = failure_of(NotFitted("Never fitted.", action="Fit it.", model="m"))
        assert (info.code, info.details, retryable) == ("not_fitted", {"model": "m"}, False)
        assert failure_of(Unavailable("Away."))[1] is True

    def test_what_user_code_raises_is_bounded(self) -> None:
        def deep(depth: int) -> None:
            if depth == 0:
                raise ValueError("x" * 100_000)
            deep(depth - 1)

        with pytest.raises(ValueError) as caught:
            deep(400)
        info, retryable = failure_of(caught.value)
        assert (info.code, info.details["type"], retryable) == (TaskFailed.code, "ValueError", False)
        assert len(info.message) < 3000
        assert len(info.details["traceback"]) <= MAX_TRACEBACK + 2

    def test_details_that_are_no_json_or_too_much_are_bounded(self) -> None:
        assert failure_of(BadInput("No.", what=object()))[0].details["what"].startswith("<object")
        assert "omitted" in failure_of(BadInput("No.", what="x" * 100_000))[0].details

    @pytest.mark.parametrize(("error", "says"), [(MemoryError(), "MEMORY_LIMIT"), (SystemExit(1), "return")])
    def test_says_what_to_do(self, error: BaseException, says: str) -> None:
        assert says in failure_of(error)[0].action


class TestJsonResults:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (np.array([1.5, np.nan]), [1.5, None]),
            (np.int64(3), 3),
            (pd.Series([1, 2]), [1, 2]),
            (pd.DataFrame({"a": [1], "b": ["x"]}), [[1, "x"]]),
            (csr_matrix([[0, 1]]), [[0, 1]]),
            ({"a": np.array([1]), "b": 1j}, {"a": [1], "b": "1j"}),
        ],
    )
    def test_values(self, value: object, expected: object) -> None:
        assert json_payload(value) == Payload(value=expected)  # type: ignore[arg-type]

    def test_too_large(self) -> None:
        with pytest.raises(TooLarge, match="over the limit"):
            json_payload(np.zeros(100_000))


class TestFitting:
    def test_what_fits_is_left_alone(self) -> None:
        items = (Prediction(result="[1]"), Prediction(error=NotFitted("No.").info()))
        assert fitting(items) == items

    @given(st.lists(st.integers(0, REPLY_BYTES + 1000), max_size=12))
    def test_every_reply_fits_into_a_message(self, sizes: list[int]) -> None:
        found = fitting(tuple(Prediction(result="x" * size) for size in sizes))
        assert len(found) == len(sizes)
        assert len(Predictions(items=found).model_dump_json()) <= 256 * 1024

    def test_one_that_is_too_large_does_not_harm_the_others(self) -> None:
        small, large = Prediction(result="[1]"), Prediction(result="x" * REPLY_BYTES)
        found = fitting((small, large, small))
        assert (found[0], found[2]) == (small, small)
        assert found[1].error is not None
        assert found[1].error.code == "too_large"
        crowded = fitting((Prediction(result="x" * (REPLY_BYTES // 2 - 100)),) * 3)
        assert [item.error.code for item in crowded if item.error] == ["overloaded"]


@given(st.floats(-10, 1e6))
def test_leases_are_renewed_three_times_in_their_life(seconds: float) -> None:
    interval = renewal_interval(NOW + timedelta(seconds=seconds), NOW)
    assert 0.05 <= interval <= 10
    assert interval <= max(seconds / 3, 0.05) + 1e-6


def test_children_get_nothing_of_the_mesh() -> None:
    found = child_environment({"PATH": "/bin", "OMEGA_AUTH__WORKER_SECRET": "s", "omega_bus__url": "amqp://"}, 3)
    assert found["PATH"] == "/bin"
    assert found["OMP_NUM_THREADS"] == "3"
    assert not [name for name in found if name.lower().startswith("omega")]


@pytest.mark.parametrize("given", ["cpu,gpu", " cpu , gpu,", '["cpu", "gpu"]'])
def test_labels_from_the_environment(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_WORKER__LABELS", given)
    assert WorkerSettings().worker.label_names == ("cpu", "gpu")


def test_workers_have_names_of_their_own() -> None:
    assert WorkerOptions().named().name != WorkerOptions().named().name
    assert WorkerOptions(name="mine").named().name == "mine"


@pytest.mark.parametrize("labels", ["", ",", ["x" * 64], [f"l{n}" for n in range(65)]])
def test_labels_that_are_none(labels: object) -> None:
    with pytest.raises(ValidationError, match="Give 1 to 64 labels"):
        WorkerOptions(labels=labels)  # type: ignore[arg-type]
