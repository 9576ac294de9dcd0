"""Ids sort by time and never meet."""

from hypothesis import given
from hypothesis import strategies as st

from omegaproto.ids import new_id

MILLIS = st.integers(0, (1 << 48) - 1)


@given(MILLIS, MILLIS)
def test_ids_sort_by_time(first: int, second: int) -> None:
    if first < second:
        assert new_id(first) < new_id(second)


def test_an_id_is_a_version_7_uuid_without_dashes() -> None:
    made = new_id()
    assert len(made) == 32
    assert made[12] == "7"
    assert made[16] in "89ab"
    assert int(made, 16) >= 0


def test_ids_of_one_millisecond_differ() -> None:
    assert len({new_id(5) for _ in range(1000)}) == 1000
