"""Looking at a store: names, patterns, metadata, revisions; attributes and drops."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from omegakinds.registry import KindRegistry
from omegamesh.client import Omega
from omegamesh.http import MeshClient
from omegamesh.stores.datasets import Datasets
from omegaproto.errors import BadName, ObjectNotFound, RevisionNotFound
from omegaproto.objects import Metadata, ObjectPage, Revision, RevisionPage, Store

NAMES = ["a", "a/b", "a/bc", "z"]


@pytest.fixture
def filled(omega: Omega) -> Omega:
    """A bucket with four datasets, a hidden one and a temporary one."""
    for name in (*NAMES, ".hidden", "_temp"):
        omega.datasets.put({"name": name}, name)
    return omega


def revision(number: int, *tags: str) -> Revision:
    return Revision(id=f"r{number}", number=number, kind="k", tags=tags, created=datetime.now(UTC), created_by="ann")


def metadata(name: str) -> Metadata:
    now, store = datetime.now(UTC), Store.datasets
    return Metadata(
        bucket="red", store=store, name=name, kind="k", created=now, modified=now, etag=1, revision=revision(1)
    )


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, NAMES),
        ({"pattern": "a/*"}, ["a/b", "a/bc"]),
        ({"pattern": "*"}, NAMES),
        ({"pattern": "a"}, ["a"]),
        ({"pattern": "nope*"}, []),
        ({"regexp": "^a/.$"}, ["a/b"]),
        ({"regexp": "b", "pattern": "z"}, ["a/b", "a/bc"]),
        ({"hidden": True}, [".hidden", *NAMES]),
        ({"include_temp": True}, ["_temp", *NAMES]),
        ({"kind": "python.data"}, NAMES),
        ({"kind": "no.such"}, []),
        ({"bucket": "elsewhere"}, []),
    ],
)
def test_names_are_listed_in_order(filled: Omega, options: dict[str, Any], names: list[str]) -> None:
    assert filled.datasets.list(**options) == names


def test_a_list_can_be_of_metadata_and_of_another_bucket(filled: Omega) -> None:
    (found,) = filled.datasets.list("z", raw=True)
    assert (found.name, found.kind, found.bucket) == ("z", "python.data", filled.bucket)
    assert filled[None].datasets.list("a*", bucket=filled.bucket) == ["a", "a/b", "a/bc"]
    assert filled.models.list() == []
    assert repr(filled.datasets) == f"<Datasets bucket={filled.bucket}>"


def test_long_lists_come_in_pages(server: Any, client: MeshClient, answer: Any) -> None:
    pages = (ObjectPage(items=(metadata("a"), metadata("b")), next="b"), ObjectPage(items=(metadata("c"),)))
    server.answer(*(answer(body=page.model_dump(mode="json")) for page in pages))
    assert Datasets(client, KindRegistry()).list("*") == ["a", "b", "c"]
    assert [sent.path.partition("?")[2] for sent in server.requests] == [
        "pattern=%2A&temp=false",
        "pattern=%2A&temp=false&after=b",
    ]


def test_long_histories_come_in_pages(server: Any, client: MeshClient, answer: Any) -> None:
    pages = (RevisionPage(items=(revision(1), revision(2, "x")), next=2), RevisionPage(items=(revision(3),)))
    server.answer(*(answer(body=page.model_dump(mode="json")) for page in pages))
    assert Datasets(client, KindRegistry()).revisions("d") == ["d@r1", "d@x", "d@r3"]
    assert [sent.path.partition("?")[2] for sent in server.requests] == ["after=0", "after=2"]


def test_what_exists(filled: Omega) -> None:
    assert filled.datasets.exists("a")
    assert filled.datasets.exists("a/*")
    assert not filled.datasets.exists("nope")
    assert filled.datasets.exists(".hidden", hidden=True)
    assert filled.datasets.exists("_temp")


def test_metadata_of_each_version(filled: Omega) -> None:
    first = filled.datasets.metadata("a")
    second = filled.datasets.put({"name": "again"}, "a", append=False, tag="v2")
    assert first is not None
    assert second is not None
    assert second.revision.number == first.revision.number + 1
    for version, expected in [(None, second), (-1, second), (-2, first), ("v2", second), (2, second), (1, first)]:
        found = filled.datasets.metadata("a", version)
        assert found is not None
        assert found.revision.id == expected.revision.id
    assert filled.datasets.metadata("nope") is None
    for version in (-3, 7, "nope"):
        with pytest.raises(RevisionNotFound):
            filled.datasets.metadata("a", version)


def test_revisions_are_named_by_tag_or_id_oldest_first(filled: Omega) -> None:
    filled.datasets.put({"name": "again"}, "a", append=False, tag="v2")
    first, second = filled.datasets.revisions("a", raw=True)
    assert filled.datasets.revisions("a") == [f"a@{first.id}", "a@v2"]
    assert (first.number, second.number, second.tags) == (1, 2, ("v2",))
    assert filled.datasets.get(f"a@{first.id}") == [{"name": "a"}]
    with pytest.raises(ObjectNotFound):
        filled.datasets.revisions("nope")


def test_attributes_are_merged_and_removed(filled: Omega) -> None:
    assert filled.datasets.set_attributes("a", owner="ann", n=1).attributes == {"owner": "ann", "n": 1}
    assert filled.datasets.set_attributes("a", owner=None, m=[2]).attributes == {"n": 1, "m": [2]}
    found = filled.datasets.metadata("a")
    assert found is not None
    assert found.attributes == {"n": 1, "m": [2]}
    with pytest.raises(ObjectNotFound):
        filled.datasets.set_attributes("nope", a=1)


def test_a_drop_of_one(filled: Omega) -> None:
    assert filled.datasets.drop("a") is True
    assert filled.datasets.get("a") is None
    assert filled.datasets.list() == ["a/b", "a/bc", "z"]
    with pytest.raises(filled.datasets.DoesNotExist, match="nothing called 'a' to drop"):
        filled.datasets.drop("a")
    assert filled.datasets.drop("a", force=True) is False
    assert filled.datasets.drop("a", force=True, report=True) == {"a": False}


def test_a_drop_of_many(filled: Omega) -> None:
    assert filled.datasets.drop("a/*", report=True) == {"a/b": True, "a/bc": True}
    with pytest.raises(ObjectNotFound):
        filled.datasets.drop("a/*")
    assert filled.datasets.drop("a/*", force=True) is False
    assert filled.datasets.drop("*") is True
    assert filled.datasets.list(hidden=True, include_temp=True) == []


@pytest.mark.parametrize("name", ["a//b", "../a", "a["])
def test_bad_names_are_refused_wherever_a_name_is_given(omega: Omega, name: str) -> None:
    for use in (omega.datasets.metadata, omega.datasets.get, omega.datasets.revisions, omega.datasets.drop):
        with pytest.raises(BadName):
            use(name)
