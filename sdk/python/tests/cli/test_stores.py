"""`om datasets` and `om models` on a real mesh."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from omegaproto.objects import Metadata

Person = Callable[..., tuple[int, str]]


def test_a_table_goes_in_and_comes_out(mesh_om: Any, sales: Path) -> None:
    assert mesh_om("datasets", "put", sales, "sales").stdout.startswith("<Metadata: Metadata(name=sales,")
    for ending in ("csv", "parquet"):
        assert mesh_om("datasets", "get", "sales", f"out.{ending}").stdout == f"out.{ending}\n"
    assert Path("out.csv").read_text(encoding="utf-8") == sales.read_text(encoding="utf-8")
    pd.testing.assert_frame_equal(pd.read_parquet("out.parquet"), pd.read_csv(sales))


def test_columns_and_csv_options(mesh_om: Any, sales: Path) -> None:
    mesh_om("datasets", "put", sales, "sales", "--csv", "nrows=2", "--csv", "usecols=[0, 1]")
    mesh_om("datasets", "get", "sales[y]", "out.txt", "--format", "csv", "--csv", "header=None")
    assert Path("out.txt").read_text(encoding="utf-8") == "2\n3\n"


def test_a_second_put_adds_warns_or_replaces(mesh_om: Any, sales: Path) -> None:
    def rows() -> int:
        mesh_om("datasets", "get", "sales", "out.csv")
        return len(pd.read_csv("out.csv"))

    mesh_om("datasets", "put", sales, "sales")
    mesh_om("datasets", "put", sales, "sales", "--append")
    assert rows() == 8
    mesh_om("datasets", "put", sales, "sales", "--replace")
    assert rows() == 4
    result = mesh_om("datasets", "put", sales, "sales", "--replace", "--append", fails=2)
    assert "Choose one of --replace and --append" in result.stderr


def test_a_table_without_rows_is_not_stored(mesh_om: Any, person: Person) -> None:
    Path("empty.csv").write_text("a,b\n", encoding="utf-8")
    status, shown = person("datasets", "put", "empty.csv", "empty")
    assert status == 0
    assert "warning: 'empty' was not stored: the frame is empty." in shown
    assert mesh_om("datasets", "list").stdout == ""


def test_any_file_comes_back_as_it_was(mesh_om: Any, sales: Path) -> None:
    metadata = json.loads(mesh_om("datasets", "put", sales, "raw", "--format", "binary", "--json").stdout)
    assert metadata["kind"] == "python.file"
    mesh_om("datasets", "get", "raw", "copy")
    assert Path("copy").read_bytes() == sales.read_bytes()


def test_an_image_is_stored_as_an_array(mesh_om: Any) -> None:
    from PIL import Image

    pixels = np.arange(12, dtype="uint8").reshape(2, 2, 3)
    Image.fromarray(pixels).save("image.png")
    mesh_om("datasets", "put", "image.png", "image")
    mesh_om("datasets", "get", "image", "image.npy")
    assert (np.load("image.npy") == pixels).all()


def test_lists_by_pattern_regexp_and_json(mesh_om: Any, sales: Path) -> None:
    for name in ("a/one", "a/two", "b", ".hidden"):
        mesh_om("datasets", "put", sales, name)
    assert mesh_om("datasets", "list").stdout == "a/one\na/two\nb\n"
    assert mesh_om("datasets", "list", "a/*").stdout == "a/one\na/two\n"
    assert mesh_om("datasets", "list", "^(b|a/t)", "-E").stdout == "a/two\nb\n"
    assert mesh_om("-E", "datasets", "list", "wo$").stdout == "a/two\n"
    assert mesh_om("datasets", "list", "--hidden").stdout == ".hidden\na/one\na/two\nb\n"
    assert json.loads(mesh_om("datasets", "list", "--json").stdout) == ["a/one", "a/two", "b"]
    assert mesh_om("datasets", "list", "b", "--raw").stdout.startswith("<Metadata: Metadata(name=b,")
    (found,) = json.loads(mesh_om("datasets", "list", "b", "--raw", "--json").stdout)
    assert Metadata.model_validate(found).name == "b"


def test_a_person_sees_a_table(mesh_om: Any, person: Person, sales: Path) -> None:
    mesh_om("datasets", "put", sales, "sales")
    status, shown = person("datasets", "list")
    head, row = shown.strip().splitlines()
    assert status == 0
    assert head.split() == ["name", "kind", "revision", "modified"]
    assert row.split()[:3] == ["sales", "pandas.dfrows", "1"]


def test_another_bucket_is_another_world(mesh_om: Any, sales: Path) -> None:
    mesh_om("datasets", "put", sales, "sales")
    assert mesh_om("datasets", "list", "--bucket", "elsewhere-entirely").stdout == ""


def test_metadata_and_revisions(mesh_om: Any, sales: Path) -> None:
    mesh_om("datasets", "put", sales, "sales")
    mesh_om("datasets", "put", sales, "sales", "--append")
    metadata = Metadata.model_validate_json(mesh_om("datasets", "metadata", "sales").stdout)
    lines = mesh_om("datasets", "revisions", "sales").stdout.splitlines()
    assert lines[-1] == f"sales@{metadata.revision.id}"
    assert [item["number"] for item in json.loads(mesh_om("datasets", "revisions", "sales", "--json").stdout)] == [1, 2]


def test_drop(mesh_om: Any, sales: Path) -> None:
    for name in ("a/one", "a/two", "b"):
        mesh_om("datasets", "put", sales, name)
    assert mesh_om("datasets", "drop", "a/*").stdout == "dropped a/one\ndropped a/two\n"
    assert json.loads(mesh_om("datasets", "drop", "b", "--json").stdout) == ["b"]
    assert mesh_om("datasets", "drop", "b", "--force").stdout == ""
    assert "nothing called 'b'" in mesh_om("datasets", "drop", "b", fails=1).stderr


@pytest.mark.parametrize("words", [["get", "nope", "out.csv"], ["metadata", "nope"], ["revisions", "nope"]])
@pytest.mark.parametrize("store", ["datasets", "models"])
def test_a_name_that_is_not_there(mesh_om: Any, store: str, words: list[str]) -> None:
    result = mesh_om(store, *words, fails=1)
    assert "nope" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("out.csv").exists()


def test_a_model_goes_in_and_comes_out(mesh_om: Any) -> None:
    mesh_om("models", "put", "sklearn.linear_model.LinearRegression", "m@first")
    assert mesh_om("models", "list").stdout == "m\n"
    mesh_om("models", "get", "m", "m.skops")
    assert json.loads(mesh_om("models", "put", "m.skops", "m", "--json").stdout)["revision"]["number"] == 2
    mesh_om("models", "get", "m@first", "m.joblib")
    assert "--trust" in mesh_om("models", "put", "m.joblib", "m", fails=1).stderr
    mesh_om("models", "put", "m.joblib", "m", "--trust")
    assert len(mesh_om("models", "revisions", "m").stdout.splitlines()) == 3


def test_a_tag_names_a_version(mesh_om: Any) -> None:
    for _ in range(2):
        mesh_om("models", "put", "sklearn.linear_model.LinearRegression", "a/m")
    assert mesh_om("models", "tag", "a/m^", "old").stdout == "a/m@old\n"
    assert mesh_om("models", "revisions", "a/m").stdout.splitlines()[0] == "a/m@old"
    assert json.loads(mesh_om("models", "metadata", "a/m@old").stdout)["revision"]["number"] == 1
    assert "nope" in mesh_om("models", "tag", "nope", "old", fails=1).stderr
