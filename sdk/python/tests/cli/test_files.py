"""Files as objects and objects as files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LinearRegression

from omegamesh.cli.files import read_dataset, read_model, write_dataset, write_model
from omegaproto.errors import BadInput, BadRequest

FRAME = pd.DataFrame({"x": [1, 2], "y": ["a", "ä"]})


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder to work in with a module of the user's own."""
    text = "from sklearn.linear_model import LinearRegression\nready = LinearRegression()\n"
    text += "def made():\n    return LinearRegression(positive=True)\n"
    (tmp_path / "my_models.py").write_text(text, encoding="utf-8")
    (tmp_path / "my_broken.py").write_text("import surely_not_installed\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    yield
    for name in ("my_models", "my_broken"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_frame_comes_back(tmp_path: Path, ending: str) -> None:
    given: Any = ending.partition(".")[0]
    path = tmp_path / f"frame.{ending}"
    write_dataset(FRAME, path, given, {})
    pd.testing.assert_frame_equal(read_dataset(str(path), given, {}), FRAME)


def test_options_of_csv_reach_pandas(tmp_path: Path) -> None:
    path = tmp_path / "frame.csv"
    write_dataset(FRAME, path, "csv", {"sep": ";"})
    assert path.read_text(encoding="utf-8") == "x;y\n1;a\n2;ä\n"
    assert read_dataset(str(path), "csv", {"sep": ";", "nrows": 1}).shape == (1, 2)


def test_an_index_that_says_something_is_written(tmp_path: Path) -> None:
    path = tmp_path / "frame.csv"
    write_dataset(FRAME.set_index("y"), path, "csv", {})
    assert path.read_text(encoding="utf-8").startswith("y,x\n")
    write_dataset(FRAME, path, "csv", {"index": True})
    assert path.read_text(encoding="utf-8").startswith(",x,y\n0,")


def test_a_series_is_a_table_of_one_column(tmp_path: Path) -> None:
    path = tmp_path / "series.parquet"
    write_dataset(FRAME["x"], path, "parquet", {})
    assert list(pd.read_parquet(path).columns) == ["x"]


def test_an_array_is_npy_or_a_table(tmp_path: Path) -> None:
    array = np.arange(4).reshape(2, 2)
    write_dataset(array, tmp_path / "array", "binary", {})
    assert (np.load(tmp_path / "array") == array).all()
    write_dataset(array, tmp_path / "array.csv", "csv", {"header": False})
    assert (tmp_path / "array.csv").read_text(encoding="utf-8") == "0,1\n2,3\n"


def test_plain_data_is_json(tmp_path: Path) -> None:
    write_dataset([{"a": 1}], tmp_path / "data.json", "binary", {})
    assert json.loads((tmp_path / "data.json").read_text(encoding="utf-8")) == [{"a": 1}]


@pytest.mark.parametrize(("value", "given"), [([1], "csv"), ([1], "parquet"), (FRAME, "binary")])
def test_a_format_that_does_not_fit_leaves_nothing_behind(tmp_path: Path, value: Any, given: Any) -> None:
    with pytest.raises(BadRequest, match="is not written as"):
        write_dataset(value, tmp_path / "out", given, {})
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(TypeError):
        write_dataset(FRAME, path, "csv", {"no_such_option": 1})
    assert [each.read_text(encoding="utf-8") for each in tmp_path.iterdir()] == ["old"]


def test_an_image_is_an_array(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.arange(12, dtype="uint8").reshape(2, 2, 3)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    assert (read_dataset(str(tmp_path / "image.png"), "image", {}) == pixels).all()


def test_images_without_pillow_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omegamesh.cli.files.find_spec", lambda name: None)
    (tmp_path / "a.png").touch()
    with pytest.raises(ModuleNotFoundError, match=r"pip install \"omegamesh\[images\]\""):
        read_dataset(str(tmp_path / "a.png"), "image", {})


@pytest.mark.parametrize("given", ["csv", "parquet", "image"])
def test_a_file_of_another_format_is_refused(tmp_path: Path, given: Any) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(b"\x00\xff\x00\xff" * 10)
    with pytest.raises(BadInput, match=f"cannot be read as {given}"):
        read_dataset(str(path), given, {})


def test_any_file_is_stored_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.touch()
    assert read_dataset(str(path), "binary", {}) == path


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = str(tmp_path / "no.skops")
    with pytest.raises(FileNotFoundError, match="There is no such file"):
        read_dataset(path, "binary", {})
    with pytest.raises(FileNotFoundError, match="There is no such file"):
        read_model(path, trust=True)


def test_a_model_by_the_name_of_its_class() -> None:
    assert isinstance(read_model("sklearn.linear_model.LinearRegression", trust=False), LinearRegression)


def test_a_model_of_a_module_beside_us(own_module: None) -> None:
    assert read_model("my_models.made", trust=False).positive is True
    assert read_model("my_models.ready", trust=False).positive is False


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nodot", "neither a callable nor a model file"),
        ("sklearn.linear_model.Nope", "neither a callable nor a model file"),
        ("surely_not_installed.Model", "there is no module 'surely_not_installed'"),
        ("model.pkl", "there is no module 'model'"),
    ],
)
def test_a_source_that_leads_nowhere(own_module: None, source: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        read_model(source, trust=False)


def test_a_module_that_cannot_be_imported_says_why(own_module: None) -> None:
    with pytest.raises(ModuleNotFoundError, match="surely_not_installed"):
        read_model("my_broken.made", trust=False)


@pytest.mark.parametrize("ending", ["skops", "joblib"])
def test_a_model_comes_back_from_its_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"model.{ending}"
    write_model(LinearRegression(positive=True), path)
    assert read_model(str(path), trust=True).positive is True


def test_a_file_that_may_run_code_needs_trust(tmp_path: Path) -> None:
    joblib.dump(LinearRegression(), tmp_path / "m.joblib")
    with pytest.raises(BadRequest, match="can run any code when it is loaded"):
        read_model(str(tmp_path / "m.joblib"), trust=False)


def test_unknown_types_need_trust(tmp_path: Path, own_module: None) -> None:
    (tmp_path / "my_types.py").write_text(
        "from sklearn.linear_model import LinearRegression\nclass Mine(LinearRegression): pass\n", encoding="utf-8"
    )
    mine = read_model("my_types.Mine", trust=False)
    skops.io.dump(mine, tmp_path / "m.skops")
    with pytest.raises(BadRequest, match=r"my_types\.Mine"):
        read_model(str(tmp_path / "m.skops"), trust=False)
    assert type(read_model(str(tmp_path / "m.skops"), trust=True)) is type(mine)


def test_a_model_is_written_to_known_endings_only(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"does not end in \.skops or \.joblib"):
        write_model(LinearRegression(), tmp_path / "m.bin")
    assert not list(tmp_path.iterdir())
