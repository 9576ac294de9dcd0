"""Objects and revisions, on each document store."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from omegakit.docs.connect import open_docs
from omegaproto.errors import (
    BadFilter,
    BadName,
    Conflict,
    Forbidden,
    IdempotencyMismatch,
    ObjectNotFound,
    RevisionConflict,
    RevisionNotFound,
)
from omegaproto.ids import new_id
from omegaproto.objects import (
    BlobRef,
    CommitRevision,
    DropObject,
    GetObject,
    ListBlobRefs,
    ListBuckets,
    ListObjects,
    ListRevisions,
    Metadata,
    ObjectDropped,
    RevisionCommitted,
    Store,
    TagRevision,
    UpdateAttributes,
)
from omegaproto.scopes import Role

KEY: dict[str, Any] = {"bucket": "omegaml", "store": Store.models, "name": "m"}


async def test_a_commit_is_seen_by_get(ann: Any) -> None:
    made = await ann.commit(kind_meta={"format": "x"}, attributes={"docs": "text"})
    found = await ann.call(GetObject(**KEY))
    assert found == made
    assert (found.revision.number, found.revision.created_by, found.attributes) == (1, "ann", {"docs": "text"})


async def test_every_commit_makes_a_revision(ann: Any) -> None:
    made = [await ann.commit(kind_meta={"n": n}) for n in range(4)]
    page = await ann.call(ListRevisions(**KEY))
    assert [revision.id for revision in page.items] == [item.revision.id for item in made]
    assert [revision.number for revision in page.items] == [1, 2, 3, 4]
    assert [revision.kind_meta["n"] for revision in page.items] == [0, 1, 2, 3]
    assert page.next is None


async def test_revisions_come_in_pages(ann: Any) -> None:
    for _ in range(5):
        await ann.commit()
    numbers, after = [], 0
    while after is not None:
        page = await ann.call(ListRevisions(**KEY, limit=2, after=after))
        numbers += [revision.number for revision in page.items]
        after = page.next
    assert numbers == [1, 2, 3, 4, 5]


async def test_a_version_is_chosen_by_offset_number_tag_and_id(ann: Any) -> None:
    first = await ann.commit(tags=("prod",))
    second = await ann.commit()
    for chosen in ({"offset": 1}, {"tag": "1"}, {"tag": "prod"}, {"tag": first.revision.id}):
        found = await ann.call(GetObject(**KEY, **chosen))
        assert found.revision.id == first.revision.id
        assert found.revision.tags == ("prod",)
    assert (await ann.call(GetObject(**KEY, tag="latest"))).revision.id == second.revision.id
    assert (await ann.call(GetObject(**KEY, tag=second.revision.id))).revision.id == second.revision.id


@pytest.mark.parametrize("chosen", [{"offset": 1}, {"tag": "7"}, {"tag": "nope"}, {"tag": new_id()}])
async def test_a_version_that_is_not_there_is_refused(ann: Any, chosen: dict[str, Any]) -> None:
    await ann.commit()
    with pytest.raises(RevisionNotFound, match="'m'"):
        await ann.call(GetObject(**KEY, **chosen))


async def test_a_revision_of_another_object_is_not_found(ann: Any) -> None:
    await ann.commit()
    other = await ann.commit("other")
    with pytest.raises(RevisionNotFound):
        await ann.call(GetObject(**KEY, tag=other.revision.id))


async def test_a_tag_moves(ann: Any) -> None:
    first, second = await ann.commit(tags=("prod",)), await ann.commit()
    await ann.call(TagRevision(**KEY, tag="prod", revision_id=second.revision.id))
    assert (await ann.call(GetObject(**KEY, tag="prod"))).revision.id == second.revision.id
    with pytest.raises(RevisionNotFound):
        await ann.call(TagRevision(**KEY, tag="prod", revision_id="nope"))
    assert first.revision.id != second.revision.id


async def test_repeating_a_commit_gives_the_first_answer(ann: Any) -> None:
    request = commit_request(idempotency_key="same")
    first = await ann.call(request)
    await ann.commit()
    again = await ann.call(request)
    assert again.revision == first.revision
    assert len((await ann.call(ListRevisions(**KEY))).items) == 2


async def test_bytes_that_are_uploaded_again_are_the_same_commit(ann: Any) -> None:
    first, again = [await ann.call(commit_request(idempotency_key="same")) for _ in range(2)]
    assert again.revision == first.revision


OTHER_CONTENT: list[dict[str, Any]] = [
    {"kind": "other.kind"},
    {"kind_meta": {"a": 1}},
    {"attributes": {"a": 1}},
    {"tags": ("a",)},
    {"blobs": ()},
    {"blobs": (BlobRef(id="b", sha256="1" * 64, length=3),)},
    {"blobs": (BlobRef(id="b", sha256="0" * 64, length=4),)},
    {"blobs": (BlobRef(id="b", sha256="0" * 64, length=3, role="index"),)},
    {"fingerprint": "other"},
]


@pytest.mark.parametrize("other", OTHER_CONTENT, ids=str)
async def test_a_used_idempotency_key_is_refused_for_other_content(ann: Any, other: dict[str, Any]) -> None:
    await ann.call(commit_request(idempotency_key="same"))
    with pytest.raises(IdempotencyMismatch, match="'same'"):
        await ann.call(commit_request(idempotency_key="same", **other))


async def test_a_given_fingerprint_stands_for_the_content(ann: Any) -> None:
    base = await ann.commit()
    given = {"idempotency_key": "same", "fingerprint": "f", "expected_revision": base.revision.id}
    first = await ann.call(commit_request(**given))
    assert (await ann.call(commit_request(**given, blobs=()))).revision == first.revision


async def test_the_same_commit_from_sixteen_clients_is_one_revision(ann: Any) -> None:
    request = commit_request(idempotency_key="same")
    made = await asyncio.gather(*(ann.call(request) for _ in range(16)))
    assert len({item.revision.id for item in made}) == 1
    assert len((await ann.call(ListRevisions(**KEY))).items) == 1


async def test_sixteen_writers_make_sixteen_revisions(ann: Any) -> None:
    made = await asyncio.gather(*(ann.commit() for _ in range(16)))
    page = await ann.call(ListRevisions(**KEY))
    assert [revision.number for revision in page.items] == list(range(1, 17))
    assert {revision.id for revision in page.items} == {item.revision.id for item in made}


async def test_of_sixteen_writers_who_expect_the_same_revision_one_wins(ann: Any) -> None:
    base = await ann.commit()
    requests = [commit_request(expected_revision=base.revision.id) for _ in range(16)]
    outcomes = await asyncio.gather(*map(ann.call, requests), return_exceptions=True)
    assert sum(isinstance(outcome, Metadata) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, RevisionConflict) for outcome in outcomes) == 15


async def test_an_object_that_must_be_new_is_refused_when_it_exists(ann: Any) -> None:
    await ann.call(commit_request(expected_revision=""))
    with pytest.raises(RevisionConflict):
        await ann.call(commit_request(expected_revision=""))
    with pytest.raises(RevisionConflict, match="at revision none"):
        await ann.call(commit_request(name="fresh", expected_revision=new_id()))


async def test_attributes_are_merged_kept_and_cleared(ann: Any) -> None:
    await ann.commit(attributes={"a": 1, "b": 2})
    assert (await ann.commit(attributes=None)).attributes == {"a": 1, "b": 2}
    assert (await ann.commit(attributes={"b": None, "c.d": 3})).attributes == {"a": 1, "c.d": 3}
    updated = await ann.call(UpdateAttributes(**KEY, attributes={"a": 5, "c.d": None}))
    assert updated.attributes == {"a": 5}
    assert (await ann.commit(attributes={})).attributes == {}


async def test_attributes_are_guarded_by_the_etag(ann: Any) -> None:
    made = await ann.commit()
    await ann.call(UpdateAttributes(**KEY, attributes={"a": 1}, etag=made.etag))
    with pytest.raises(Conflict, match="changed since"):
        await ann.call(UpdateAttributes(**KEY, attributes={"a": 2}, etag=made.etag))


async def test_concurrent_attributes_all_arrive(ann: Any) -> None:
    await ann.commit()
    await asyncio.gather(*(ann.call(UpdateAttributes(**KEY, attributes={f"a{n}": n})) for n in range(10)))
    assert len((await ann.call(GetObject(**KEY))).attributes) == 10


async def test_what_is_not_there_is_not_found(ann: Any) -> None:
    for request in (
        GetObject(**KEY), ListRevisions(**KEY), DropObject(**KEY), UpdateAttributes(**KEY, attributes={}),
        TagRevision(**KEY, tag="t", revision_id="1"),
    ):  # fmt: skip
        with pytest.raises(ObjectNotFound, match="'m'"):
            await ann.call(request)


async def test_a_name_that_breaks_the_grammar_is_refused(ann: Any) -> None:
    with pytest.raises(BadName):
        await ann.commit("a/../b")


async def test_a_dropped_object_is_gone_with_its_history(ann: Any) -> None:
    for _ in range(3):
        await ann.commit()
    await ann.call(DropObject(**KEY))
    with pytest.raises(ObjectNotFound):
        await ann.call(GetObject(**KEY))
    again = await ann.commit()
    assert again.revision.number == 1
    assert len((await ann.call(ListRevisions(**KEY))).items) == 1


async def test_listings_show_names_in_order_and_hide_the_hidden(ann: Any) -> None:
    for name in ("b", "a/x", "a/y", ".hidden", "a/.part", "_temp"):
        await ann.commit(name)
    assert await names(ann) == ["a/x", "a/y", "b"]
    assert await names(ann, pattern="a/*") == ["a/x", "a/y"]
    assert await names(ann, pattern="*y") == ["a/y"]
    assert await names(ann, pattern="b") == ["b"]
    assert await names(ann, regexp="[xy]$") == ["a/x", "a/y"]
    assert await names(ann, regexp="b", pattern="a/*") == ["b"]
    assert await names(ann, hidden=True) == [".hidden", "a/.part", "a/x", "a/y", "b"]
    assert await names(ann, include_temp=True) == ["_temp", "a/x", "a/y", "b"]
    assert await names(ann, pattern=".hid*") == [".hidden"]
    assert await names(ann, pattern="_temp*") == ["_temp"]
    assert await names(ann, kind="other") == []
    assert await names(ann, store=Store.datasets) == []


async def test_a_pattern_is_literal_but_for_the_star(ann: Any) -> None:
    for name in ("a.b", "axb", "a+b"):
        await ann.commit(name)
    assert await names(ann, pattern="a.*") == ["a.b"]
    assert await names(ann, pattern="*+b") == ["a+b"]


async def test_listings_come_in_pages(ann: Any) -> None:
    wanted = [f"n{n:02}" for n in range(7)]
    for name in wanted:
        await ann.commit(name)
    found, after = [], None
    while True:
        page = await ann.call(ListObjects(bucket="omegaml", store=Store.models, limit=3, after=after))
        assert len(page.items) <= 3
        found += [item.name for item in page.items]
        if page.next is None:
            break
        after = page.next
    assert found == wanted


async def test_a_page_fits_into_a_message_however_large_its_objects(ann: Any) -> None:
    for n in range(5):
        await ann.commit(f"n{n}", attributes={"docs": "x" * 100_000})
    found, after = 0, None
    while True:
        page = await ann.call(ListObjects(bucket="omegaml", store=Store.models, after=after))
        found += len(page.items)
        if page.next is None:
            break
        after = page.next
    assert found == 5


async def test_a_wrong_regular_expression_is_refused(ann: Any) -> None:
    await ann.commit()
    with pytest.raises(BadFilter, match="not a regular expression"):
        await names(ann, regexp="(?=a")


async def test_a_pattern_made_to_stall_answers_at_once(ann: Any) -> None:
    await ann.commit("a" * 500)
    async with asyncio.timeout(5):
        assert await names(ann, regexp="(a+)+$b") == []


async def test_buckets_are_apart(ann: Any) -> None:
    dev = ann.having(Role.writer, "dev")
    await ann.commit()
    await dev.call(commit_request(bucket="dev", name="d"))
    assert await names(ann) == ["m"]
    with pytest.raises(Forbidden):
        await ann.call(GetObject(bucket="dev", store=Store.models, name="d"))
    listed = await ann.having(Role.service).call(ListBuckets())
    assert listed.items == ("dev", "omegaml")


async def test_a_reader_reads_and_does_not_write(ann: Any) -> None:
    await ann.commit()
    reader = ann.having(Role.reader)
    assert (await reader.call(GetObject(**KEY))).name == "m"
    with pytest.raises(Forbidden, match="needs writer"):
        await reader.commit()


async def test_changes_are_told(ann: Any) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()
    subscriptions = [await ann.kit.bus.subscribe(kind, heard.put) for kind in (RevisionCommitted, ObjectDropped)]
    made = await ann.commit()
    assert (await heard.get()).revision_id == made.revision.id
    await ann.call(DropObject(**KEY))
    assert await heard.get() == ObjectDropped(**KEY)
    for subscription in subscriptions:
        await subscription.cancel()


async def test_all_references_are_listed_and_those_of_dropped_objects_are_not(ann: Any, docs_url: str) -> None:
    kept = [await ann.commit() for _ in range(3)]
    frame = await ann.commit("f", blobs=(), kind_meta={"frame": {"frame_id": "f1"}})
    dropped = [await ann.commit("gone") for _ in range(2)]
    await crash_in_the_middle_of_a_drop(docs_url, dropped[0])
    mesh = ann.having(Role.service)
    for _ in range(2):
        blobs, frames = await all_references(mesh)
        assert blobs == {blob.id for item in kept for blob in item.revision.blobs}
        assert frames == {frame.revision.kind_meta["frame"]["frame_id"]}


async def test_a_temporary_object_drops_itself(ann: Any) -> None:
    await ann.commit("_temp", expires_at=ann.clock.now() - timedelta(days=1))
    with pytest.raises(ObjectNotFound):
        await ann.call(GetObject(**KEY | {"name": "_temp"}))


def commit_request(**fields: Any) -> CommitRevision:
    blob = BlobRef(id="0" * 32, sha256="0" * 64, length=3)
    given = {**KEY, "kind": "test.kind", "blobs": (blob,), "idempotency_key": new_id()}
    return CommitRevision(**(given | fields))


async def names(caller: Any, **options: Any) -> list[str]:
    given = {"bucket": "omegaml", "store": Store.models}
    page = await caller.call(ListObjects(**(given | options)))
    return [item.name for item in page.items]


async def all_references(caller: Any) -> tuple[set[str], set[str]]:
    blobs: set[str] = set()
    frames: set[str] = set()
    after: str | None = None
    while True:
        page = await caller.call(ListBlobRefs(after=after, limit=2))
        blobs |= set(page.blob_ids)
        frames |= set(page.frame_ids)
        after = page.next
        if after is None:
            return blobs, frames


async def crash_in_the_middle_of_a_drop(docs_url: str, metadata: Metadata) -> None:
    """Remove the object's document alone, as a process that dies right after it would."""
    from omega_metadata.repository import HISTORY, OBJECTS, object_id

    docs = open_docs(docs_url)
    await docs.start((OBJECTS, HISTORY))
    key = GetObject(bucket=metadata.bucket, store=metadata.store, name=metadata.name)
    assert await docs.delete(OBJECTS.name, object_id(key))
    await docs.close()
