"""Medians, percentiles, goals and tables: how measurements become lines of text. Pure, standard library only.

Peers import this too, each from an environment of its own, so nothing beyond the standard library may be used here.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


def median(values: Sequence[float]) -> float:
    """Give the median of one system's rounds; raises statistics.StatisticsError when there is none."""
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the smallest value that at least `percent` of the values do not exceed (nearest rank)."""
    ranked = sorted(values)
    rank = max(1, -(-len(ranked) * percent // 100))
    return ranked[int(rank) - 1]


@dataclass(frozen=True)
class Goal:
    """A bound that a measured figure has to keep: at least `bound`, or at most `bound` when `at_most` is set."""

    text: str
    measured: float
    bound: float
    unit: str = "x"
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the measured figure keeps the bound."""
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound

    def line(self) -> str:
        """Give the goal as one line: verdict, what was measured, what was asked."""
        sign = "<=" if self.at_most else ">="
        verdict = "met    " if self.met else "NOT MET"
        return f"{verdict}  {self.text}: {self.measured:.3g} {self.unit} (goal {sign} {self.bound:g} {self.unit})"


@dataclass
class Section:
    """One part of a run: a table of medians, and the goals that its figures are held against."""

    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def text(self) -> str:
        """Give the section as it is printed."""
        lines = [f"## {self.title}", "", *table(self.header, self.rows), ""]
        return "\n".join([*lines, *(f"  {goal.line()}" for goal in self.goals)]).rstrip() + "\n"

    def as_json(self) -> dict[str, Any]:
        """Give the section as plain data for `--json`."""
        goals = [vars(goal) | {"met": goal.met} for goal in self.goals]
        return {"title": self.title, "header": self.header, "rows": self.rows, "goals": goals}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Give a Markdown table whose columns line up: the first to the left, the figures to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return [_line(row, widths) for row in (header, rule, *rows)]


def figure(value: float) -> str:
    """Give a number as tables show it: three digits that mean something, no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "| " + " | ".join([first, *others]) + " |"
