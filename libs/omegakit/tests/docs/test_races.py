"""Writers that race for the same documents: each guard lets exactly one through."""

import asyncio
from collections.abc import Awaitable, Callable

from omegakit.docs import Cond, DocStore, Update
from omegaproto.errors import DuplicateKey

WRITERS = 16
StoreFactory = Callable[[], Awaitable[DocStore]]


async def test_one_of_sixteen_writers_wins_each_round(open_store: StoreFactory) -> None:
    stores = [await open_store() for _ in range(2)]
    await stores[0].insert("plain", {"_id": "lease", "round": 0})
    for now in range(20):
        wins = await asyncio.gather(
            *(
                stores[writer % 2].update(
                    "plain", Update("lease", (Cond("round", "==", now),), {"owner": writer}, {"round": 1})
                )
                for writer in range(WRITERS)
            )
        )
        winners = [doc for doc in wins if doc is not None]
        assert len(winners) == 1
        assert winners[0] == await stores[1].get("plain", "lease")


async def test_a_counter_by_compare_and_set_ends_exact(open_store: StoreFactory) -> None:
    stores = [await open_store() for _ in range(2)]
    await stores[0].insert("plain", {"_id": "counter", "n": 0})

    async def add(store: DocStore, times: int) -> None:
        while times:
            seen = await store.get("plain", "counter")
            assert seen is not None
            guard = (Cond("n", "==", seen["n"]),)
            times -= await store.update("plain", Update("counter", guard, {"n": seen["n"] + 1})) is not None

    await asyncio.gather(*(add(stores[writer % 2], 5) for writer in range(WRITERS)))
    assert await stores[0].get("plain", "counter") == {"_id": "counter", "n": WRITERS * 5}


async def test_batches_that_overlap_apply_each_update_once(open_store: StoreFactory) -> None:
    stores = [await open_store() for _ in range(2)]
    ids = [f"{n:03}" for n in range(40)]
    await stores[0].insert_many("plain", [{"_id": id, "state": "queued", "claims": 0} for id in ids])

    async def claim(writer: int) -> int:
        guard = (Cond("state", "==", "queued"),)
        mine = ids[writer * 2 : writer * 2 + 20]
        updates = [Update(id, guard, {"state": "running", "by": writer}, {"claims": 1}) for id in mine]
        results = await stores[writer % 2].update_many("plain", updates)
        assert all(doc is None or doc["by"] == writer for doc in results)
        return sum(doc is not None for doc in results)

    claimed = await asyncio.gather(*(claim(writer) for writer in range(8)))
    page = await stores[0].find("plain", [Cond("claims", "==", 1)])
    assert sum(claimed) == len(page.items) == 34


async def test_a_unique_key_is_given_to_one_of_many(docs: DocStore) -> None:
    inserts = (docs.insert("things", {"_id": str(n), "bucket": "x", "key": "same"}) for n in range(WRITERS))
    results = await asyncio.gather(*inserts, return_exceptions=True)
    assert [type(each) for each in results if each is not None] == [DuplicateKey] * (WRITERS - 1)
    assert len((await docs.find("things")).items) == 1
