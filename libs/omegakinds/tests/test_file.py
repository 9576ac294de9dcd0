"""Files come back byte by byte, streamed, from whatever names or holds them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omegakinds.base import Dumped
from omegakinds.file import PythonFile
from omegaproto.errors import BadInput

KIND = PythonFile()


def test_every_source_of_bytes_is_stored(tmp_path: Path, blobs: Any) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"hello")
    with path.open("rb") as opened:
        sources: list[Any] = [
            b"hello",
            bytearray(b"hello"),
            path,
            str(path),
            io.BytesIO(b"hello"),
            io.StringIO("hello"),
            opened,
        ]
        for source in sources:
            assert KIND.supports(source, "x")
            with KIND.load(KIND.dump(source, blobs), blobs) as loaded:
                assert loaded.read() == b"hello"
    assert KIND.dump(path, blobs).kind_meta == {"filename": "a.bin"}


def test_text_that_names_no_file_is_not_a_file(tmp_path: Path) -> None:
    for value in ("hello", "", "x" * 9000, "a\0b", 5, io.BytesIO, str(tmp_path)):
        assert not KIND.supports(value, "x")


def test_large_files_stream(tmp_path: Path, blobs: Any) -> None:
    data = bytes(range(256)) * 20_000
    (tmp_path / "big").write_bytes(data)
    dumped = KIND.dump(tmp_path / "big", blobs)
    local = KIND.load(dumped, blobs, local=tmp_path / "copy")
    assert local == tmp_path / "copy"
    assert local.read_bytes() == data


def test_unreadable_paths_are_refused(tmp_path: Path, blobs: Any) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(BadInput, match="cannot be read"):
            KIND.dump(path, blobs)


class BrokenSource:
    def read(self, ref: Any) -> bytes:
        raise ConnectionError

    def open(self, ref: Any) -> Iterator[bytes]:
        yield b"half"
        raise ConnectionError


def test_a_download_cut_short_leaves_the_old_file(tmp_path: Path, blobs: Any) -> None:
    target = tmp_path / "target"
    target.write_text("old")
    dumped = KIND.dump(b"new", blobs)
    with pytest.raises(ConnectionError):
        KIND.load(Dumped("python.file", {}, dumped.blobs), BrokenSource(), local=target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
