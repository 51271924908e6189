"""Whether what was seen keeps the budgets of `tests/bench/budgets.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from benching.figures import Figure, Rows, figure, ratio

if TYPE_CHECKING:
    from pathlib import Path


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sentence of the design with its bound: on a row's median, or on its ratio to the row `over`.

    `beside` are rows that the table shows its ratio to. A `guide` is about this machine's speed and fails
    nothing.
    """

    what: str
    sentence: str
    row: str
    unit: str
    over: str = ""
    least: float | None = None
    most: float | None = None
    beside: tuple[str, ...] = ()
    guide: bool = False

    def __post_init__(self) -> None:
        """Raise `ValueError` for a budget without a bound."""
        if self.least is None and self.most is None:
            raise ValueError(f"the budget of {self.row} has neither least nor most")

    @property
    def bound(self) -> str:
        """What it has to be, as words: `≥ 13,000 messages/s`."""
        parts = [f"≥ {self.least:,.10g}"] if self.least is not None else []
        parts += [f"≤ {self.most:,.10g}"] if self.most is not None else []
        return f"{', '.join(parts)} {self.unit}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A budget with what was seen of it: a figure, or why there is none."""

    budget: Budget
    seen: Figure | None
    why_not: str = ""

    @property
    def kept(self) -> bool | None:
        """Whether the median keeps it; None if it was not measured."""
        if self.seen is None:
            return None
        least, most = self.budget.least, self.budget.most
        return (least is None or self.seen.median >= least) and (most is None or self.seen.median <= most)

    @property
    def word(self) -> str:
        """The verdict in a word or two; by how much a missed one is off its bound."""
        if self.seen is None:
            return f"not run: {self.why_not}"
        if self.kept:
            return "kept"
        return f"**missed** by {self.off:.0%}" if self.off < 9.995 else "**missed**"

    @property
    def off(self) -> float:
        """How far the median is beyond its bound, as a share of that; 0 if it is kept."""
        if self.seen is None or self.kept:
            return 0.0
        bound = self.budget.least if self.budget.least is not None else self.budget.most
        if self.budget.most is not None and self.seen.median > self.budget.most:
            bound = self.budget.most
        return abs(self.seen.median / bound - 1) if bound else float("inf")


def budgets(path: Path) -> tuple[Budget, ...]:
    """Read the budgets. Raises `msgspec.ValidationError` for what is no budget."""
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8"))["budget"], tuple[Budget, ...])


def judged(budget: Budget, rows: Rows) -> Verdict:
    """Hold a budget against what was measured."""
    for needed in filter(None, (budget.row, budget.over)):
        if needed not in rows.measured:
            return Verdict(budget, None, rows.why_not(needed))
    row = rows.measured[budget.row]
    return Verdict(budget, ratio(row, rows.measured[budget.over]) if budget.over else figure(row))
