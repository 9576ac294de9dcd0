"""`om runtime` on a real mesh, with a real worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from omegamesh.cli.runtime import verb_arguments


def test_a_model_is_fitted_by_a_worker(mesh_om: Any, sales: Path) -> None:
    mesh_om("datasets", "put", sales, "sales")
    mesh_om("models", "put", "sklearn.linear_model.LogisticRegression", "m")
    result = mesh_om("runtime", "model", "m", "fit", "sales[^target]", "sales[target]")
    assert result.stdout.startswith("<Metadata: Metadata(name=m,")
    assert len(mesh_om("models", "revisions", "m").stdout.splitlines()) == 2


def test_a_model_predicts_and_is_scored(fitted: Any) -> None:
    assert json.loads(fitted("runtime", "model", "m", "predict", "sales[^target]").stdout) == [0, 1, 1, 0]
    assert float(fitted("runtime", "model", "m", "score", "sales[^target]", "sales[target]").stdout) == 1.0
    proba = json.loads(fitted("runtime", "model", "m", "predict_proba", "sales[^target]", "--json").stdout)
    assert [len(row) for row in proba] == [2] * 4


def test_data_on_the_line_and_in_this_process(fitted: Any) -> None:
    for words in (["--local"], ["--local-runtime"], ["--require", "cpu"]):
        result = fitted("runtime", "model", "m", "predict", "sales[x,y]", *words)
        assert json.loads(result.stdout) == [0, 1, 1, 0]


def test_a_result_can_be_stored(fitted: Any) -> None:
    result = fitted("runtime", "model", "m", "predict", "sales[^target]", "--result", "out")
    assert result.stdout.startswith("<Metadata: Metadata(name=out,")
    fitted("datasets", "get", "out", "out.csv", "--csv", "header=False")
    assert Path("out.csv").read_text(encoding="utf-8").split() == ["0", "1", "1", "0"]


def test_a_call_can_be_waited_for_later(fitted: Any) -> None:
    task_id = fitted("runtime", "model", "m", "predict", "sales[^target]", "--async").stdout.strip()
    assert json.loads(fitted("runtime", "result", task_id).stdout) == [0, 1, 1, 0]
    assert fitted("runtime", "cancel", task_id).stdout == f"{task_id} SUCCESS\n"
    assert "nope" in fitted("runtime", "result", "nope", fails=1).stderr
    result = fitted("runtime", "model", "m", "predict", "sales[^target]", "--async", "--local", fails=2)
    assert "--async" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope", "predict", "sales[^target]"], "nope"),
        (["m", "predict", "nope"], "There is no dataset 'nope'"),
        (["m", "predict", "sales[nope]"], "nope"),
        (["m", "predict", "sales[^target]", "--require", "gpu"], "No worker pool offers the label 'gpu'"),
    ],
)
def test_a_call_that_is_refused_says_why_in_one_line(fitted: Any, words: list[str], message: str) -> None:
    result = fitted("runtime", "model", *words, fails=1)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_ping_and_status(mesh_om: Any) -> None:
    assert mesh_om("runtime", "ping").stdout.startswith("ping return message from ")
    answer = json.loads(mesh_om("runtime", "ping", "--json").stdout)
    assert answer["time"] < 10
    worker, labels, busy, _ = mesh_om("runtime", "status").stdout.strip().split("\t")
    assert (worker, labels) == (answer["worker"], "cpu")
    assert busy.endswith("/2")
    assert mesh_om("runtime", "status", "labels").stdout == "cpu\n"
    assert worker in json.loads(mesh_om("runtime", "status", "workers", "--json").stdout)


def test_the_arguments_of_a_verb() -> None:
    assert verb_arguments("fit", "a", "b", None) == {"X": "a", "Y": "b"}
    assert verb_arguments("fit", "[[1]]", "1", None) == {"X": [[1]], "Y": [1]}
    assert verb_arguments("predict", "2.5", None, "out") == {"X": [[2.5]], "rName": "out"}


@pytest.mark.parametrize(
    ("y", "result", "action"), [("b", None, "predict"), (None, "out", "fit"), (None, "out", "score")]
)
def test_an_argument_that_the_verb_does_not_take(y: str | None, result: str | None, action: str) -> None:
    with pytest.raises(typer.BadParameter):
        verb_arguments(action, "a", y, result)
