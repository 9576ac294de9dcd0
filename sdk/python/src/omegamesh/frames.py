"""Reading frames: whole ones as their Parquet parts, side by side; filtered ones as an Arrow stream from blobstore."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from omegakinds import frames as codec
from omegaproto.frames import FrameManifest, FrameQuery
from omegaproto.objects import Metadata

from omegamesh.http import MeshClient
from omegamesh.transfer import HttpBlobs

if TYPE_CHECKING:
    from omegakinds.base import FrameKind

_PARALLEL_PARTS = 4


class FrameReader:
    """Reads one revision of one stored frame."""

    def __init__(self, client: MeshClient, kind: FrameKind, metadata: Metadata) -> None:
        self._client = client
        self._kind = kind
        self._meta = metadata.revision.kind_meta
        self._frame_id = self._meta["frame"]["frame_id"]

    def read(self, query: FrameQuery) -> Any:
        """Give the rows and columns that `query` chooses, as one pandas object."""
        table = self._whole() if query == FrameQuery() else self._selected(query)
        return self._kind.load_table(table, self._meta)

    def chunks(self, query: FrameQuery, size: int) -> Iterator[Any]:
        """Give them as pandas objects of `size` rows, one after the other; only one is held at a time."""
        start = 0
        while True:
            piece = query.model_copy(update={"start": start, "stop": start + size})
            table = self._selected(piece)
            if table.num_rows == 0:
                return
            yield self._kind.load_table(table, self._meta)
            start += size

    def _whole(self) -> Any:
        manifest = FrameManifest.model_validate(self._client.call("GET", f"/api/v1/frames/{self._frame_id}"))
        blobs = HttpBlobs(self._client)
        with ThreadPoolExecutor(_PARALLEL_PARTS) as pool:
            tables = list(pool.map(lambda part: codec.decode_part(blobs.read(part.blob)), manifest.parts))
        return codec.concat(tables, manifest.arrow_schema)

    def _selected(self, query: FrameQuery) -> Any:
        path = f"/api/v1/frames/{self._frame_id}/rows"
        with self._client.stream("POST", path, body=query) as response:
            return codec.read_stream(response.iter_bytes())
