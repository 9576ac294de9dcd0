"""The read-through cache: one load for a key, expiry, bounds, and eviction that loads cannot outrun."""

from __future__ import annotations

import asyncio

import pytest

from omega_gateway.cache import ReadThrough


class Source:
    """Counts loads; each waits until it is let go."""

    def __init__(self) -> None:
        self.loads = 0
        self.open = asyncio.Event()
        self.open.set()

    async def load(self) -> int:
        self.loads += 1
        number = self.loads
        await self.open.wait()
        return number


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def make(size: int = 10, now: Hand | None = None) -> ReadThrough[str, int]:
    return ReadThrough(size=size, seconds=lambda _value: 5.0, now=now or Hand())


async def test_readers_at_the_same_time_share_one_load() -> None:
    cache, source = make(), Source()
    assert set(await asyncio.gather(*(cache.read("a", source.load) for _ in range(10)))) == {1}
    assert await cache.read("a", source.load) == 1 == source.loads


async def test_a_value_expires() -> None:
    now = Hand()
    cache, source = make(now=now), Source()
    await cache.read("a", source.load)
    now.time = 4.9
    assert cache.get("a") == 1
    now.time = 5.0
    assert cache.get("a") is None
    assert await cache.read("a", source.load) == 2


async def test_the_oldest_leaves_first() -> None:
    cache, source = make(size=2), Source()
    for key in "abc":
        await cache.read(key, source.load)
    assert [cache.get(key) for key in "abc"] == [None, 2, 3]
    assert len(cache) == 2


async def test_a_failure_is_not_kept() -> None:
    cache, source = make(), Source()

    async def fail() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await cache.read("a", fail)
    assert await cache.read("a", source.load) == 1


@pytest.mark.parametrize("by", ["evict", "clear"])
async def test_a_load_that_began_before_an_eviction_is_not_kept(by: str) -> None:
    cache, source = make(), Source()
    source.open.clear()
    early = asyncio.create_task(cache.read("a", source.load))
    while not source.loads:
        await asyncio.sleep(0)
    cache.clear() if by == "clear" else cache.evict(lambda key, value: key == "a" and value is None)
    late = asyncio.create_task(cache.read("a", source.load))
    while source.loads < 2:
        await asyncio.sleep(0)
    source.open.set()
    assert (await early, await late, cache.get("a")) == (1, 2, 2)


async def test_eviction_takes_what_matches_only() -> None:
    cache, source = make(), Source()
    await cache.read("a", source.load)
    await cache.read("b", source.load)
    cache.evict(lambda _key, value: value == 1)
    assert (cache.get("a"), cache.get("b")) == (None, 2)


async def test_a_reader_that_gives_up_does_not_fail_the_others() -> None:
    cache, source = make(), Source()
    source.open.clear()
    impatient = asyncio.create_task(cache.read("a", source.load))
    patient = asyncio.create_task(cache.read("a", source.load))
    while not source.loads:
        await asyncio.sleep(0)
    impatient.cancel()
    source.open.set()
    assert await patient == 1


async def test_closing_cancels_loads() -> None:
    cache, source = make(), Source()
    source.open.clear()
    reader = asyncio.create_task(cache.read("a", source.load))
    while not source.loads:
        await asyncio.sleep(0)
    await cache.close()
    with pytest.raises(asyncio.CancelledError):
        await reader
