"""The kind ``python.file``: the bytes of a file, a path, an open file or a bytes object, streamed in chunks.

Text that names an existing file counts as a path; other text is plain data. An open text file is stored as UTF-8.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from omegakinds.base import BlobSink, BlobSource, Dumped, Kind, Stored
from omegaproto.errors import BadInput
from omegaproto.objects import Store

CHUNK_BYTES = 1024 * 1024
_SPOOL_BYTES = 16 * 1024 * 1024
_MAX_PATH = 4096


class PythonFile:
    """Files of any content."""

    name = "python.file"
    stores = frozenset({Store.datasets, Store.jobs, Store.scripts})

    def supports(self, obj: object, name: str, **options: Any) -> bool:
        """Say whether `obj` is bytes, a path, text that names an existing file, or can be read from."""
        if isinstance(obj, bytes | bytearray | os.PathLike):
            return True
        if type(obj) is str:
            return _names_a_file(obj)
        return callable(getattr(obj, "read", None)) and not isinstance(obj, type)

    def dump(self, obj: Any, sink: BlobSink, **options: Any) -> Dumped:
        """Stream the bytes out. Raises BadInput when the path cannot be read as a file."""
        if isinstance(obj, bytes | bytearray):
            return Dumped(self.name, {}, (sink.put(bytes(obj)),))
        if isinstance(obj, str | os.PathLike):
            path = Path(obj)
            with _open(path) as file:
                return Dumped(self.name, {"filename": path.name}, (sink.put(_chunks(file)),))
        meta = {"filename": Path(obj.name).name} if isinstance(getattr(obj, "name", None), str) else {}
        return Dumped(self.name, meta, (sink.put(_chunks(obj)),))

    def load(self, stored: Stored, source: BlobSource, *, local: str | os.PathLike[str] | None = None, **_: Any) -> Any:
        """Give a binary file at its start (above 16 MiB it lies on disk), or write to the path `local` and give that.

        The file at `local` is replaced as a whole, once all bytes are there.
        """
        chunks = source.open(stored.blobs[0])
        if local is None:
            file = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - the caller closes it
            file.writelines(chunks)
            file.seek(0)
            return file
        return _write(Path(local), chunks)


def _names_a_file(text: str) -> bool:
    try:
        return 0 < len(text) < _MAX_PATH and Path(text).is_file()
    except (OSError, ValueError):
        return False


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read: {error.strerror}.", action="Give the path of a file that you may read."
        ) from error


def _chunks(file: IO[Any]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk.encode() if isinstance(chunk, str) else chunk


def _write(path: Path, chunks: Iterator[bytes]) -> Path:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        part = Path(file.name)
        try:
            file.writelines(chunks)
            file.close()
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return path


def kinds() -> list[Kind]:
    """Give the kinds of this module, for the entry point."""
    return [PythonFile()]
