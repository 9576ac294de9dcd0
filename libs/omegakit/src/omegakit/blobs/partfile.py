"""A file while it is written: under a temporary name until it is on disk, then at its place at once. Calls block."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from omegakit.blobs.checks import blob_exists

_MOST_PARTS = 512  # of one writev; the kernel takes 1,024


class PartFile:
    """An upload under way at the temporary path `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, parts: Sequence[bytes]) -> None:
        """Append bytes."""
        for at in range(0, len(parts), _MOST_PARTS):
            some = parts[at : at + _MOST_PARTS]
            written = os.writev(self._fd, some)
            if written < sum(map(len, some)):
                self._write_rest(b"".join(some)[written:])

    def _write_rest(self, rest: bytes) -> None:
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def publish(self, target: Path, footer: bytes) -> None:
        """Append the footer, sync, and make the file appear at `target`. Raises DuplicateKey when there is one."""
        self._write_rest(footer)
        os.fsync(self._fd)
        if not target.parent.exists():
            target.parent.mkdir(exist_ok=True)
            sync_folder(target.parent.parent)
        try:
            os.link(self._path, target)
        except FileExistsError:
            raise blob_exists(target.parent.name + target.name) from None
        sync_folder(target.parent)

    def discard(self) -> None:
        """Close, and remove the temporary name; a published file keeps its own."""
        os.close(self._fd)
        with suppress(FileNotFoundError):
            self._path.unlink()


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
