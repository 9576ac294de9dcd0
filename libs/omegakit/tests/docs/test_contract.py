"""What every document store does, on all adapters."""

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from omegakit.clock import ManualClock
from omegakit.docs import Cond, DocStore, Update
from omegaproto.errors import BadBody, BadFilter, DuplicateKey, OmegaError, TooLarge, Unavailable

pytestmark = pytest.mark.usefixtures("no_leaks")

NOW = datetime(2026, 11, 21, 13, 35, 37, 123456, tzinfo=UTC)
VALUES: list[Any] = [
    None,
    True,
    0,
    -(2**63),
    2**63 - 1,
    1.0,
    5e-324,
    math.inf,
    -math.inf,
    "",
    "ünïcode 🎉 \U0010ffff\U0010fffe",
    "nul \x00 and \x01\x02",
    b"",
    bytes(range(256)),
    NOW,
    datetime(1, 1, 1, tzinfo=UTC),
    [],
    [1, None, "a", [NOW, {"x": b"y"}]],
    {},
    {"dotted.key": {"$dollar": NOW}, "t": 1, "u": 2, 'quo"te\\': "é", "\x01": False},
]


@pytest.mark.parametrize("value", VALUES, ids=[repr(each)[:30] for each in VALUES])
async def test_values_come_back_as_they_were(docs: DocStore, value: Any) -> None:
    await docs.insert("plain", {"_id": "a", "value": value, "nested": {"in": [value]}})
    found = await docs.get("plain", "a")
    assert found is not None
    assert repr(found["value"]) == repr(value)
    assert repr(found["nested"]) == repr({"in": [value]})


async def test_nan_comes_back(docs: DocStore) -> None:
    await docs.insert("plain", {"_id": "a", "loss": math.nan})
    found = await docs.get("plain", "a")
    assert found is not None
    assert math.isnan(found["loss"])


async def test_times_of_other_zones_come_back_as_the_same_instant_in_utc(docs: DocStore) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    await docs.insert("plain", {"_id": "a", "at": there})
    found = await docs.get("plain", "a")
    assert found is not None
    assert (found["at"], found["at"].tzinfo) == (NOW, UTC)


@pytest.mark.parametrize("id", ["..", "../../etc/passwd", "", "a'b\"c", "a.b", "$a", "nul\x00", "🎉", "%"])
async def test_any_text_is_an_id(docs: DocStore, id: str) -> None:
    await docs.insert("plain", {"_id": id, "n": 1})
    assert await docs.get("plain", id) == {"_id": id, "n": 1}
    assert await docs.update("plain", Update(id, inc={"n": 1})) == {"_id": id, "n": 2}
    assert await docs.delete("plain", id)
    assert await docs.get("plain", id) is None


@pytest.mark.parametrize(
    "doc",
    [
        {"n": 1},
        {"_id": 1},
        {"_id": "a", "at": datetime(2026, 1, 1)},
        {"_id": "a", "n": 2**63},
        {"_id": "a", "set": {1}},
        {"_id": "a", "d": {1: 2}},
        {"_id": "a", "d": {"nul\x00": 2}},
        {"_id": "a", "text": "\ud800"},
    ],
    ids=["no id", "id no text", "naive time", "65 bits", "a set", "key no text", "key with NUL", "no Unicode"],
)
async def test_what_cannot_be_kept_is_refused_and_leaves_nothing(docs: DocStore, doc: dict[str, Any]) -> None:
    with pytest.raises(BadBody):
        await docs.insert("plain", doc)
    with pytest.raises(BadBody):
        await docs.insert_many("plain", [{"_id": "good"}, doc])
    assert (await docs.find("plain")).items == []


async def test_a_document_over_16_mib_is_refused(docs: DocStore) -> None:
    with pytest.raises(TooLarge):
        await docs.insert("plain", {"_id": "a", "text": "x" * (17 * 1024 * 1024)})


