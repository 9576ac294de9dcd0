"""Mark and sweep keeps what is referred to and what is young, and removes the rest."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytest_asyncio

from omega_blobstore import manifests
from omegakit.clock import ManualClock
from omegaproto.blobs import CreateFrame, SweepBlobs, Swept
from omegaproto.errors import Unavailable

B = "omegaml"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest_asyncio.fixture
async def old_store(open_store: Any, stores: tuple[str, str], clock: ManualClock) -> Any:
    """A store whose clock is in the test's hands; it judges three blobs a pass."""
    return await open_store(stores, clock, sweep_interval_seconds=0, sweep_batch=3)


async def sweep(store: Any, grace_seconds: float | None = None) -> Swept:
    request = SweepBlobs(grace_seconds=grace_seconds)
    swept: Swept = await store.kit.bus.call(request, token=store.kit.tokens.own())
    return swept


async def make_frame(store: Any, base: str | None = None) -> tuple[str, str]:
    """Give the ids of a frame of one new part, and of that part."""
    out = io.BytesIO()
    pq.write_table(pa.table({"x": [1]}), out)
    part = await store.upload(out.getvalue())
    info = await store.call(CreateFrame(bucket=B, parts=(part.id,), base=base))
    return info.frame_id, part.id


async def blob_ids(store: Any) -> set[str]:
    return {blob.id async for blob in store.service._blobs.list()}


async def frame_ids(store: Any) -> set[str]:
    page = await store.service._docs.find("frames", limit=1000)
    return {doc["_id"] for doc in page.items}


async def test_what_revisions_refer_to_stays(old_store: Any, clock: ManualClock) -> None:
    ids = [(await old_store.upload(b"x")).id for _ in range(11)]
    kept, kept_part = await make_frame(old_store)
    gone, gone_part = await make_frame(old_store)
    clock.advance(4000)
    young = (await old_store.upload(b"y")).id
    old_store.references.blob_ids = ids[::2]
    old_store.references.frame_ids = [kept]
    swept = await sweep(old_store)
    assert (swept.blobs, swept.frames) == (6, 1)
    assert await blob_ids(old_store) == {*ids[::2], kept_part, young}
    assert await frame_ids(old_store) == {kept}
    assert (await sweep(old_store)) == Swept(blobs=0, frames=0)
    assert gone_part not in await blob_ids(old_store)
    assert gone != kept


async def test_the_grace_period_can_be_given(old_store: Any, clock: ManualClock) -> None:
    await old_store.upload(b"x")
    clock.advance(10)
    assert (await sweep(old_store)).blobs == 0
    assert (await sweep(old_store, grace_seconds=20)).blobs == 0
    assert (await sweep(old_store, grace_seconds=5)).blobs == 1


async def test_a_young_frame_keeps_the_old_parts_that_it_shares(old_store: Any, clock: ManualClock) -> None:
    base, base_part = await make_frame(old_store)
    clock.advance(4000)
    young, young_part = await make_frame(old_store, base)
    assert (await sweep(old_store)) == Swept(blobs=0, frames=1)
    assert await blob_ids(old_store) == {base_part, young_part}
    assert await frame_ids(old_store) == {young}
    assert base != young


async def test_all_documents_of_a_frame_go(old_store: Any, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "MAX_PARTS", 1)
    base, _ = await make_frame(old_store)
    await make_frame(old_store, base)
    orphan, _ = await make_frame(old_store, base)
    await old_store.service._docs.delete("frames", orphan)  # as a crash between two documents leaves it
    assert len(await frame_ids(old_store)) == 4
    clock.advance(4000)
    assert (await sweep(old_store)) == Swept(blobs=3, frames=2)
    assert await frame_ids(old_store) == set()


@pytest.fixture
def metadata_down_in_the_middle(old_store: Any) -> None:
    """The second page of references cannot be read."""
    old_store.references.blob_ids = ["0" * 32] * 5
    old_store.references.fails_at = 2


@pytest.mark.usefixtures("metadata_down_in_the_middle")
async def test_nothing_goes_when_references_cannot_be_read(old_store: Any, clock: ManualClock) -> None:
    await old_store.upload(b"x")
    await make_frame(old_store)
    clock.advance(4000)
    with pytest.raises(Unavailable):
        await sweep(old_store)
    assert len(await blob_ids(old_store)) == 2
    assert len(await frame_ids(old_store)) == 1
    assert old_store.references.pages == 2


async def test_the_timer_sweeps_and_survives_failures(open_store: Any, local_stores: tuple[str, str]) -> None:
    import asyncio

    store = await open_store(local_stores, grace_seconds=0, sweep_interval_seconds=0.05)
    store.references.fails_at = 0
    await store.upload(b"x")
    async with asyncio.timeout(20):
        while store.references.pages < 2:
            await asyncio.sleep(0.01)
        assert len(await blob_ids(store)) == 1
        store.references.fails_at = None
        while await blob_ids(store):
            await asyncio.sleep(0.01)


async def test_what_tasks_refer_to_stays(old_store: Any, clock: ManualClock) -> None:
    kept, gone = [(await old_store.upload(b"x")).id for _ in range(2)]
    clock.advance(4000)
    old_store.references.task_blob_ids = [kept]
    assert (await sweep(old_store)).blobs == 1
    assert await blob_ids(old_store) == {kept}
    assert gone != kept


async def test_without_the_scheduler_nothing_is_removed(old_store: Any, clock: ManualClock) -> None:
    await old_store.upload(b"x")
    clock.advance(4000)
    old_store.references.scheduler_is_away = True
    with pytest.raises(Unavailable):
        await sweep(old_store)
    assert len(await blob_ids(old_store)) == 1
