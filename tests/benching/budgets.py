"""Whether what was seen keeps the budgets of `tests/bench/budgets.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from benching.figures import Figure, Rows, figure, ratio

if TYPE_CHECKING:
    from pathlib import Path


#: From ten times the bound on, a percentage says no more.
_TOO_FAR: Final = 9.0


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sentence of the design with its bound: on a row's median, or on its ratio to the row `over`.

    `beside` are rows that the table shows its ratio to. A `guide` is about this machine's speed and fails
    nothing. With `every` not the median decides but the worst that was seen.
    """

    what: str
    sentence: str
    row: str
    unit: str
    over: str = ""
    least: float | None = None
    most: float | None = None
    beside: tuple[str, ...] = ()
    every: bool = False
    guide: bool = False

    def __post_init__(self) -> None:
        """Raise `ValueError` for a budget without a bound, or with one that nothing is a share of."""
        bounds = [bound for bound in (self.least, self.most) if bound is not None]
        if not bounds or min(bounds) <= 0:
            raise ValueError(f"the budget of {self.row} needs least or most, above zero")

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
        return self.off == 0

    @property
    def word(self) -> str:
        """The verdict in a word or two; by how much a missed one is off its bound."""
        if self.seen is None:
            return f"not run: {self.why_not}"
        if self.kept:
            return "kept"
        return f"**missed** by {self.off:.0%}" if self.off < _TOO_FAR else "**missed**"

    @property
    def off(self) -> float:
        """How far what decides is beyond its bound, as a share of that; 0 if the budget is kept."""
        if self.seen is None:
            return 0.0
        low, high = self.seen.median, self.seen.median
        if self.budget.every:
            low, high = self.seen.least, self.seen.most
        least, most = self.budget.least, self.budget.most
        below = 1 - low / least if least and low < least else 0.0
        above = high / most - 1 if most and high > most else 0.0
        return max(below, above)


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
