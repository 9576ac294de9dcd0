"""Greedy batching: nothing is lost, order holds, batches grow while one is in flight."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omegakit.batching import GreedyBatcher
from omegaproto.errors import Overloaded

pytestmark = pytest.mark.usefixtures("no_leaks")


class Recorder:
    """Remembers the batches it got, and holds each until told to go on."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        if not held:
            self.gate.set()

    async def run(self, items: list[int]) -> list[int | BaseException]:
        self.batches.append(items)
        await self.gate.wait()
        return [ValueError(str(item)) if item < 0 else item * 2 for item in items]


async def test_an_item_goes_straight_through_when_nothing_is_in_flight() -> None:
    recorder = Recorder()
    batcher: GreedyBatcher[int, int] = GreedyBatcher(recorder.run, max_items=10)
    assert await batcher.submit(1) == 2
    assert await batcher.submit(2) == 4
    assert recorder.batches == [[1], [2]]
    await batcher.drain()
    assert batcher.idle


async def test_what_arrives_meanwhile_is_the_next_batch() -> None:
    recorder = Recorder(held=True)
    batcher: GreedyBatcher[int, int] = GreedyBatcher(recorder.run, max_items=3)
    waiting = [asyncio.create_task(batcher.submit(n)) for n in range(6)]
    while not recorder.batches:
        await asyncio.sleep(0)
    more = asyncio.create_task(batcher.submit(6))
    await asyncio.sleep(0)
    recorder.gate.set()
    assert await asyncio.gather(*waiting, more) == [0, 2, 4, 6, 8, 10, 12]
    assert [len(batch) for batch in recorder.batches] == [3, 3, 1]


async def test_one_item_fails_alone() -> None:
    batcher: GreedyBatcher[int, int] = GreedyBatcher(Recorder().run, max_items=10)
    found = await asyncio.gather(*map(batcher.submit, [1, -1, 2]), return_exceptions=True)
    assert [str(item) for item in found] == ["2", "-1", "4"]


async def test_a_batch_that_fails_fails_each_of_its_items() -> None:
    async def broken(_items: list[int]) -> list[int]:
        raise RuntimeError("broken")

    batcher: GreedyBatcher[int, int] = GreedyBatcher(broken, max_items=10)
    found = await asyncio.gather(*map(batcher.submit, [1, 2]), return_exceptions=True)
    assert [str(item) for item in found] == ["broken", "broken"]


async def test_the_queue_is_bounded() -> None:
    recorder = Recorder(held=True)
    batcher: GreedyBatcher[int, int] = GreedyBatcher(recorder.run, max_items=1, max_waiting=2)
    running = [asyncio.create_task(batcher.submit(0))]
    while not recorder.batches:
        await asyncio.sleep(0)
    running += [asyncio.create_task(batcher.submit(n)) for n in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await batcher.submit(3)
    recorder.gate.set()
    await asyncio.gather(*running)


async def test_who_gave_up_is_left_out() -> None:
    recorder = Recorder(held=True)
    batcher: GreedyBatcher[int, int] = GreedyBatcher(recorder.run, max_items=10)
    first = asyncio.create_task(batcher.submit(1))
    while not recorder.batches:
        await asyncio.sleep(0)
    gone, stays = asyncio.create_task(batcher.submit(2)), asyncio.create_task(batcher.submit(3))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    recorder.gate.set()
    assert await asyncio.gather(first, stays) == [2, 6]
    assert recorder.batches == [[1], [3]]


async def test_several_batches_can_be_in_flight() -> None:
    recorder = Recorder(held=True)
    batcher: GreedyBatcher[int, int] = GreedyBatcher(recorder.run, max_items=1, concurrency=3)
    waiting = [asyncio.create_task(batcher.submit(n)) for n in range(5)]
    while len(recorder.batches) < 3:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(recorder.batches) == 3
    recorder.gate.set()
    assert await asyncio.gather(*waiting) == [0, 2, 4, 6, 8]


async def test_those_who_were_just_answered_travel_with_the_few_that_came_meanwhile() -> None:
    recorder = Recorder(held=True)
    batcher: GreedyBatcher[int, int] = GreedyBatcher(recorder.run, max_items=10, linger=10_000)

    async def twice(number: int) -> None:
        await batcher.submit(number)
        await batcher.submit(number + 10)

    asking = [asyncio.create_task(twice(number)) for number in range(4)]
    while not recorder.batches:
        await asyncio.sleep(0)
    late = asyncio.create_task(batcher.submit(4))
    await asyncio.sleep(0)
    recorder.gate.set()
    await asyncio.gather(*asking, late)
    assert recorder.batches == [[0, 1, 2, 3], [4, 10, 11, 12, 13]]


async def test_nobody_is_waited_for_longer_than_the_last_batch_took() -> None:
    recorder = Recorder(held=True)
    batcher: GreedyBatcher[int, int] = GreedyBatcher(recorder.run, max_items=10, linger=1.0)
    asking = [asyncio.create_task(batcher.submit(number)) for number in range(4)]
    while not recorder.batches:
        await asyncio.sleep(0)
    late = asyncio.create_task(batcher.submit(4))
    await asyncio.sleep(0)
    recorder.gate.set()
    assert await asyncio.gather(*asking) == [0, 2, 4, 6]
    assert await asyncio.wait_for(late, 5) == 8
    await batcher.drain()
    assert recorder.batches == [[0, 1, 2, 3], [4]]


@given(st.lists(st.integers(-5, 50), max_size=40), st.integers(1, 7), st.integers(1, 60), st.sampled_from([0.0, 1.0]))
def test_every_item_gets_its_own_answer_within_the_bounds(
    items: list[int], most: int, size: int, linger: float
) -> None:
    recorder_batches: list[list[int]] = []

    async def run() -> list[int | BaseException]:
        recorder = Recorder()
        batcher: GreedyBatcher[int, int] = GreedyBatcher(
            recorder.run, max_items=most, max_size=size, size_of=abs, linger=linger
        )
        found = await asyncio.gather(*map(batcher.submit, items), return_exceptions=True)
        await batcher.drain()
        recorder_batches.extend(recorder.batches)
        return found

    found = asyncio.run(run())
    assert [str(item) for item in found] == [str(n) if n < 0 else str(n * 2) for n in items]
    assert [item for batch in recorder_batches for item in batch] == items
    assert all(len(batch) <= most for batch in recorder_batches)
    assert all(len(batch) == 1 or sum(map(abs, batch)) <= size for batch in recorder_batches)
