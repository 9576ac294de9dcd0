"""Models on a real mesh: versions, tags, and what cannot be stored or run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from omegakinds.base import BlobSink, BlobSource, Dumped, Stored
from omegamesh.client import Omega
from omegaproto.errors import BadName, IdempotencyMismatch, ObjectNotFound, RevisionNotFound, UnknownAction, UnknownKind
from omegaproto.objects import Store


def model(slope: float) -> LinearRegression:
    x = np.array([[0.0], [1.0]])
    return LinearRegression().fit(x, slope * x[:, 0])


def slope(found: Any) -> int:
    return round(found.coef_[0])


@pytest.fixture
def three(omega: Omega) -> Omega:
    """A bucket with three versions of a model, of slopes 1, 2 and 3; the first is tagged `old`, the second `prod`."""
    omega.models.put(model(1), "m", tag="old")
    omega.models.put(model(2), "m@prod")
    omega.models.put(model(3), "m")
    return omega


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("m", {}, 3),
        ("m@old", {}, 1),
        ("m@prod", {}, 2),
        ("m#prod", {}, 2),
        ("m^", {}, 2),
        ("m^^", {}, 1),
        ("m", {"version": -1}, 3),
        ("m", {"version": -2}, 2),
        ("m", {"version": 1}, 1),
        ("m", {"version": "prod"}, 2),
        ("m", {"tag": "old"}, 1),
        ("m", {"tag": "old", "version": -1}, 1),
        ("m@2", {}, 2),
    ],
)
def test_versions(three: Omega, name: str, options: dict[str, Any], expected: int) -> None:
    assert slope(three.models.get(name, **options)) == expected


def test_versions_that_are_not_there(three: Omega) -> None:
    assert three.models.get("nope") is None
    for name, version in [("m@nope", None), ("m#nope", None), ("m^^^", None), ("m", -4)]:
        with pytest.raises(RevisionNotFound):
            three.models.get(name, version)


def test_a_key_that_was_used_makes_no_version(omega: Omega) -> None:
    # The stored bytes of a model differ from dump to dump, even those of the same one.
    first, again = (omega.models.put(model(1), "m", tag="new", idempotency_key="once") for _ in range(2))
    assert again == first
    assert len(omega.models.revisions("m")) == 1
    for other, tag in [(LogisticRegression(), "new"), (model(1), "old")]:
        with pytest.raises(IdempotencyMismatch, match="'once' was used"):
            omega.models.put(other, "m", tag=tag, idempotency_key="once")


def test_a_tag_moves(three: Omega) -> None:
    assert three.models.tag("m", "prod").revision.tags == ("prod",)
    assert slope(three.models.get("m@prod")) == 3
    three.models.tag("m#old", "prod")
    assert slope(three.models.get("m@prod")) == 1
    three.models.tag("m^", "prod")
    assert slope(three.models.get("m@prod")) == 2
    with pytest.raises(ObjectNotFound, match="no model 'nope'"):
        three.models.tag("nope", "prod")


@pytest.mark.parametrize("name", ["m[x]", "m^", "m#op", "m@prod^"])
def test_names_of_no_model_to_store(omega: Omega, name: str) -> None:
    with pytest.raises(BadName):
        omega.models.put(model(1), name)
    assert omega.models.list() == []


def test_replace_clears_the_attributes(omega: Omega) -> None:
    omega.models.put(model(1), "m", attributes={"owner": "ann"})
    assert omega.models.put(model(2), "m").attributes == {"owner": "ann"}
    assert omega.models.put(model(2), "m", replace=True).attributes == {}


def test_what_is_no_model(omega: Omega) -> None:
    for thing in ({"a": 1}, "text", LogisticRegression):
        with pytest.raises(TypeError):
            omega.models.put(thing, "m")


def test_loading_gives_all_that_a_call_needs(three: Omega) -> None:
    metadata, kind, found = three.models.load("m#old")
    assert (metadata.name, metadata.revision.tags, slope(found)) == ("m", ("old",), 1)
    assert "predict" in kind.verbs(found)
    with pytest.raises(ObjectNotFound, match="no model 'nope'"):
        three.models.load("nope")


class Constant:
    """A kind for models that cannot be run."""

    name = "test.constant"
    stores = frozenset({Store.models})

    def supports(self, obj: object, name: str, **options: Any) -> bool:
        return obj == 42

    def dump(self, obj: Any, sink: BlobSink, **options: Any) -> Dumped:
        return Dumped(self.name)

    def load(self, stored: Stored, source: BlobSource, **options: Any) -> int:
        return 42


def test_what_has_no_verbs_cannot_be_run(omega: Omega) -> None:
    with pytest.raises(UnknownKind):
        omega.models.put(42, "m")
    omega.kinds.register(Constant())
    omega.models.put(42, "m")
    assert omega.models.get("m") == 42
    with pytest.raises(UnknownAction, match=r"'m' is test\.constant, which cannot be run"):
        omega.runtime.mode(local=True).model("m").predict([[1]])
