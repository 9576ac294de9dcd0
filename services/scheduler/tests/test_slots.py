"""Which worker a task is handed to, as far as one replica heard."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_scheduler.slots import IdleSlots

WORKERS = ("a", "b", "c")
heartbeats = st.dictionaries(st.sampled_from(WORKERS), st.integers(0, 5), min_size=1)


@pytest.fixture
def slots() -> IdleSlots:
    return IdleSlots()


def test_nobody_is_known_at_first(slots: IdleSlots) -> None:
    assert slots.take("cpu") is None


def test_a_slot_is_given_once(slots: IdleSlots) -> None:
    slots.registered("a", ("cpu", "gpu"), 2)
    assert [slots.take("gpu"), slots.take("cpu"), slots.take("cpu")] == ["a", "a", None]


def test_only_who_offers_the_label_is_given(slots: IdleSlots) -> None:
    slots.registered("a", ("gpu",), 5)
    slots.registered("b", ("cpu",), 1)
    assert [slots.take("cpu"), slots.take("cpu")] == ["b", None]


@given(heartbeats)
def test_all_free_slots_are_given_the_freest_worker_first(idle: dict[str, int]) -> None:
    slots, left = IdleSlots(), Counter(idle)
    for worker, free in idle.items():
        slots.registered(worker, ("cpu",), free)
    while (worker := slots.take("cpu")) is not None:
        assert left[worker] == max(left.values()) > 0
        left[worker] -= 1
    assert not +left


def test_what_a_worker_says_last_counts(slots: IdleSlots) -> None:
    slots.registered("a", ("cpu",), 1)
    slots.heard("a", 3)
    assert [slots.take("cpu") for _ in range(4)] == ["a", "a", "a", None]
    slots.registered("a", ("gpu",), 1)
    assert (slots.take("cpu"), slots.take("gpu")) == (None, "a")
    slots.heard("a", 0)
    assert slots.take("gpu") is None


def test_a_worker_whose_labels_are_unknown_is_given_nothing(slots: IdleSlots) -> None:
    slots.heard("a", 3)
    assert slots.take("cpu") is None


def test_who_was_forgotten_is_given_nothing_before_its_next_heartbeat(slots: IdleSlots) -> None:
    slots.registered("a", ("cpu",), 1)
    slots.forget("a")
    slots.forget("never heard of")
    slots.heard("a", 1)
    assert slots.take("cpu") is None
    slots.registered("a", ("cpu",), 1)
    assert slots.take("cpu") == "a"


def test_who_is_no_longer_alive_is_forgotten(slots: IdleSlots) -> None:
    slots.registered("a", ("cpu",), 9)
    slots.registered("b", ("cpu",), 1)
    slots.keep(iter(("b", "c")))
    assert [slots.take("cpu"), slots.take("cpu")] == ["b", None]
