"""The chunks of a stream, read as a file."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from omegamesh.frames import _Readable

CHUNKS = st.lists(st.binary(max_size=20), max_size=20)


@given(CHUNKS, st.lists(st.integers(0, 30)))
def test_reads_of_any_size_give_the_bytes_in_order(chunks: list[bytes], sizes: list[int]) -> None:
    whole, file, at = b"".join(chunks), _Readable(iter(chunks)), 0
    for size in sizes:
        assert file.read(size) == whole[at : at + size]
        at = min(at + size, len(whole))
    assert file.read() == whole[at:]
    assert file.read() == b""


def test_it_can_be_closed() -> None:
    file = _Readable(iter([b"abc"]))
    assert not file.closed
    file.close()
    assert file.closed
