"""Which rows satisfy a condition: Arrow columns in, Arrow masks without nulls out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from omega_blobstore.frames.conditions import Condition
from omega_blobstore.frames.values import Family, family_of, value_type


def rows_mask(table: pa.Table, conditions: Sequence[Condition]) -> pa.ChunkedArray:
    """Give the mask of the rows that satisfy every condition. There is one condition at least."""
    masks = [column_mask(table.column(condition.column), condition) for condition in conditions]
    return reduce(pc.and_, masks)


def column_mask(column: pa.ChunkedArray, condition: Condition) -> pa.ChunkedArray:
    """Give the mask of the rows of a column that satisfy a condition."""
    chunks = [_chunk_mask(chunk, condition) for chunk in column.chunks]
    return pa.chunked_array(chunks, pa.bool_())


def _chunk_mask(values: pa.Array, condition: Condition) -> pa.Array:
    if not pa.types.is_dictionary(values.type):
        return _filled(_truth(values, condition), condition)
    # Each entry is judged once, however many rows it has.
    by_entry = _filled(_truth(values.dictionary, condition), condition)
    return _filled(by_entry.take(values.indices), condition)


def _filled(truth: pa.Array, condition: Condition) -> pa.Array:
    return pc.fill_null(truth, condition.nulls)


def _truth(values: pa.Array, condition: Condition) -> pa.Array:
    """Give the truth of the condition for each value; null, or the right answer, where the value is null or NaN."""
    if condition.op == "isnull":
        found = pc.is_null(values, nan_is_null=True)
        return found if condition.value else pc.invert(found)
    values = _comparable(values)
    if condition.op in {"in", "nin"}:
        known = pc.is_in(values, value_set=pa.array(_members(condition), values.type))
        known = known if condition.op == "in" else pc.invert(known)
        return pc.if_else(pc.is_valid(values), known, pa.scalar(None, pa.bool_()))
    return _compared(values, condition)


def _members(condition: Condition) -> list[Any]:
    """Give the values of a membership. Arrow looks them up by their bits, in which the two zeros of floats differ."""
    values: list[Any] = condition.value
    both_zeros = family_of(value_type(condition.stored)) is Family.real and 0.0 in values
    return [*(value for value in values if value), 0.0, -0.0] if both_zeros else values


def _compared(values: pa.Array, condition: Condition) -> pa.Array:
    value = condition.value
    match condition.op:
        case "between":
            low, high = (_scalar(each, values.type, condition) for each in value)
            return pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))
        case "gt":
            return pc.greater(values, _scalar(value, values.type, condition))
        case "gte":
            return pc.greater_equal(values, _scalar(value, values.type, condition))
        case "lt":
            return pc.less(values, _scalar(value, values.type, condition))
        case "lte":
            return pc.less_equal(values, _scalar(value, values.type, condition))
        case "regex":
            return pc.match_substring_regex(values, value)
        case "contains":
            return pc.match_substring(values, value)
        case "startswith":
            return pc.starts_with(values, value)
        case _:
            return pc.ends_with(values, value)


def _comparable(values: pa.Array) -> pa.Array:
    """Give the values as they compare: times as integers, NaN as null, half floats as floats."""
    held = values.type
    if pa.types.is_boolean(held):
        return values.cast(pa.int8())
    if pa.types.is_date32(held):
        return values.view(pa.int32())
    if pa.types.is_date64(held) or pa.types.is_timestamp(held):
        return values.view(pa.int64())
    if pa.types.is_floating(held):
        values = values.cast(pa.float32()) if pa.types.is_float16(held) else values
        unknown = pc.is_nan(values)
        return pc.if_else(unknown, pa.scalar(None, values.type), values) if pc.any(unknown).as_py() else values
    return values


def _scalar(value: object, stored: pa.DataType, condition: Condition) -> pa.Scalar:
    return pa.scalar(value) if family_of(value_type(condition.stored)) is Family.decimal else pa.scalar(value, stored)
