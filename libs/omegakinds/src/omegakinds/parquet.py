"""Frames as Parquet parts: encoded a few ahead in threads, so that one uploads while the next is made.

Codec, encodings, part size and dictionaries are measured choices; see the decision record on frame parts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from omegakinds.ahead import mapped_ahead
from omegakinds.base import EncodedPart
from omegakinds.columns import Column
from omegakinds.tables import Plan
from omegaproto.errors import BadFrame, BlobCorrupted

CODEC = "lz4"
PART_BYTES = 32 * 1024 * 1024
"""Arrow bytes that a part holds at most, as far as its first rows tell."""
PART_ROWS = 500_000
GROUP_ROWS = 125_000
"""Rows of a row group: what a filter can skip inside a part."""
_MAX_THREADS = 4
_SAMPLE_ROWS = 4096
_DICTIONARY_SHARE = 0.5
_FORMAT = ds.ParquetFileFormat()
_POOL = pa.system_memory_pool()
"""Keeps what is freed for the next decode, as numpy does; Arrow's default pool hands it back to the kernel at once."""


def encode_parts(plan: Plan, *, part_rows: int | None = None, threads: int | None = None) -> Iterator[EncodedPart]:
    """Encode the plan's rows as Parquet parts in order, at least one (of no rows, for the schema).

    At most `threads` + 1 encoded parts exist at a time. `part_rows` overrides the measured size of a part.
    """
    workers = threads or min(_MAX_THREADS, os.cpu_count() or 1)
    rows = part_rows or _rows_per_part(plan, workers)
    dictionaries = _dictionary_columns(plan)
    bounds = [(start, min(start + rows, plan.rows)) for start in range(0, plan.rows, rows)] or [(0, 0)]
    if len(bounds) == 1:
        yield _encode(plan, *bounds[0], dictionaries)
        return
    yield from mapped_ahead(
        lambda bound: _encode(plan, *bound, dictionaries), bounds, threads=workers, most=workers + 1
    )


def decode_part(part: bytes, *, threads: bool = True) -> pa.Table:
    """Give the rows of one part; without `threads` in this one alone, for who decodes several side by side.

    Raises BlobCorrupted when it is not Parquet.
    """
    try:
        fragment = _FORMAT.make_fragment(pa.py_buffer(part))
        return fragment.to_table(use_threads=threads, memory_pool=_POOL)
    except (pa.ArrowException, OSError) as error:
        raise BlobCorrupted(f"A part of the frame is not Parquet: {error}.", action="Store the frame again.") from error


def join_parts(decoded: Iterable[pa.Table]) -> pa.Table:
    """Give the rows of decoded parts, in order. Raises BadFrame when there is no part, or their columns differ."""
    tables = list(decoded)
    if not tables:
        raise BadFrame("A frame has at least one part; this one has none.", action="Store the frame again.")
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise BadFrame(f"The parts of the frame differ in their columns: {error}.", action="Store it again.") from error


def _encode(plan: Plan, start: int, stop: int, dictionaries: list[str]) -> EncodedPart:
    out = pa.BufferOutputStream()
    pq.write_table(
        plan.table(start, stop),
        out,
        row_group_size=GROUP_ROWS,
        compression=CODEC,
        use_dictionary=dictionaries,
        column_encoding=dict.fromkeys(_counting_columns(plan, dictionaries), "DELTA_BINARY_PACKED"),
        write_statistics=True,
        write_page_checksum=True,
    )
    return EncodedPart(out.getvalue().to_pybytes(), stop - start)


def _rows_per_part(plan: Plan, workers: int) -> int:
    """Give the rows of a part: within the limits, and so that the threads share the parts evenly."""
    if not plan.rows:
        return 1
    sample = min(plan.rows, _SAMPLE_ROWS)
    row_bytes = max(1, int(plan.table(0, sample).nbytes) // sample)
    most = max(GROUP_ROWS, min(PART_ROWS, PART_BYTES // row_bytes))
    parts = -(-plan.rows // most)
    if parts > 1:
        parts = -(-parts // workers) * workers
    return -(-plan.rows // parts)


def _dictionary_columns(plan: Plan) -> list[str]:
    """Name the columns of text that repeat themselves: a dictionary makes those smaller and faster to write."""
    return [column.name for column in plan.columns if _is_repetitive(column, plan.rows)]


def _counting_columns(plan: Plan, dictionaries: list[str]) -> list[str]:
    """Name the columns of whole numbers and of times: what lies between two of them takes less than the numbers."""
    return [
        column.name
        for column in plan.columns
        if (pa.types.is_integer(column.type) or pa.types.is_temporal(column.type)) and column.name not in dictionaries
    ]


def _is_repetitive(column: Column, rows: int) -> bool:
    if pa.types.is_dictionary(column.type):
        return True
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return False
    middle = max(0, (rows - _SAMPLE_ROWS) // 2)
    sample = column.slice(middle, min(rows, middle + _SAMPLE_ROWS))
    return bool(pc.count_distinct(sample).as_py() <= len(sample) * _DICTIONARY_SHARE)
