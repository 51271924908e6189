"""`python -m broadcaster.telemetry.page > deploy/metrics.md`: the reference page of all metrics."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from broadcaster.telemetry.catalog import CATALOG
from broadcaster.telemetry.metric import Kind, Metric, Role

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD: Final = """# Metrics

Every process answers `/metrics` on one port: a worker on 9464 (`BROADCASTER_METRICS_PORT`), the exporter on
9465 (`BROADCASTER_EXPORTER_PORT`), the API on its own or on `BROADCASTER_API_METRICS_PORT`. Counters are
those of one process since it started: add them up over `instance`. What is in Redis is shown by the exporter,
once for the installation. Each process also shows its `process_*` metrics (CPU, memory, open files, start
time). No label ever holds a recipient, a message's SID or the text of an error.

This page is written from the catalogue in `broadcaster/telemetry`.
"""
_SECTIONS: Final = {
    frozenset({Role.WORKER}): "Workers",
    frozenset({Role.API}): "API and webhooks",
    frozenset({Role.WORKER, Role.API}): "Workers, API and webhooks",
    frozenset({Role.EXPORTER}): "Exporter",
    frozenset({Role.EVERY}): "Every process",
}
_EXPORTER_COST: Final = """
What a scrape costs, as `tests/bench/exporter.py` showed it: 7.9 ms with 10 lanes, and 9.5 ms with 10,000
lanes that have work, 200 broadcasts that run and 5,000 that have ended (median on two cores that were
nearly free; one in a hundred took longer than 15 and 19 ms). 5.5 and 4 ms of that were the exporter's CPU,
1.3 ms Redis'. A call of those 10,000 keeps Redis busy for 0.4 ms, nine in ten for less than 0.6 ms. At each
scrape the counters of up to 40 open broadcasts are read; of more than that those that are shown (20), and
the others, all lanes and their flows beside scrapes every 5 seconds: 5 % of a core for Redis, 6 % for the
exporter.
"""
_UNITS: Final = {
    "_timestamp_seconds": "unix seconds",
    "_segments_per_second": "segments a second",
    "_seconds": "seconds",
    "_bytes": "bytes",
    "_segments": "segments",
    "_messages": "messages",
}


def text() -> str:
    """Return the page."""
    return _HEAD + "".join(line for roles, title in _SECTIONS.items() for line in _section(roles, title))


def _section(roles: frozenset[Role], title: str) -> Iterator[str]:
    yield f"\n## {title}\n"
    if Role.EXPORTER in roles:
        yield _EXPORTER_COST
    for metric in CATALOG.values():
        if metric.roles == roles:
            yield "\n" + "\n".join(_entry(metric)) + "\n"


def _entry(metric: Metric) -> Iterator[str]:
    yield f"### `{_scraped(metric)}`"
    yield ""
    units = () if metric.kind is Kind.COUNTER else _UNITS.items()
    unit = next((f", {unit}" for ending, unit in units if metric.family.endswith(ending)), "")
    yield f"{metric.kind.capitalize()}{unit}. {metric.meaning}."
    if metric.labels or metric.buckets:
        yield ""
    for label, values in metric.labels.items():
        yield f"- `{label}`: {values if isinstance(values, str) else ', '.join(values)}"
    if metric.buckets:
        yield f"- buckets: {', '.join(f'{bound:g}' for bound in metric.buckets)}"
    if query := _query(metric):
        yield ""
        yield f"```promql\n{query}\n```"


def _scraped(metric: Metric) -> str:
    return f"{metric.name}_info" if metric.kind is Kind.INFO else metric.name


def _query(metric: Metric) -> str:
    """Return an example; "" where the name says enough."""
    if metric.kind is Kind.COUNTER:
        few = [label for label, values in metric.labels.items() if isinstance(values, tuple)]
        by = (few or [*metric.labels])[-1:]
        return f"sum{f' by ({by[0]})' if by else ''} (rate({metric.name}[5m]))"
    if metric.kind is Kind.HISTOGRAM:
        parts = ", ".join(("le", *metric.labels))
        return f"histogram_quantile(0.99, sum by ({parts}) (rate({metric.name}_bucket[5m])))"
    if metric.name.endswith("_timestamp_seconds"):
        return f"time() - ({metric.name} > 0)"
    return ""


if __name__ == "__main__":
    sys.stdout.write(text())
