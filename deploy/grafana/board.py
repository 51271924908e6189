"""A dashboard: rows of panels laid out on 24 columns, variables, links to the others and to the runbook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.models import dashboard as models
from panels import SOURCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.cog.builder import Builder
    from panels import Placed

#: The uid that provisioning gives the Prometheus beside Grafana.
DATASOURCE_UID: Final = "broadcaster-prometheus"
COLUMNS: Final = 24
TAG: Final = "broadcaster"


@dataclass(frozen=True, slots=True)
class Section:
    """A row's title and its panels, from left to right."""

    title: str
    panels: Sequence[Placed]


def variable(name: str, label: str, what: str, query: str, regex: str = "") -> QueryVariable:
    """Several values of a label can be chosen, all by default."""
    return (
        QueryVariable(name)
        .label(label)
        .description(what)
        .datasource(SOURCE)
        .query({"query": query, "refId": f"variable-{name}"})
        .regex(regex)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def board(
    uid: str,
    title: str,
    what: str,
    sections: Sequence[Section],
    variables: Sequence[QueryVariable] = (),
    *,
    since: str = "now-1h",
) -> models.Dashboard:
    """Return a dashboard; `since` is the time range it opens with."""
    source = (
        DatasourceVariable("datasource")
        .label("Prometheus")
        .type("prometheus")
        .current(models.VariableOption(selected=True, text="Broadcaster", value=DATASOURCE_UID))
    )
    made = (
        Dashboard(title)
        .uid(uid)
        .description(what)
        .tags([TAG])
        .timezone("browser")
        .time(since, "now")
        .refresh("10s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .variables([source, *variables])
        .links(_links())
        .readonly()
        .build()
    )
    made.panels = _laid_out(sections)
    return made


def _links() -> list[Builder[models.DashboardLink]]:
    return [
        DashboardLink("Broadcaster")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .keep_time(True)
        .icon("external link")
    ]


def _laid_out(sections: Sequence[Section]) -> list[models.Panel | models.RowPanel]:
    """Give each panel an id and its place: as high as it goes in its section, then as far left."""
    made: list[models.Panel | models.RowPanel] = []
    y = 0
    for section in sections:
        row = Row(section.title).id(len(made) + 1).build()
        row.grid_pos = models.GridPos(h=1, w=COLUMNS, x=0, y=y)
        row.panels = []
        made.append(row)
        y += 1
        tops = [y] * COLUMNS
        for placed in section.panels:
            x = min(range(COLUMNS - placed.width + 1), key=lambda at: max(tops[at : at + placed.width]))
            top = max(tops[x : x + placed.width])
            tops[x : x + placed.width] = [top + placed.height] * placed.width
            placed.panel.id_val = len(made) + 1
            placed.panel.grid_pos = models.GridPos(h=placed.height, w=placed.width, x=x, y=top)
            made.append(placed.panel)
        y = max(tops)
    return made