async def test_an_id_is_taken_once(docs: DocStore) -> None:
    await docs.insert("plain", {"_id": "a", "n": 1})
    with pytest.raises(DuplicateKey) as caught:
        await docs.insert("plain", {"_id": "a", "n": 2})
    assert caught.value.details["key"] == ["_id"]
    assert await docs.get("plain", "a") == {"_id": "a", "n": 1}


async def test_a_unique_key_is_taken_once_and_named(docs: DocStore) -> None:
    await docs.insert("things", {"_id": "a", "bucket": "x", "key": "k"})
    await docs.insert("things", {"_id": "b", "bucket": "y", "key": "k"})
    with pytest.raises(DuplicateKey) as caught:
        await docs.insert("things", {"_id": "c", "bucket": "x", "key": "k"})
    assert caught.value.details["key"] == ["bucket", "key"]


async def test_a_missing_first_field_counts_as_none_in_a_unique_key(docs: DocStore) -> None:
    await docs.insert("things", {"_id": "a", "key": "k"})
    with pytest.raises(DuplicateKey):
        await docs.insert("things", {"_id": "b", "bucket": None, "key": "k"})


async def test_documents_whose_last_field_is_none_are_left_out_of_a_unique_key(docs: DocStore) -> None:
    same = [{"_id": "a", "bucket": "x"}, {"_id": "b", "bucket": "x", "key": None}, {"_id": "c", "bucket": "x"}]
    assert await docs.insert_many("things", same) == [True, True, True]
    assert await docs.update("things", Update("a", set={"key": "k"}))
    with pytest.raises(DuplicateKey):
        await docs.update("things", Update("b", set={"key": "k"}))
    assert await docs.get("things", "b") == same[1]


async def test_insert_many_tells_which_were_refused(docs: DocStore) -> None:
    await docs.insert("things", {"_id": "a", "bucket": "x", "key": "1"})
    new = [("a", "2"), ("b", "1"), ("c", "3"), ("c", "4"), ("d", "3"), ("e", "5")]
    results = await docs.insert_many("things", [{"_id": id, "bucket": "x", "key": key} for id, key in new])
    assert results == [False, False, True, False, False, True]
    assert [each and each["key"] for each in await docs.get_many("things", list("abcde"))] == [
        "1",
        None,
        "3",
        None,
        "5",
    ]
    assert await docs.insert_many("things", []) == []


async def test_an_update_sets_adds_and_removes(docs: DocStore) -> None:
    await docs.insert("plain", {"_id": "a", "n": 1, "old": 1, "deep": {"x": 1, "y": 2}, "list": [1]})
    update = Update("a", set={"deep.x": NOW, "new.path": [b"b"]}, inc={"n": 2, "deep.count": 3}, unset=("old", "no.ne"))
    after = {"_id": "a", "n": 3, "deep": {"x": NOW, "y": 2, "count": 3}, "list": [1], "new": {"path": [b"b"]}}
    assert await docs.update("plain", update) == after
    assert await docs.get("plain", "a") == after


async def test_an_update_with_a_failed_guard_or_no_document_changes_nothing(docs: DocStore) -> None:
    await docs.insert("plain", {"_id": "a", "state": "queued"})
    assert await docs.update("plain", Update("a", (Cond("state", "==", "running"),), {"n": 1})) is None
    assert await docs.update("plain", Update("b", set={"n": 1})) is None
    assert (await docs.find("plain")).items == [{"_id": "a", "state": "queued"}]


async def test_an_empty_update_is_a_guarded_read(docs: DocStore) -> None:
    await docs.insert("plain", {"_id": "a", "n": 1})
    assert await docs.update("plain", Update("a", (Cond("n", "==", 1),))) == {"_id": "a", "n": 1}
    assert await docs.update("plain", Update("a", (Cond("n", "==", 2),))) is None


