"""Conditions and pages on all adapters, against the pure model, with generated data."""

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omegakit.docs import Cond, Doc, DocStore
from omegakit.docs.values import matches, order_key, rank, value_at

few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

texts = st.text(st.sampled_from("ab\x00\x01\x02%_.*[{é\ud7ff\ue000\uffff🎉\U0010fffe\U0010ffff"), max_size=4)
times = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
ints = st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
kinds = [st.booleans(), ints | floats, texts, st.binary(max_size=3), times]
scalars = st.none() | st.one_of(kinds)
lists = st.lists(scalars, max_size=3)
rows = st.fixed_dictionaries(
    {},
    optional={"a": scalars, "label": scalars, "list": lists, "d": st.fixed_dictionaries({}, optional={"x": scalars})},
)
tables = st.lists(rows, max_size=8)
fields = st.sampled_from(["a", "label", "d.x", "list"])
comparisons = st.builds(Cond, fields, st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "contains"]), scalars)
memberships = st.builds(Cond, fields, st.just("in"), st.lists(scalars, max_size=3))
prefixes = st.builds(Cond, fields, st.just("prefix"), texts)
conds = st.lists(comparisons | memberships | prefixes, min_size=1, max_size=2)


def numbered(table: list[Doc]) -> list[Doc]:
    return [{"_id": f"{at:02}", **row} for at, row in enumerate(table)]


async def fill(docs: DocStore, table: list[Doc]) -> list[Doc]:
    await docs.delete_where("things", [])
    stored = numbered(table)
    assert all(await docs.insert_many("things", stored))
    return stored


@few
@given(table=tables, where=conds, data=st.data())
async def test_conditions_mean_what_the_model_says(
    docs: DocStore, table: list[Doc], where: list[Cond], data: st.DataObject
) -> None:
    stored = await fill(docs, table)
    known = [value for row in stored for field in ("a", "label", "d.x") if rank(value := value_at(row, field)) != 4]
    if known:  # a value that is there, too, or most conditions would match nothing
        op = data.draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
        where = [*where[1:], Cond(data.draw(fields), op, data.draw(st.sampled_from(known)))]
    found = (await docs.find("things", where)).items
    assert found == [row for row in stored if matches(row, where)]
    assert await docs.delete_where("things", where) == len(found)


async def pages(docs: DocStore, sort: list[tuple[str, Any]], limit: int) -> list[Doc]:
    found: list[Doc] = []
    after = None
    while True:
        page = await docs.find("things", sort=sort, limit=limit, after=after)
        assert len(page.items) <= limit
        found += page.items
        after = page.next
        if after is None:
            return found


directions = st.sampled_from([1, -1])


@few
@given(
    table=st.one_of(
        [st.lists(st.fixed_dictionaries({}, optional={"a": st.none() | kind, "n": st.none() | kind})) for kind in kinds]
    ),
    sort=st.lists(st.tuples(st.sampled_from(["a", "n"]), directions), max_size=3),
    limit=st.integers(1, 4),
)
async def test_pages_are_complete_and_in_order(
    docs: DocStore, table: list[Doc], sort: list[tuple[str, Any]], limit: int
) -> None:
    expected = await fill(docs, table[:99])
    order = dict(reversed(sort)) if sort else {}
    first = list({field: dict(reversed(sort))[field] for field, _ in sort}.items())
    for field, direction in reversed([*first, ("_id", first[-1][1] if first else 1)]):
        expected = sorted(expected, key=lambda row: order_key(row.get(field)), reverse=direction == -1)
    assert order.keys() == dict(first).keys()
    assert await pages(docs, sort, limit) == expected


@few
@given(
    table=tables,
    sort=st.lists(st.tuples(st.sampled_from(["a", "d.x"]), directions), max_size=2),
    limit=st.integers(1, 3),
)
async def test_pages_over_mixed_types_are_complete_without_doubles(
    docs: DocStore, table: list[Doc], sort: list[tuple[str, Any]], limit: int
) -> None:
    stored = await fill(docs, table)
    found = await pages(docs, sort, limit)
    assert sorted(row["_id"] for row in found) == [row["_id"] for row in stored]
    if sort:
        field, direction = sort[0]
        values = [value_at(row, field) for row in found]
        for here, there in itertools.pairwise(values):
            if rank(here) == rank(there) and rank(here) != 0:
                low, high = (here, there) if direction == 1 else (there, here)
                assert order_key(low) <= order_key(high)


@pytest.mark.parametrize(
    ("value", "cond", "expected"),
    [
        (None, Cond("v", "==", None), True),
        (None, Cond("v", "<", 1), False),
        (None, Cond("v", ">=", None), False),
        (None, Cond("v", "!=", 1), True),
        (None, Cond("v", "in", [None]), True),
        (1, Cond("v", "==", True), False),
        (1, Cond("v", "==", 1.0), True),
        (1, Cond("v", "<", "a"), False),
        ("100%", Cond("v", "prefix", "1__"), False),
        ("a.*b", Cond("v", "prefix", "a.*"), True),
        (["a"], Cond("v", "==", "a"), False),
        (["a"], Cond("v", "!=", "a"), True),
        (["a"], Cond("v", "==", ["a"]), True),
        (["a"], Cond("v", "contains", "a"), True),
        ([["a"]], Cond("v", "contains", ["a"]), True),
        ("abc", Cond("v", "contains", "a"), False),
        (b"\xff", Cond("v", "<", b"\x00\x00"), True),
        ({"x": {"y": 1}}, Cond("v.x.y", "==", 1), True),
        (["a"], Cond("v", "==", '["a"]'), False),
        (["a"], Cond("v", "<", "b"), False),
        (["a"], Cond("v", "prefix", "["), False),
        (["a"], Cond("v", "in", ['["a"]', "a"]), False),
        ('["a"]', Cond("v", "in", ["b", ["a"]]), False),
        ('["a"]', Cond("v", "!=", ["a"]), True),
        ([["a"]], Cond("v", "contains", '["a"]'), False),
        ({"x": 1}, Cond("v.x.y", "==", None), True),
        ({"x": 1}, Cond("v", "==", {"x": 1}), True),
    ],
)
async def test_conditions_by_example(docs: DocStore, value: Any, cond: Cond, expected: bool) -> None:
    doc = {"_id": "a", "v": value}
    await docs.insert("plain", doc)
    assert matches(doc, [cond]) is expected
    assert ((await docs.find("plain", [cond])).items == [doc]) is expected
