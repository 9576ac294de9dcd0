"""Reading frames: whole ones as their Parquet parts, side by side; filtered ones as an Arrow stream from blobstore."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from omegamesh.http import MeshClient
from omegamesh.transfer import HttpBlobs
from omegaproto.frames import FrameManifest, FramePart, FrameQuery
from omegaproto.objects import Metadata

if TYPE_CHECKING:
    import pyarrow as pa

    from omegakinds.base import FrameKind

_PARALLEL_PARTS = 2
_BLOCK = 1024 * 1024


class FrameReader:
    """Reads one revision of one stored frame."""

    def __init__(self, client: MeshClient, kind: FrameKind, metadata: Metadata) -> None:
        self._client = client
        self._kind = kind
        self._revision = metadata.revision
        self._blobs = HttpBlobs(client)
        self._frame_id = metadata.revision.kind_meta["frame"]["frame_id"]

    def read(self, query: FrameQuery) -> Any:
        """Give the rows and columns that `query` chooses, as one pandas object."""
        return self._pandas(self._whole() if query == FrameQuery() else self._selected(query))

    def chunks(self, query: FrameQuery, size: int) -> Iterator[Any]:
        """Give them as pandas objects of `size` rows, one after the other; only one is held at a time."""
        start = 0
        while True:
            table = self._selected(query.model_copy(update={"start": start, "stop": start + size}))
            if table.num_rows == 0:
                return
            yield self._pandas(table)
            start += size

    def _pandas(self, table: pa.Table) -> Any:
        return self._kind.from_table(table, self._revision, self._blobs)

    def _whole(self) -> pa.Table:
        """Fetch and decode the parts, a few side by side: while one is decoded the next one travels."""
        manifest = FrameManifest.model_validate(self._client.call("GET", f"/api/v1/frames/{self._frame_id}"))
        alone = len(manifest.parts) == 1

        def part_of(part: FramePart) -> pa.Table:
            return self._kind.decode_part(self._blobs.read(part.blob), threads=alone)

        with ThreadPoolExecutor(_PARALLEL_PARTS) as pool:
            return self._kind.join_parts(pool.map(part_of, manifest.parts))

    def _selected(self, query: FrameQuery) -> pa.Table:
        """Have blobstore choose rows and columns; the columns of the index come along."""
        import pyarrow as pa

        path = f"/api/v1/frames/{self._frame_id}/rows"
        with self._client.stream("POST", path, body=self._with_index(query)) as response:
            reader = pa.ipc.open_stream(pa.PythonFile(_Readable(response.stream(_BLOCK)), mode="r"))
            return reader.read_all()

    def _with_index(self, query: FrameQuery) -> FrameQuery:
        if query.columns is None:
            return query
        return query.model_copy(update={"keep": tuple(self._kind.index_columns(self._revision, self._blobs))})


class _Readable:
    """The chunks of a stream as a file that Arrow can read from."""

    closed = False

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = b""

    def read(self, size: int = -1) -> bytes:
        """Give `size` bytes, fewer only at the end."""
        parts, count = [self._held], len(self._held)
        while size < 0 or count < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            parts.append(chunk)
            count += len(chunk)
        held = b"".join(parts)
        cut = count if size < 0 else min(size, count)
        self._held = held[cut:]
        return held[:cut]

    def close(self) -> None:
        """Be closed."""
        self.closed = True
