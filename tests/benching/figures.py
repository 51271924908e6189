"""The rows of all reports by their ids, and the ratio of two of them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from measured import Report, Row

#: A row with this ending is the CPU time of the row without it, shown beside it.
CPU: Final = ".cpu"


@dataclass(frozen=True, slots=True)
class Figure:
    """A median with the least and the most that was seen."""

    median: float
    least: float
    most: float


def figure(row: Row) -> Figure:
    """Return a row's median and spread."""
    return Figure(row.median, *row.spread)


def ratio(row: Row, over: Row) -> Figure:
    """Return one row's ratio to another: of each pair if they were measured in turn, else of the medians."""
    if len(row.samples) == len(over.samples):
        pairs = [_share(one, other) for one, other in zip(row.samples, over.samples, strict=True)]
        return Figure(statistics.median(pairs), min(pairs), max(pairs))
    (least, most), (lower, upper) = row.spread, over.spread
    return Figure(_share(row.median, over.median), _share(least, upper), _share(most, lower))


def _share(one: float, other: float) -> float:
    """Return a ratio; endless over what was too short for the clock."""
    return one / other if other else float("inf")


@dataclass(frozen=True, slots=True)
class Rows:
    """What was measured, and why the rest was not; both by row id."""

    measured: dict[str, Row]
    not_run: dict[str, str]

    def why_not(self, row_id: str) -> str:
        """Return why there is no such row."""
        by_bench = {name: why for name, why in self.not_run.items() if row_id.startswith(name)}
        longest = max(by_bench, key=len, default=None)
        return "no bench measured it" if longest is None else by_bench[longest]


def together(reports: Iterable[Report], not_run: dict[str, str]) -> Rows:
    """Put reports together; `not_run` says why of the beginnings of ids. The later of two rows counts."""
    measured: dict[str, Row] = {}
    why = dict(not_run)
    for report in reports:
        measured |= {row.id: row for row in report.rows if row.samples}
        why |= report.not_run
    return Rows(measured, why)