@pytest.mark.parametrize(
    "update",
    [
        Update("a", set={"_id": "b"}),
        Update("a", set={"n": 1}, inc={"n": 1}),
        Update("a", set={"d": 1, "d.e": 1}),
        Update("a", inc={"text": 1}),
        Update("a", set={"text.x": 1}),
    ],
)
async def test_an_impossible_update_is_refused(docs: DocStore, update: Update) -> None:
    doc = {"_id": "a", "n": 1, "text": "t"}
    await docs.insert("plain", doc)
    with pytest.raises(BadBody):
        await docs.update("plain", update)
    assert await docs.get("plain", "a") == doc


async def test_update_many_applies_each_by_itself(docs: DocStore) -> None:
    rows = [{"_id": id, "bucket": "x", "key": id, "n": n} for n, id in enumerate("abcd")]
    await docs.insert_many("things", rows)
    guard = (Cond("n", "<", 2),)
    updates = [Update(id, guard, {"done": True}, {"n": 10}) for id in "dabz"]
    after = [None, {**rows[0], "n": 10, "done": True}, {**rows[1], "n": 11, "done": True}, None]
    assert await docs.update_many("things", updates) == after
    assert await docs.get_many("things", list("abcd")) == [after[1], after[2], rows[2], rows[3]]
    assert await docs.update_many("things", []) == []
    assert await docs.update_many("things", [Update("c", guard), Update("d", guard)]) == [None, None]


async def test_update_many_refuses_a_taken_key_alone(docs: DocStore) -> None:
    await docs.insert_many("things", [{"_id": id, "bucket": "x", "key": id} for id in "abc"])
    results = await docs.update_many("things", [Update("a", set={"key": "c"}), Update("b", set={"key": "new"})])
    assert results == [None, {"_id": "b", "bucket": "x", "key": "new"}]


async def test_delete_with_a_guard(docs: DocStore) -> None:
    await docs.insert_many("plain", [{"_id": id, "n": n} for n, id in enumerate("abcd")])
    assert not await docs.delete("plain", "a", [Cond("n", "==", 7)])
    assert await docs.delete("plain", "a", [Cond("n", "==", 0)])
    assert not await docs.delete("plain", "a")
    assert await docs.delete_where("plain", [Cond("n", ">=", 2)]) == 2
    assert await docs.get_many("plain", ["d", "b", "a"]) == [None, {"_id": "b", "n": 1}, None]


async def test_distinct_values_are_sorted_and_lists_count_by_element(docs: DocStore) -> None:
    values = [3, 1, 3, None, "b", "a", ["b", "c", None], NOW, True]
    await docs.insert_many("plain", [{"_id": str(at), "v": value} for at, value in enumerate(values)])
    await docs.insert("plain", {"_id": "without"})
    assert await docs.distinct("plain", "v") == [1, 3, "a", "b", "c", True, NOW]
    assert await docs.distinct("plain", "v", [Cond("v", "prefix", "a")]) == ["a"]
    assert await docs.distinct("plain", "_id", [Cond("v", "==", 3)]) == ["0", "2"]


async def test_a_page_holds_the_fields_asked_for(docs: DocStore) -> None:
    await docs.insert("plain", {"_id": "a", "n": 1, "d": {"x": 1, "y": {"z": 2}}, "big": "b"})
    page = await docs.find("plain", sort=[("big", 1)], fields=["d.y.z", "d.y", "n", "none.such", "n.deep"])
    assert page.items == [{"_id": "a", "n": 1, "d": {"y": {"z": 2}}}]


@pytest.mark.parametrize("after", ["", "nonsense", "W10=", "bnVsbA=="])
async def test_a_cursor_that_is_none_is_refused(docs: DocStore, after: str) -> None:
    with pytest.raises(BadFilter):
        await docs.find("plain", after=after)


