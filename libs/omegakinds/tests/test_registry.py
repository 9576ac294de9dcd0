"""Kinds are found lazily, in a fixed order, and a broken plugin takes none of the others with it."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from omegakinds import Kind, KindRegistry
from omegakinds.python import PythonData
from omegaproto.errors import UnknownKind
from omegaproto.objects import Store

OWN = ["pandas.dfrows", "pandas.serows", "ndarray.bin", "sklearn.joblib", "python.file", "python.data"]


class Special(PythonData):
    """A third party's kind for dicts."""

    name = "third.dict"

    def supports(self, obj: object, name: str, **options: Any) -> bool:
        return isinstance(obj, dict)


def special_kinds() -> list[Kind]:
    return [Special()]


def no_kinds() -> list[Any]:
    return ["not a kind"]


def test_importing_loads_no_framework() -> None:
    code = (
        "import sys, omegakinds.wire, omegakinds.registry as r; reg = r.KindRegistry(); "
        "reg.for_object({'a': 1}); reg.for_object(b'x'); "
        "print(sorted({'pandas', 'numpy', 'pyarrow', 'sklearn', 'joblib', 'skops'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_our_kinds_are_installed() -> None:
    assert [kind.name for kind in KindRegistry()] == OWN


@pytest.mark.parametrize(
    ("obj", "name"),
    [
        (pd.DataFrame(), "pandas.dfrows"),
        (pd.Series(dtype=int), "pandas.serows"),
        (np.zeros(1), "ndarray.bin"),
        (LinearRegression(), "sklearn.joblib"),
        (b"x", "python.file"),
        (Path("x"), "python.file"),
        ("text", "python.data"),
        ({"a": 1}, "python.data"),
        (np.float64(1), "python.data"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_objects_find_their_kind(obj: Any, name: str) -> None:
    assert KindRegistry().for_object(obj, "x").name == name


def test_unknown_objects_are_type_errors() -> None:
    registry = KindRegistry()
    with pytest.raises(TypeError, match=r"builtins\.object in models.*sklearn\.joblib"):
        registry.for_object(object(), "x", Store.models)
    with pytest.raises(UnknownKind):
        registry.for_object({"a": 1}, "x", Store.models)
    with pytest.raises(UnknownKind):
        registry.for_object(LinearRegression, "x")


def test_a_kind_can_be_named() -> None:
    registry = KindRegistry()
    assert registry.for_object(b"x", "x", Store.datasets, kind="python.data").name == "python.data"
    with pytest.raises(UnknownKind, match="not for models"):
        registry.for_object(b"x", "x", Store.models, kind="python.data")
    with pytest.raises(UnknownKind, match=r"'keras\.h5' is not installed"):
        registry.by_name("keras.h5")


def test_registered_kinds_come_first_and_replace() -> None:
    registry = KindRegistry()
    registry.register(Special())
    registry.register(Special())
    assert [kind.name for kind in registry] == ["third.dict", *OWN]
    assert registry.for_object({}, "x").name == "third.dict"


def plugin(name: str, function: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{function}", "omega.kinds")


def test_a_broken_plugin_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or sys.modules[special_kinds.__module__])
    registry = KindRegistry([plugin("good", "special_kinds"), plugin("missing", "nowhere")])
    with pytest.warns(RuntimeWarning, match="'missing'.*nowhere"):
        assert [kind.name for kind in registry] == ["third.dict"]
    with pytest.warns(RuntimeWarning, match="is not a kind"):
        assert list(KindRegistry([plugin("wrong", "no_kinds")])) == []


def test_a_name_that_is_taken_is_left_out() -> None:
    registry = KindRegistry([plugin("a", "special_kinds"), plugin("b", "special_kinds")])
    with pytest.warns(RuntimeWarning, match=r"'b'.*'third\.dict' is taken"):
        assert len(list(registry)) == 1


def test_pickles_are_read_and_written_in_one_module() -> None:
    import omegakinds

    folder = Path(omegakinds.__file__).parent
    found = [
        path.name
        for path in folder.glob("*.py")
        if re.search(r"^\s*(import|from) (pickle|joblib|cloudpickle|dill)\b", path.read_text(), re.MULTILINE)
    ]
    assert found == ["pickles.py"]
