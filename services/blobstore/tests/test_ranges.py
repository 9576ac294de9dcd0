"""The Range header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_blobstore.ranges import ByteRange, Unsatisfiable, parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=2-", ByteRange(2, 10)),
        ("bytes=2-99", ByteRange(2, 10)),
        ("bytes=-3", ByteRange(7, 10)),
        ("bytes=-99", ByteRange(0, 10)),
        ("Bytes = 1 - 2", ByteRange(1, 3)),
    ],
)
def test_a_range_is_cut_at_the_end(header: str, expected: ByteRange) -> None:
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_a_range_outside_is_unsatisfiable(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, 10)


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes=", "bytes=-", "bytes=5-2", "bytes=0-1,3-4", "items=0-1", "bytes=a-b", "bytes=٣-", "b" * 999],
)
def test_what_is_no_single_range_means_the_whole(header: str | None) -> None:
    assert parse_range(header, 10) is None


def test_an_empty_blob_satisfies_no_range() -> None:
    with pytest.raises(Unsatisfiable):
        parse_range("bytes=0-", 0)


@given(data=st.binary(min_size=1, max_size=50), start=st.integers(0, 60), stop=st.integers(0, 60))
def test_a_range_is_a_slice_with_an_inclusive_end(data: bytes, start: int, stop: int) -> None:
    try:
        found = parse_range(f"bytes={start}-{stop}", len(data))
    except Unsatisfiable:
        assert start >= len(data)
        return
    if found is None:
        assert stop < start
    else:
        assert data[found.start : found.stop] == data[start : stop + 1] != b""
        assert found.content_range(len(data)) == f"bytes {start}-{min(stop, len(data) - 1)}/{len(data)}"
