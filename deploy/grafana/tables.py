"""Tables: queries merged by the labels that they share, a column for each label and value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.builders.dashboard import DashboardLink
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataTransformerConfig,
    DynamicConfigValue,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from panels import NOTHING_YET, SOURCE, Placed, made_of, target, words
from queries import Query

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `field`: a label, or `Value #A` of the first query (`Value` of an only one).

    Without a title it is left out. `bar` shows a share of 1 as a bar; `link` leads on, `${__value.raw}`
    standing for the cell.
    """

    field: str
    title: str = ""
    unit: str = ""
    width: int = 0
    mappings: Mapping[str, tuple[str, str]] | None = None
    levels: Sequence[tuple[float | None, str]] = ()
    bar: bool = False
    link: str = ""


def rows(
    title: str,
    what: str,
    queries: Sequence[str],
    columns: Sequence[Column],
    *,
    sort: str = "",
    width: int = 24,
    height: int = 8,
    empty: str = NOTHING_YET,
) -> Placed:
    """Return a table: the queries' results merged by the labels they share."""
    hidden = ["Time", *(column.field for column in columns if not column.title)]
    shown = [column for column in columns if column.title]
    panel = (
        table.Panel()
        .title(title)
        .description(what)
        .datasource(SOURCE)
        .no_value(empty)
        .show_header(True)
        .targets(
            [
                target(Query(text), place).instant().format(PromQueryFormat.TABLE)
                for place, text in enumerate(queries)
            ]
        )
        .transformations(
            [
                DataTransformerConfig("merge", options={}),
                DataTransformerConfig(
                    "organize",
                    options={
                        "excludeByName": dict.fromkeys(hidden, True),
                        "indexByName": {column.field: place for place, column in enumerate(shown)},
                        "renameByName": {column.field: column.title for column in shown},
                    },
                ),
            ]
        )
    )
    for column in shown:
        panel = panel.override_by_name(column.title, _properties(column))
    if sort:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
    return Placed(panel.build(), width, height)


def _properties(column: Column) -> list[DynamicConfigValue]:
    found: list[DynamicConfigValue] = []
    if column.unit:
        found.append(DynamicConfigValue("unit", column.unit))
    if column.width:
        found.append(DynamicConfigValue("custom.width", column.width))
    if column.mappings:
        found.append(DynamicConfigValue("mappings", words(column.mappings)))
        found.append(DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
    if column.levels:
        found.append(DynamicConfigValue("thresholds", made_of(column.levels).build()))
        found.append(DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
    if column.bar:
        found += [DynamicConfigValue("min", 0), DynamicConfigValue("max", 1)]
        found.append(DynamicConfigValue("custom.cellOptions", {"type": "gauge", "mode": "basic"}))
    if column.link:
        link = DashboardLink("Open").type(DashboardLinkType.LINK).url(column.link).target_blank(True)
        found.append(DynamicConfigValue("links", [link.build()]))
    return found
