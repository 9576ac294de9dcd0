"""Reading rows: part by part, row group by row group, out as an Arrow IPC stream. Blocks; runs in a thread.

One row group is decoded at a time: first the columns of the conditions, and the others only when a row passes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from omega_blobstore.frames.blobfile import RangeFile
from omega_blobstore.frames.footers import plain_schema
from omega_blobstore.frames.masks import rows_mask
from omega_blobstore.frames.plan import Plan, PlannedPart
from omega_blobstore.frames.statistics import group_bounds, stats_of
from omegaproto.errors import BlobCorrupted, OmegaError
from omegaproto.frames import FramePart, may_match

OpenPart = Callable[[FramePart], RangeFile]
_BATCH_ROWS = 65_536


def ipc_stream(plan: Plan, open_part: OpenPart) -> Iterator[bytes]:
    """Give the answer of a plan as an Arrow IPC stream, in pieces of a record batch.

    Raises BlobCorrupted when a part cannot be decoded, BlobNotFound when one is gone.
    """
    sink = _Sink()
    writer = pa.ipc.new_stream(sink, plan.schema)
    for table in scan(plan, open_part):
        for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
            writer.write_batch(batch)
            yield sink.take()
    writer.close()
    yield sink.take()


def scan(plan: Plan, open_part: OpenPart) -> Iterator[pa.Table]:
    """Give the rows of a plan's answer, a row group's at a time, in order."""
    window = _Window(plan.start, plan.stop)
    for planned in plan.parts:
        if window.is_past:
            return
        if not plan.conditions:
            window.passed = planned.position
        yield from _Part(plan, planned, open_part).tables(window)


class _Window:
    """Cuts the rows from `start` up to `stop` out of all that pass, which come run by run."""

    def __init__(self, start: int, stop: int | None) -> None:
        self._start, self._stop = start, stop
        self.passed = 0

    @property
    def is_past(self) -> bool:
        """Say whether no later row is wanted."""
        return self._stop is not None and self.passed >= self._stop

    def take(self, count: int) -> tuple[int, int]:
        """Give offset and length of what is wanted of the next `count` rows that pass."""
        begin, self.passed = self.passed, self.passed + count
        low = max(self._start - begin, 0)
        high = count if self._stop is None else min(self._stop - begin, count)
        return low, max(high - low, 0)


class _Part:
    """One part while it is read."""

    def __init__(self, plan: Plan, planned: PlannedPart, open_part: OpenPart) -> None:
        self._plan, self._position, self._blob = plan, planned.position, planned.part.blob
        self._tested = list(dict.fromkeys(condition.column for condition in plan.conditions))
        with self._decoding():
            self._file = pq.ParquetFile(open_part(planned.part), pre_buffer=True, page_checksum_verification=True)

    def tables(self, window: _Window) -> Iterator[pa.Table]:
        """Give the wanted rows of each row group that has some."""
        position = self._position
        for at in range(self._file.num_row_groups):
            if window.is_past:
                return
            with self._decoding():
                table = self._filtered(at, position, window) if self._tested else self._sliced(at, position, window)
            if table is not None:
                yield table
            position += self._rows(at)

    def _rows(self, at: int) -> int:
        rows: int = self._file.metadata.row_group(at).num_rows
        return rows

    def _sliced(self, at: int, position: int, window: _Window) -> pa.Table | None:
        offset, length = window.take(self._rows(at))
        if not length:
            return None
        table = self._read(at, self._plan.columns).slice(offset, length)
        return self._answer(table, lambda: pa.arange(position + offset, position + offset + length))

    def _filtered(self, at: int, position: int, window: _Window) -> pa.Table | None:
        if not self._may_match(at):
            return None
        tested = self._read(at, self._tested)
        passing = pc.indices_nonzero(rows_mask(tested, self._plan.conditions))
        offset, length = window.take(len(passing))
        if not length:
            return None
        passing = passing.slice(offset, length)
        others = self._read(at, [name for name in self._plan.columns if name not in self._tested])
        for name in self._plan.columns:
            if name in self._tested:
                others = others.append_column(tested.field(name), tested.column(name))
        return self._answer(others.take(passing), lambda: pc.add(passing.cast(pa.int64()), position))

    def _may_match(self, at: int) -> bool:
        bounds = group_bounds(self._file.metadata.row_group(at), plain_schema(self._file.schema_arrow))
        types = {condition.column: condition.stored for condition in self._plan.conditions}
        stats = {name: stats_of(bounds[name], stored) for name, stored in types.items()}
        group = FramePart(blob=self._blob, rows=self._rows(at), stats=stats)
        return all(may_match(group, condition.predicate) for condition in self._plan.conditions)

    def _read(self, at: int, columns: Sequence[str]) -> pa.Table:
        table = self._file.read_row_group(at, columns=list(columns)).select(list(columns))
        wanted = plain_schema(table.schema)
        return table if wanted.equals(table.schema) else table.cast(wanted)

    def _answer(self, table: pa.Table, positions: Callable[[], Any]) -> pa.Table:
        columns = [table.column(name) for name in self._plan.columns]
        if self._plan.numbered:
            columns.append(positions())
        return pa.Table.from_arrays(columns, schema=self._plan.schema)

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        try:
            yield
        except OmegaError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise BlobCorrupted(
                f"The part {self._blob.id} of the frame cannot be decoded: {error}.",
                action="Put the object again, or restore a backup.",
            ) from error


class _Sink(io.RawIOBase):
    """Collects what a writer writes, until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[Any] = []

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, data: Any) -> int:
        """Keep bytes."""
        self._pieces.append(data)
        return len(data)

    def take(self) -> bytes:
        """Give and forget what was written since the last time."""
        taken, self._pieces = b"".join(self._pieces), []
        return taken
