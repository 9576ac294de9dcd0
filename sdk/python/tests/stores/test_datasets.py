"""Datasets on a real mesh: what is put comes back, whole or in part, in any of its versions."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

from omegakinds.base import BlobSink, BlobSource, Dumped, Stored
from omegakinds.registry import KindRegistry
from omegamesh.client import Omega
from omegamesh.http import MeshClient
from omegamesh.stores.datasets import Datasets
from omegaproto.errors import (
    BadFrame,
    BadName,
    IdempotencyMismatch,
    ObjectNotFound,
    RevisionConflict,
    RevisionNotFound,
    UnknownColumn,
    UnknownKind,
)
from omegaproto.objects import Store

FRAME = pd.DataFrame({"x": [1, 2, 3, 4], "y": [1.5, np.nan, 3.5, 4.5], "name": ["a", "b", "c", "d"]})
INDEXES = {
    "labels": pd.Index([10, 20, 30, 40]),
    "named": pd.Index(["p", "q", "r", "s"], name="key"),
    "levels": pd.MultiIndex.from_product([["p", "q"], [1, 2]], names=["outer", "inner"]),
    "days": pd.date_range("2026-01-01", periods=4, freq="D", name="day"),
    "hours": pd.date_range("2026-01-01", periods=4, freq="h", tz="Europe/Zurich"),
}


@dataclass(frozen=True)
class Color:
    """Something that no kind of ours stores."""

    red: int


class ColorKind:
    """A kind as somebody else would write it."""

    name = "test.color"
    stores = frozenset({Store.datasets})

    def supports(self, obj: object, name: str, **options: Any) -> bool:
        return isinstance(obj, Color)

    def dump(self, obj: Color, sink: BlobSink, **options: Any) -> Dumped:
        return Dumped(self.name, {"bits": 8}, (sink.put(bytes([obj.red])),))

    def load(self, stored: Stored, source: BlobSource, *, add: int = 0, **options: Any) -> Color:
        return Color(source.read(stored.blobs[0])[0] + add)


@pytest.fixture(params=sorted(INDEXES))
def indexed(request: pytest.FixtureRequest) -> pd.DataFrame:
    """The frame with an index of some sort."""
    return FRAME.set_index(INDEXES[request.param])


def test_an_index_comes_back_with_the_whole_and_with_any_part(omega: Omega, indexed: pd.DataFrame) -> None:
    omega.datasets.put(indexed, "d")
    assert_frame_equal(omega.datasets.get("d"), indexed)
    assert_frame_equal(omega.datasets.get("d[x]"), indexed[["x"]], check_freq=False)
    assert_frame_equal(omega.datasets.get("d[name,x]"), indexed[["name", "x"]], check_freq=False)
    assert_frame_equal(omega.datasets.get("d[^x]"), indexed[["y", "name"]], check_freq=False)
    assert_frame_equal(omega.datasets.get("d", columns=["y"]), indexed[["y"]], check_freq=False)
    assert_frame_equal(omega.datasets.get("d", x__gt=2), indexed[indexed.x > 2], check_freq=False)


def test_rows_that_pass_a_filter_keep_their_labels(omega: Omega) -> None:
    omega.datasets.put(FRAME, "d")
    for options, mask in [
        ({"x__gte": 2}, FRAME.x >= 2),
        ({"x": 3}, FRAME.x == 3),
        ({"x__in": (1, 4)}, FRAME.x.isin([1, 4])),
        ({"x__in": {1, 4}}, FRAME.x.isin([1, 4])),
        ({"x__in": np.array([1, 4])}, FRAME.x.isin([1, 4])),
        ({"x__in": range(2, 4)}, FRAME.x.isin([2, 3])),
        ({"x__gte": np.int64(2), "name__ne": "c"}, (FRAME.x >= 2) & (FRAME.name != "c")),
        ({"filter": {"x__gte": 2}, "x__lt": 4}, (FRAME.x >= 2) & (FRAME.x < 4)),
        ({"x__gt": 100}, FRAME.x > 100),
    ]:
        assert_frame_equal(omega.datasets.get("d", **options), FRAME[mask])


def test_a_filter_by_time(omega: Omega) -> None:
    frame = FRAME.assign(day=pd.date_range("2026-01-01", periods=4))
    omega.datasets.put(frame, "d")
    found = omega.datasets.get("d", day__gte=pd.Timestamp("2026-01-03"))
    assert_frame_equal(found, frame[frame.day >= "2026-01-03"])


def test_a_column_that_is_not_there(omega: Omega) -> None:
    omega.datasets.put(FRAME, "d")
    for options in ({"columns": ["nope"]}, {"nope__gte": 1}):
        with pytest.raises(UnknownColumn, match="nope"):
            omega.datasets.get("d", **options)


def test_a_series_comes_back(omega: Omega) -> None:
    series = pd.Series([1.5, 2.5, 3.5], index=list("abc"), name="s")
    omega.datasets.put(series, "s")
    assert_series_equal(omega.datasets.get("s"), series)
    assert_series_equal(pd.concat(omega.datasets.get("s", chunksize=2)), series)


def test_chunks_make_up_the_frame(omega: Omega) -> None:
    omega.datasets.put(FRAME, "d")
    found = list(omega.datasets.get("d", chunksize=3))
    assert [len(chunk) for chunk in found] == [3, 1]
    assert_frame_equal(pd.concat(found), FRAME)
    (only,) = omega.datasets.get("d[x]", chunksize=1000)
    assert_frame_equal(only, FRAME[["x"]])
    (kept,) = omega.datasets.get("d", chunksize=3, x__gte=3)
    assert_frame_equal(kept, FRAME[FRAME.x >= 3])


def test_chunks_of_what_is_no_frame(omega: Omega) -> None:
    omega.datasets.put({"a": 1}, "data")
    with pytest.raises(UnknownKind, match="not a frame"):
        omega.datasets.get("data", chunksize=2)
    assert omega.datasets.get("nope", chunksize=2) is None


def test_append_says_so_when_it_was_not_asked_for(omega: Omega) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        omega.datasets.put(FRAME, "d")
        omega.datasets.put(FRAME, "d", append=True)
    with pytest.warns(UserWarning, match="'d' exists and was appended to; say append=True or append=False"):
        omega.datasets.put(FRAME, "d")
    assert len(omega.datasets.get("d")) == 3 * len(FRAME)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        omega.datasets.put(FRAME, "d", append=False)
    assert_frame_equal(omega.datasets.get("d"), FRAME)
    assert len(omega.datasets.get("d^")) == 3 * len(FRAME)


def test_an_append_that_does_not_fit_changes_nothing(omega: Omega) -> None:
    omega.datasets.put(FRAME, "d")
    with pytest.raises(BadFrame):
        omega.datasets.put(FRAME.rename(columns={"x": "other"}), "d", append=True)
    assert_frame_equal(omega.datasets.get("d"), FRAME)
    assert len(omega.datasets.revisions("d")) == 1


def test_replace_clears_the_attributes_and_append_keeps_them(omega: Omega) -> None:
    omega.datasets.put(FRAME, "d", attributes={"owner": "ann"})
    appended = omega.datasets.put(FRAME, "d", append=True)
    assert appended is not None
    assert appended.attributes == {"owner": "ann"}
    replaced = omega.datasets.put(FRAME, "d", replace=True)
    assert replaced is not None
    assert replaced.attributes == {}
    assert_frame_equal(omega.datasets.get("d"), FRAME)
    again = omega.datasets.put(FRAME, "d", replace=True, attributes={"n": 1})
    assert again is not None
    assert again.attributes == {"n": 1}


@pytest.mark.parametrize("empty", [FRAME.head(0), pd.DataFrame(), pd.Series([], dtype="float64", name="s")])
def test_an_empty_frame_is_not_stored(omega: Omega, empty: Any) -> None:
    with pytest.warns(UserWarning, match="'d' was not stored: the frame is empty"):
        assert omega.datasets.put(empty, "d") is None
    assert not omega.datasets.exists("d")


def test_python_data_collects(omega: Omega) -> None:
    omega.datasets.put({"n": 1}, "data")
    omega.datasets.put([2, (3,)], "data", append=True)
    with pytest.warns(UserWarning, match="appended"):
        omega.datasets.put("four", "data")
    assert omega.datasets.get("data") == [{"n": 1}, [2, (3,)], "four"]
    assert omega.datasets.get("data^^") == [{"n": 1}]
    omega.datasets.put({"n": 5}, "data", append=False)
    assert omega.datasets.get("data") == [{"n": 5}]
    with pytest.raises(BadName, match="no columns"):
        omega.datasets.get("data[n]")


def test_writers_that_append_at_once_lose_nothing(omega: Omega) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: omega.datasets.put(n, "data", append=True), range(8)))
    assert sorted(omega.datasets.get("data")) == list(range(8))


def test_a_writer_that_others_always_precede_gives_up(server: Any, client: MeshClient, answer: Any) -> None:
    refused = {"error": RevisionConflict("Somebody was first.").info().model_dump()}
    missing = {"error": ObjectNotFound("There is none.").info().model_dump()}
    server.answer(answer(body={"id": "b", "sha256": "0" * 64, "length": 1}))
    server.answer(*(answer(404, missing), answer(409, refused)) * 20)
    with pytest.raises(RevisionConflict, match="Too many writers append to 'data'"):
        Datasets(client, KindRegistry()).put(1, "data", append=True)
    keys = [json.loads(sent.body)["idempotency_key"] for sent in server.requests if sent.method == "PUT"]
    assert (len(keys), len(set(keys))) == (20, 1)


def test_what_was_of_another_kind_is_not_kept_by_an_append(omega: Omega) -> None:
    omega.datasets.put(np.arange(3), "thing")
    omega.datasets.put({"n": 1}, "thing", append=True)
    assert omega.datasets.get("thing") == [{"n": 1}]
    np.testing.assert_array_equal(omega.datasets.get("thing^"), np.arange(3))


def test_versions_of_a_dataset(omega: Omega) -> None:
    for number, tag in [(1, "old"), (2, None), (3, "new")]:
        omega.datasets.put(np.array([number]), "n", tag=tag)
    for name, version, expected in [
        ("n", None, 3),
        ("n@old", None, 1),
        ("n@new", None, 3),
        ("n^", None, 2),
        ("n^^", None, 1),
        ("n", -1, 3),
        ("n", -2, 2),
        ("n", -3, 1),
        ("n", "old", 1),
        ("n", 2, 2),
    ]:
        assert omega.datasets.get(name, version).tolist() == [expected], (name, version)
    for name, version in [("n@nope", None), ("n^^^", None), ("n", -4), ("n", "nope")]:
        with pytest.raises(RevisionNotFound):
            omega.datasets.get(name, version)


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("thing", [FRAME, {"n": 1}, b"bytes"], ids=["frame", "data", "file"])
def test_a_key_that_was_used_adds_nothing(omega: Omega, thing: Any, append: bool) -> None:
    omega.datasets.put(thing, "d", append=False)
    first, again = (omega.datasets.put(thing, "d", append=append, idempotency_key="once") for _ in range(2))
    assert first is not None
    assert again == first
    assert len(omega.datasets.revisions("d")) == 2


def test_a_repeated_append_gives_the_first_answer_after_others(omega: Omega) -> None:
    for frame, data in [(FRAME, 1), (FRAME.head(1), 2), (FRAME, 1)]:
        key = f"key-{data}"
        omega.datasets.put(frame, "frame", append=True, idempotency_key=key)
        made = omega.datasets.put(data, "data", append=True, idempotency_key=key)
    assert made is not None
    assert made.revision.number == 1
    assert omega.datasets.get("data") == [1, 2]
    assert_frame_equal(omega.datasets.get("frame"), pd.concat([FRAME, FRAME.head(1)], ignore_index=True))


@pytest.mark.parametrize(
    ("thing", "options"),
    [
        (FRAME.head(2), {"append": True}),
        (FRAME, {"append": False}),
        (FRAME, {"append": True, "tag": "t"}),
        ({"n": 1}, {"append": True}),
    ],
)
def test_a_key_is_refused_for_another_put(omega: Omega, thing: Any, options: dict[str, Any]) -> None:
    omega.datasets.put(FRAME, "d", append=True, idempotency_key="once")
    with pytest.raises(IdempotencyMismatch, match="'once' was used"):
        omega.datasets.put(thing, "d", idempotency_key="once", **options)
    assert_frame_equal(omega.datasets.get("d"), FRAME)


@pytest.mark.parametrize("append", [False, True])
def test_a_key_is_refused_for_other_data(omega: Omega, append: bool) -> None:
    omega.datasets.put({"n": 1}, "d", append=append, idempotency_key="once")
    for other in ({"n": 2}, [1]):
        with pytest.raises(IdempotencyMismatch, match="'once' was used"):
            omega.datasets.put(other, "d", append=append, idempotency_key="once")
    assert omega.datasets.get("d") == [{"n": 1}]


@pytest.mark.parametrize("name", ["d[x]", "d^", "d@old", "d#op"])
def test_a_put_needs_a_plain_name(omega: Omega, name: str) -> None:
    with pytest.raises(BadName, match=r"a put needs its plain name\. Use 'd'"):
        omega.datasets.put({"a": 1}, name)


def test_files_come_back_as_they_were(omega: Omega, tmp_path: Path) -> None:
    source = tmp_path / "f.bin"
    source.write_bytes(bytes(range(256)) * 100)
    omega.datasets.put(source, "f")
    with omega.datasets.get("f") as file:
        assert file.read() == source.read_bytes()
    omega.datasets.put(b"", "empty")
    with omega.datasets.get("empty") as file:
        assert file.read() == b""


def test_a_kind_of_somebody_else(omega: Omega) -> None:
    with pytest.raises(UnknownKind, match=r"type .*Color"):
        omega.datasets.put(Color(7), "c")
    omega.kinds.register(ColorKind())
    made = omega.datasets.put(Color(7), "c")
    assert made is not None
    assert (made.kind, made.kind_meta) == ("test.color", {"bits": 8})
    assert omega.datasets.get("c") == Color(7)
    assert omega.datasets.get("c", add=1) == omega.datasets.get("c", filter={"add": 1}) == Color(8)
    with pytest.raises(UnknownKind, match=r"'test\.color' is not for models"):
        omega.models.put(Color(7), "c", kind="test.color")
    with pytest.raises(UnknownKind, match=r"'test\.color' is not installed"):
        omega[omega.bucket].datasets.get("c")


def test_a_kind_that_is_asked_for_by_name(omega: Omega) -> None:
    made = omega.datasets.put(b"[1]", "f", kind="python.file")
    assert made is not None
    assert made.kind == "python.file"
    for wrong in ("no.such", "sklearn.joblib"):
        with pytest.raises(UnknownKind):
            omega.datasets.put({"a": 1}, "d", kind=wrong)


def test_a_frame_of_several_parts(omega: Omega) -> None:
    frame = pd.DataFrame({"n": range(1000), "text": [f"row {n}" for n in range(1000)]})
    omega.datasets.put(frame, "d", part_rows=100)
    assert_frame_equal(omega.datasets.get("d"), frame)
    chunks: Iterable[pd.DataFrame] = omega.datasets.get("d", chunksize=256)
    assert_frame_equal(pd.concat(chunks), frame)
    assert_frame_equal(omega.datasets.get("d", n__gte=950), frame[frame.n >= 950])
