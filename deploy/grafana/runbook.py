"""The runbook: deploy/runbook.md as a dashboard, so that it is where one looks; and the alerts that fire."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

from board import COLUMNS, Section, board
from grafana_foundation_sdk.builders import text
from grafana_foundation_sdk.models.text import TextMode
from panels import ORANGE, RED, Placed
from tables import Column, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grafana_foundation_sdk.models.dashboard import Dashboard

PAGE: Final = Path(__file__).parents[1] / "runbook.md"
#: Characters of a line and lines of a unit of height, on a screen of usual width.
_LINE, _LINES_A_UNIT = 170, 1.3


def runbook() -> Dashboard:
    """Return the dashboard with a panel for each entry, called as its alert is."""
    first, *entries = _entries(PAGE.read_text(encoding="utf-8"))
    return board(
        "broadcaster-runbook",
        "Broadcaster / Runbook",
        "What to do about each alert; deploy/runbook.md, made by `make dashboards`.",
        [
            Section("What fires", [_firing()]),
            Section("First", [_entry(*first)]),
            Section("By alert", [_entry(*entry) for entry in entries]),
        ],
    )


def _firing() -> Placed:
    return rows(
        "Which alerts fire?",
        "Those that Prometheus finds firing or about to (pending); the entry of the same name tells what "
        "to do.",
        ["max by (alertname, alertstate, severity) (ALERTS == 1)"],
        [
            Column("alertname", "Alert"),
            Column(
                "severity",
                "Severity",
                width=120,
                mappings={"page": ("page", RED), "ticket": ("ticket", ORANGE)},
            ),
            Column("alertstate", "State", width=120),
            Column("Value"),
        ],
        height=7,
        empty="none: all is well",
    )


def _entries(page: str) -> Iterator[tuple[str, str]]:
    """Return each section's heading and text; the first is what stands before the second heading."""
    head, *sections = page.split("\n## ")
    yield head.partition("\n")[0].lstrip("# "), head.partition("\n")[2].strip()
    for section in sections:
        heading, _, body = section.partition("\n")
        yield heading.strip(), body.strip()


def _entry(heading: str, body: str) -> Placed:
    lines = sum(max(1, math.ceil(len(part) / _LINE)) for part in body.replace("\n\n", "\n \n").split("\n"))
    panel = text.Panel().title(heading).mode(TextMode.MARKDOWN).content(body)
    return Placed(panel.build(), COLUMNS, math.ceil(lines / _LINES_A_UNIT) + 2)