async def test_a_cursor_of_another_sort_is_refused(docs: DocStore) -> None:
    await docs.insert_many("plain", [{"_id": id} for id in "abc"])
    page = await docs.find("plain", limit=1)
    with pytest.raises(BadFilter):
        await docs.find("plain", sort=[("n", 1)], after=page.next)


async def test_paging_is_stable_while_documents_come_and_go(docs: DocStore) -> None:
    await docs.insert_many("plain", [{"_id": f"{n:02}", "n": n // 3} for n in range(10, 20)])
    first = await docs.find("plain", sort=[("n", 1)], limit=5)
    await docs.insert_many("plain", [{"_id": "00", "n": 0}, {"_id": "99", "n": 99}])
    await docs.delete("plain", first.items[-1]["_id"])
    second = await docs.find("plain", sort=[("n", 1)], limit=100, after=first.next)
    assert [each["_id"] for each in second.items] == ["15", "16", "17", "18", "19", "99"]
    assert second.next is None


@pytest.mark.parametrize(
    "cond",
    [
        Cond("a..b", "==", 1),
        Cond("", "==", 1),
        Cond('a"b', "==", 1),
        Cond("$where", "==", 1),
        Cond("a", "<", [1]),
        Cond("a", "prefix", 1),
    ],
)
async def test_an_impossible_condition_is_refused(docs: DocStore, cond: Cond) -> None:
    with pytest.raises(BadFilter):
        await docs.find("plain", [cond])
    with pytest.raises(BadFilter):
        await docs.update("plain", Update("a", (cond,)))


async def test_an_impossible_page_is_refused(docs: DocStore) -> None:
    with pytest.raises(BadFilter):
        await docs.find("plain", limit=0)
    with pytest.raises(BadFilter):
        await docs.find("plain", fields=["a."])


async def test_expired_documents_are_gone_at_once(docs: DocStore, clock: ManualClock) -> None:
    soon = clock.now() + timedelta(seconds=60)
    await docs.insert_many("things", [{"_id": "a", "expires": soon, "label": "x"}, {"_id": "b", "expires": None}])
    await docs.insert("things", {"_id": "c"})
    assert await docs.get("things", "a") is not None
    clock.advance(60)
    assert await docs.get("things", "a") is None
    assert [each["_id"] for each in (await docs.find("things")).items] == ["b", "c"]
    assert await docs.update("things", Update("a", set={"n": 1})) is None
    assert await docs.update_many("things", [Update("a"), Update("b")]) == [None, {"_id": "b", "expires": None}]
    assert await docs.distinct("things", "label") == []
    assert not await docs.delete("things", "a")
    assert await docs.delete_where("things", []) == 2


async def test_an_expired_document_blocks_no_key(docs: DocStore, clock: ManualClock) -> None:
    soon = clock.now() + timedelta(seconds=60)
    keys = [("a", "1"), ("b", "2"), ("c", "3")]
    await docs.insert_many("things", [{"_id": id, "bucket": "x", "key": key, "expires": soon} for id, key in keys])
    await docs.insert("things", {"_id": "other", "bucket": "x", "key": "other"})
    clock.advance(61)
    await docs.insert("things", {"_id": "a", "bucket": "x", "key": "2"})
    await docs.insert("things", {"_id": "b", "bucket": "x", "key": "1", "expires": clock.now() + timedelta(seconds=9)})
    clock.advance(10)
    assert await docs.insert_many("things", [{"_id": "b"}, {"_id": "a"}]) == [True, False]
    assert await docs.update("things", Update("other", set={"key": "3"})) is not None


async def test_an_unknown_collection_is_an_error(docs: DocStore) -> None:
    with pytest.raises(OmegaError, match="unknown"):
        await docs.get("nothing", "a")


async def test_a_closed_store_is_unavailable(docs: DocStore) -> None:
    await docs.ping()
    await docs.close()
    await docs.close()
    for call in (docs.ping(), docs.get("plain", "a"), docs.insert("plain", {"_id": "a"})):
        with pytest.raises(Unavailable):
            await call
