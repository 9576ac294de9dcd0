"""Parquet footers: what a part holds, without reading its rows. And the manifest that parts make up. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from omega_blobstore.frames.blobfile import RangeFile
from omega_blobstore.frames.statistics import group_bounds, merged, stats_of
from omega_blobstore.frames.values import plain_type
from omegaproto.errors import BadFrame
from omegaproto.frames import ROW_COLUMN, ColumnStats, FrameInfo, FrameManifest, FramePart
from omegaproto.objects import BlobRef

_PARQUET = "Upload the parts of a frame as Parquet."


@dataclass(frozen=True)
class Footer:
    """What a part's footer says: its schema, its count of rows, and its statistics by column."""

    schema: pa.Schema
    rows: int
    stats: dict[str, ColumnStats]


def read_footer(id: str, length: int, tail: bytes, max_row_group_bytes: int) -> Footer:
    """Give what the footer in `tail`, the last bytes of a blob of `length` bytes, says.

    Raises:
        BadFrame: it is not Parquet's, or the part cannot belong to a frame.
    """
    offset = length - len(tail)

    def read_range(start: int, stop: int) -> bytes:
        # Arrow reads a fixed length from the end, which may begin before the tail; only the footer is looked at.
        before = bytes(max(0, min(stop, offset) - start))
        return before + tail[max(0, start - offset) : max(0, stop - offset)]

    try:
        metadata = pq.read_metadata(RangeFile(length, read_range))
        schema = plain_schema(metadata.schema.to_arrow_schema())
        _check(id, schema, metadata, max_row_group_bytes)
        groups = [group_bounds(metadata.row_group(at), schema) for at in range(metadata.num_row_groups)]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadFrame(f"The blob {id} is not Parquet: {error}.", action=_PARQUET) from error
    stats = {field.name: stats_of(merged(group[field.name] for group in groups), field.type) for field in schema}
    return Footer(schema, metadata.num_rows, stats)


def _check(id: str, schema: pa.Schema, metadata: pq.FileMetaData, max_row_group_bytes: int) -> None:
    names = schema.names
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise BadFrame(f"The part {id} has more than one column {twice!r}.", action="Rename or drop one.")
    if ROW_COLUMN in names:
        raise BadFrame(f"The column name {ROW_COLUMN!r} is taken by the mesh.", action="Rename the column.")
    for at in range(metadata.num_row_groups):
        size = metadata.row_group(at).total_byte_size
        if size > max_row_group_bytes:
            raise BadFrame(
                f"The part {id} has a row group of {size:,} bytes; {max_row_group_bytes:,} is the most.",
                action="Write it with a smaller row_group_size.",
            )


def assemble(
    frame_id: str, bucket: str, base: FrameManifest | None, footers: Sequence[tuple[BlobRef, Footer]]
) -> FrameManifest:
    """Give the manifest of a frame: the base's parts, then these.

    The schema is that of the first part of all, with its metadata. Raises BadFrame when the others' columns differ.
    """
    if base is None and not footers:
        raise BadFrame("A frame needs at least one part.", action="Upload one, of no rows if the frame is empty.")
    schema = load_schema(base) if base is not None else footers[0][1].schema
    for ref, footer in footers:
        check_same(schema, footer.schema, ref.id)
    added = tuple(FramePart(blob=ref, rows=footer.rows, stats=footer.stats) for ref, footer in footers)
    parts = (base.parts if base is not None else ()) + added
    info = FrameInfo(
        frame_id=frame_id,
        columns=tuple(schema.names),
        dtypes=tuple(str(field.type) for field in schema),
        rows=sum(part.rows for part in parts),
        bytes=sum(part.blob.length for part in parts),
        parts=len(parts),
    )
    arrow_schema = base.arrow_schema if base is not None else schema.serialize().to_pybytes()
    return FrameManifest(info=info, bucket=bucket, arrow_schema=arrow_schema, parts=parts)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Give a stored schema as a frame has it: see `plain_type`."""
    return pa.schema([field.with_type(plain_type(field.type)) for field in schema], metadata=schema.metadata)


def load_schema(manifest: FrameManifest) -> pa.Schema:
    """Give a frame's Arrow schema."""
    return pa.ipc.read_schema(pa.py_buffer(manifest.arrow_schema))


def check_same(expected: pa.Schema, found: pa.Schema, part: str) -> None:
    """Return when two schemas have the same columns, of the same types, in the same order.

    Metadata and whether a column may be null do not count. Raises BadFrame naming the column and the types.
    """
    if expected.names != found.names:
        missing = [name for name in expected.names if name not in found.names]
        extra = [name for name in found.names if name not in expected.names]
        said = [f"{len(missing)} missing ({missing[0]!r})"] if missing else []
        said += [f"{len(extra)} unknown ({extra[0]!r})"] if extra else []
        difference = ", ".join(said) or f"in another order ({found.names[:20]})"
        raise BadFrame(
            f"The part {part} does not have the frame's columns: {difference}.",
            action=f"Give it the columns {expected.names[:50]}, in this order.",
        )
    for field in expected:
        other = found.field(field.name).type
        if other != field.type:
            raise BadFrame(
                f"The column {field.name!r} is {field.type} in the frame and {other} in the part {part}.",
                action=f"Convert it to {field.type} before storing or appending.",
                column=field.name,
            )
