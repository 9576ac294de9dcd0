"""What a query reads: which parts and columns, in which order, and what comes out. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from omega_blobstore.frames.conditions import Condition, make_condition
from omega_blobstore.frames.footers import load_schema
from omegaproto.errors import UnknownColumn
from omegaproto.frames import ROW_COLUMN, FrameManifest, FramePart, FrameQuery, may_match, parse_predicates


@dataclass(frozen=True)
class PlannedPart:
    """A part that may hold rows of the answer, and the position of its first row in the frame."""

    part: FramePart
    position: int


@dataclass(frozen=True)
class Plan:
    """A query made ready. `schema` is that of the answer, with ROW_COLUMN last when rows are `numbered`."""

    parts: tuple[PlannedPart, ...]
    skipped: int
    conditions: tuple[Condition, ...]
    columns: tuple[str, ...]
    schema: pa.Schema
    start: int
    stop: int | None

    @property
    def numbered(self) -> bool:
        """Say whether the answer tells each row's position."""
        return bool(self.schema.names) and self.schema.names[-1] == ROW_COLUMN


def plan_rows(manifest: FrameManifest, query: FrameQuery) -> Plan:
    """Give the plan of a query on a frame. Raises UnknownColumn, BadFilter."""
    stored = load_schema(manifest)
    columns = _projected(stored, query)
    predicates = parse_predicates(query.where, stored.names)
    conditions = tuple(make_condition(each, stored.field(each.column).type) for each in predicates)
    numbered = bool(conditions) or query.start is not None or query.stop is not None
    parts = _parts(manifest.parts, conditions, query.start or 0, query.stop)
    return Plan(
        parts=parts,
        skipped=len(manifest.parts) - len(parts),
        conditions=conditions,
        columns=columns,
        schema=_answer(stored, columns, numbered=numbered),
        start=query.start or 0,
        stop=query.stop,
    )


def _projected(stored: pa.Schema, query: FrameQuery) -> tuple[str, ...]:
    """Give the columns that are asked for, then those to keep beside them, then the index of pandas metadata."""
    if query.columns is None:
        return tuple(stored.names)
    index = [name for name in index_columns(stored) if name in stored.names]
    kept = dict.fromkeys([*query.keep, *index])
    unknown = next((name for name in kept if name not in stored.names), None)
    if unknown is not None:
        raise UnknownColumn(f"There is no column {unknown!r} to keep.", column=unknown)
    chosen = query.columns.resolve([name for name in stored.names if name not in kept])
    return tuple(dict.fromkeys([*chosen, *kept]))


def index_columns(stored: pa.Schema) -> list[str]:
    """Name the columns that pandas metadata, where a schema has some, calls the index."""
    try:
        found: Any = json.loads((stored.metadata or {}).get(b"pandas", b"{}"))
        return [each for each in found.get("index_columns", ()) if isinstance(each, str)]
    except (ValueError, AttributeError, TypeError):
        return []


def _answer(stored: pa.Schema, columns: Sequence[str], *, numbered: bool) -> pa.Schema:
    fields = [stored.field(name) for name in columns]
    if numbered:
        fields.append(pa.field(ROW_COLUMN, pa.int64(), nullable=False))
    return pa.schema(fields, metadata=stored.metadata)


def _parts(
    parts: Sequence[FramePart], conditions: Sequence[Condition], start: int, stop: int | None
) -> tuple[PlannedPart, ...]:
    """Give the parts that may hold rows of the answer. Without conditions, positions say which."""
    planned, position = [], 0
    for part in parts:
        begin, position = position, position + part.rows
        if conditions:
            wanted = all(may_match(part, condition.predicate) for condition in conditions)
        else:
            wanted = position > start and (stop is None or begin < stop)
        if wanted and part.rows:
            planned.append(PlannedPart(part, begin))
    return tuple(planned)
