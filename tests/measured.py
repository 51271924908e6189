"""What a bench found, in one shape: rows for the table, series for the plots. `--json FILE` writes it.

`make bench` runs the benches one after the other and puts their reports together; budgets stand in
`budgets.toml`, so that a bench says what it saw and never whether that is good.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Row(msgspec.Struct, frozen=True):
    """One figure: the median of `samples`, in `unit`. `id` is the name of a budget or a peer.

    `command` alone runs it again; `note` says what one has to know to read the figure.
    """

    id: str
    what: str
    unit: str
    samples: tuple[float, ...]
    command: str = ""
    note: str = ""

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.samples)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the most that was seen."""
        return min(self.samples), max(self.samples)


class Series(msgspec.Struct, frozen=True):
    """A line in the plot `plot`: `y` against `x`, in the order of `x`; lines of one plot share its axes."""

    plot: str
    label: str
    x_name: str
    y_name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class Report(msgspec.Struct, frozen=True):
    """What one bench found, with the commands' environment as far as it matters (`facts`).

    `not_run` says why of a row that could not be measured here: its id, and what is missing.
    """

    bench: str
    rows: tuple[Row, ...]
    series: tuple[Series, ...] = ()
    facts: dict[str, str] = {}
    not_run: dict[str, str] = {}


def write(report: Report, path: Path | None) -> None:
    """Write a report where `--json` says; nothing without it."""
    if path is not None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def read(path: Path) -> Report:
    """Read a report. Raises `msgspec.ValidationError`."""
    return msgspec.json.decode(path.read_bytes(), type=Report)


def number(value: float) -> str:
    """Return a figure for a person: three digits or all before the point, with commas."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def told(rows: Sequence[Row]) -> str:
    """Return rows as lines for a person."""
    return "\n".join(
        f"{row.what}: {number(row.median)} {row.unit} ({number(row.spread[0])} to {number(row.spread[1])})"
        for row in rows
    )
