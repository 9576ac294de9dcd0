"""Filters made ready for one frame: values cast to the column's type, operators reduced to few. Pure.

Semantics are those of pandas masks, with NaN and null both counted as null: comparisons are never true of a null, `ne`
and `nin` are. None among the values stands for null: ``x__eq=None`` is `isnull`, ``x__in=[1, None]`` holds
for nulls too. Categoricals compare by value. `regex` is RE2 syntax, searched anywhere in the text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from omega_blobstore.frames.values import (
    Family,
    family_of,
    is_temporal,
    iso_text,
    limits_of,
    parse_time,
    value_type,
)
from omegaproto.errors import BadFilter
from omegaproto.frames import Predicate

TEXT_OPERATORS = frozenset({"regex", "contains", "startswith", "endswith"})
_BEYOND = 1 << 200
"""An integer outside of every type: what an infinite float becomes beside whole columns."""


@dataclass(frozen=True)
class Condition:
    """One condition on one column, ready for statistics and for rows.

    `op` is one of between, gt, gte, lt, lte, in, nin, isnull and the text operators; `value` compares with the stored
    values (whole: integers). `nulls` says whether null rows pass. `predicate` is the same for `may_match`.
    """

    column: str
    stored: pa.DataType
    op: str
    value: Any
    nulls: bool
    predicate: Predicate = field(compare=False)


def make_condition(predicate: Predicate, arrow_type: pa.DataType) -> Condition:
    """Give a predicate made ready for a column of `arrow_type`. Raises BadFilter when its value does not fit."""
    op, value = predicate.op, predicate.value
    maker = _Maker(predicate.column, arrow_type)
    if op == "isnull":
        return maker.nulls(bool(value))
    if op in {"eq", "ne"} and not isinstance(value, list):
        return maker.members([value], negate=op == "ne")
    if op in {"in", "nin"} and isinstance(value, list):
        return maker.members(value, negate=op == "nin")
    if op in TEXT_OPERATORS:
        return maker.text(op, value)
    if op == "between" and isinstance(value, list) and len(value) == 2:
        return maker.between(value[0], value[1])
    if op in {"gt", "gte", "lt", "lte"}:
        return maker.compare(op, value)
    raise maker.unfit(value)


class _Maker:
    """Makes conditions on one column."""

    def __init__(self, column: str, arrow_type: pa.DataType) -> None:
        self._column, self._stored, self._type = column, arrow_type, value_type(arrow_type)
        self._family = family_of(self._type)

    def nulls(self, wanted: bool) -> Condition:
        return self._make("isnull", wanted, nulls=wanted)

    def members(self, values: Sequence[Any], *, negate: bool) -> Condition:
        nulls = any(_is_null(value) for value in values)
        held = [value for value in values if not _is_null(value)]
        if nulls and not held:
            return self.nulls(not negate)
        cast = sorted({each for value in held for each in self._members(value)})
        return self._make("nin" if negate else "in", cast, nulls=nulls != negate)

    def text(self, op: str, value: Any) -> Condition:
        if self._family is not Family.text or not isinstance(value, str):
            raise BadFilter(f"{self._column}__{op} needs a column of text, this one is {self._type}.")
        self._text(value)
        if op == "regex":
            try:
                pc.match_substring_regex(pa.array([""]), value)
            except pa.ArrowInvalid as error:
                raise BadFilter(
                    f"{value!r} is not a regular expression that the store knows: {error}.",
                    action="Use RE2 syntax (no lookaround, no backreferences), or __contains.",
                ) from error
        return self._make(op, value, nulls=False)

    def between(self, low: Any, high: Any) -> Condition:
        if self._family is Family.whole:
            return self._span(math.ceil(self._whole(low)), math.floor(self._whole(high)))
        return self._make("between", [self._bound(low), self._bound(high)], nulls=False)

    def compare(self, op: str, value: Any) -> Condition:
        if self._family is not Family.whole:
            return self._make(op, self._bound(value), nulls=False)
        exact, (least, most) = self._whole(value), limits_of(self._type)
        match op:
            case "gt":
                return self._span(math.floor(exact) + 1, most)
            case "gte":
                return self._span(math.ceil(exact), most)
            case "lt":
                return self._span(least, math.ceil(exact) - 1)
            case _:
                return self._span(least, math.floor(exact))

    def unfit(self, value: Any) -> BadFilter:
        return BadFilter(
            f"{str(value)[:80]!r} cannot be compared with the column {self._column!r}, which is {self._type}.",
            action="Give a value of the column's type; dates as ISO text.",
            column=self._column,
        )

    def _span(self, low: int, high: int) -> Condition:
        least, most = limits_of(self._type)
        low, high = max(low, least), min(high, most)
        if low > high:
            return self._make("in", [], nulls=False)
        return self._make("between", [low, high], nulls=False)

    def _make(self, op: str, value: Any, *, nulls: bool) -> Condition:
        known = self._json(value, op)
        if op in {"in", "nin"} and nulls == (op == "in"):
            known = [*known, None]
        predicate = Predicate(column=self._column, op=op, value=known)
        return Condition(self._column, self._stored, op, value, nulls, predicate)

    def _json(self, value: Any, op: str) -> Any:
        if isinstance(value, list):
            return [self._json(each, op) for each in value]
        if op != "isnull" and is_temporal(self._type):
            return iso_text(value, self._type)
        return str(value) if isinstance(value, Decimal) else value

    def _members(self, value: Any) -> list[Any]:
        """Give what `value` equals in the column: nothing when the column cannot hold it."""
        if self._family is not Family.whole:
            return [self._bound(value)]
        exact, (least, most) = self._whole(value), limits_of(self._type)
        return [int(exact)] if exact.denominator == 1 and least <= exact <= most else []

    def _bound(self, value: Any) -> Any:
        """Give `value` as the column's values compare with it."""
        if self._family is Family.text and isinstance(value, str):
            return self._text(value)
        if isinstance(value, int | float) and not _is_null(value):
            try:
                if self._family is Family.real:
                    return pa.scalar(float(value), _real(self._type)).as_py()
                if self._family is Family.decimal and math.isfinite(value):
                    return Decimal(str(value))
            except OverflowError as error:
                raise self.unfit(value) from error
        if self._family is Family.decimal and isinstance(value, str):
            return self._decimal(value)
        raise self.unfit(value)

    def _whole(self, value: Any) -> Fraction:
        if is_temporal(self._type):
            return parse_time(value, self._type)
        if not isinstance(value, int | float) or _is_null(value):
            raise self.unfit(value)
        if isinstance(value, float) and math.isinf(value):
            return Fraction(_BEYOND if value > 0 else -_BEYOND)
        return Fraction(value)

    def _decimal(self, value: str) -> Decimal:
        try:
            found = Decimal(value)
        except InvalidOperation as error:
            raise self.unfit(value) from error
        if not found.is_finite():
            raise self.unfit(value)
        return found

    def _text(self, value: str) -> str:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise self.unfit(ascii(value)) from error
        return value


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _real(arrow_type: pa.DataType) -> pa.DataType:
    """Give the type in which a float column is compared: half floats as floats."""
    return pa.float32() if pa.types.is_float16(arrow_type) else arrow_type
