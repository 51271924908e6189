"""Kinds of panels. Each has a question for a title, what it means, a unit and words for no data.

A panel is made by one call and placed by `board.py`. Grafana's variable `datasource` chooses the Prometheus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import common, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DynamicConfigValue,
    FieldColorModeId,
    Panel,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queries import Query

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "#8e8e8e"
#: Colours of states and outcomes, the same on every panel.
COLOURS: Final = {
    "queued": "#b0bec5",
    "sending": "light-blue",
    "retry": "light-orange",
    "in_doubt": "purple",
    "accepted": "semi-dark-green",
    "sent": "green",
    "delivered": "light-green",
    "read": "super-light-green",
    "undelivered": "orange",
    "failed": "dark-orange",
    "dead": "red",
    "skipped": GREY,
    "rejected": "red",
    "throttled": "yellow",
    "not_sent": "light-orange",
    "unknown": "purple",
}
NOTHING_YET: Final = "nothing yet"


@dataclass(frozen=True, slots=True)
class Placed:
    """A panel and its size: `width` of 24 columns, `height` in units of 30 pixels."""

    panel: Panel
    width: int
    height: int


def steps(*levels: tuple[float, str], first: str = GREEN) -> tuple[tuple[float | None, str], ...]:
    """Return thresholds: `first` below the first level, then each level's colour."""
    return ((None, first), *levels)


def words(texts: Mapping[str, tuple[str, str]]) -> list[ValueMap]:
    """Map values to a text and a colour."""
    return [
        ValueMap(
            options={
                value: ValueMappingResult(text=text, color=colour or None, index=place)
                for place, (value, (text, colour)) in enumerate(texts.items())
            }
        )
    ]


YES_NO: Final = {"0": ("no", RED), "1": ("yes", GREEN)}
NO_YES: Final = {"0": ("no", GREEN), "1": ("yes", RED)}


def number(
    title: str,
    what: str,
    *queries: Query,
    unit: str = "short",
    width: int = 4,
    height: int = 4,
    decimals: int | None = None,
    levels: Sequence[tuple[float | None, str]] = ((None, BLUE),),
    mappings: Mapping[str, tuple[str, str]] | None = None,
    empty: str = NOTHING_YET,
    named: bool = False,
) -> Placed:
    """Return one number (or one for each series), its background coloured by thresholds."""
    panel = (
        stat.Panel()
        .title(title)
        .description(what)
        .datasource(SOURCE)
        .unit(unit)
        .no_value(empty)
        .thresholds(made_of(levels))
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .mappings(list(words(mappings or {})))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .graph_mode(kinds.BigValueGraphMode.NONE)
        .color_mode(kinds.BigValueColorMode.BACKGROUND)
        .text_mode(kinds.BigValueTextMode.VALUE_AND_NAME if named else kinds.BigValueTextMode.VALUE)
        .targets([target(query, place).instant() for place, query in enumerate(queries)])
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    return Placed(panel.build(), width, height)


def graph(
    title: str,
    what: str,
    *queries: Query,
    unit: str = "short",
    width: int = 12,
    height: int = 8,
    stacked: bool = False,
    levels: Sequence[tuple[float | None, str]] = (),
    top: float | None = None,
    empty: str = NOTHING_YET,
) -> Placed:
    """Return lines over time; stacked areas where the sum means something, thresholds as dashed lines."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(what)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .no_value(empty)
        .line_width(1)
        .fill_opacity(60 if stacked else 8)
        .show_points(kinds.VisibilityMode.NEVER)
        .stacking(
            common.StackingConfig().mode(kinds.StackingMode.NORMAL if stacked else kinds.StackingMode.NONE)
        )
        .legend(
            common.VizLegendOptions()
            .display_mode(kinds.LegendDisplayMode.TABLE)
            .placement(kinds.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(
            common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING)
        )
        .targets([target(query, place).range() for place, query in enumerate(queries)])
    )
    if top is not None:
        panel = panel.max(top)
    if levels:
        style = common.GraphThresholdsStyleConfig().mode(kinds.GraphTresholdsStyleMode.DASHED)
        panel = panel.thresholds(made_of(levels)).thresholds_style(style)
    coloured = any(query.legend in {"{{state}}", "{{outcome}}"} for query in queries)
    for state, colour in COLOURS.items() if coloured else ():
        panel = panel.override_by_name(
            state, [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})]
        )
    return Placed(panel.build(), width, height)


def timeline(
    title: str,
    what: str,
    query: Query,
    *,
    mappings: Mapping[str, tuple[str, str]],
    width: int = 24,
    height: int = 7,
    empty: str = NOTHING_YET,
) -> Placed:
    """Return a bar over time for each series, with words for its values."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(what)
        .datasource(SOURCE)
        .no_value(empty)
        .mappings(list(words(mappings)))
        .show_value(kinds.VisibilityMode.AUTO)
        .merge_values(True)
        .fill_opacity(80)
        .legend(common.VizLegendOptions().show_legend(False))
        .targets([target(query, 0).range()])
    )
    return Placed(panel.build(), width, height)


def made_of(levels: Sequence[tuple[float | None, str]]) -> ThresholdsConfig:
    """Return thresholds of levels: from a value on, a colour; the first from below everything."""
    made = [Threshold(value=value, color=colour) for value, colour in levels]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)


def target(query: Query, place: int) -> prometheus.Dataquery:
    """Return a query as the panel's A, B or C, by its place."""
    made = prometheus.Dataquery().expr(query.expression).ref_id(chr(ord("A") + place)).datasource(SOURCE)
    return made.legend_format(query.legend or "__auto")
