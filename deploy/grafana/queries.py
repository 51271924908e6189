"""Queries: an expression with a legend, and the shapes that come up again and again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and how its series are called: `{{label}}` stands for a label."""

    expression: str
    legend: str = ""


def grown(counter: str, window: str = "$__range") -> str:
    """Return by how much a counter grew, series that began within the window counted from 0.

    `increase()` alone misses what a series was born with: the first failure of a code, for instance. Of one
    that was reset since (its process began anew) the greatest it ever was, or its increase if that is more.
    """
    grew, most = f"increase({counter}[{window}])", f"max_over_time({counter}[{window}])"
    young = f"{most} unless last_over_time({counter}[5m] offset {window})"
    more = f"(resets({counter}[{window}]) > 0 and {grew} > {most})"
    return f"(({young} unless {more}) or {grew})"


def rate(counter: str) -> str:
    """Return how fast a counter grows, a second."""
    return f"rate({counter}[$__rate_interval])"


def rates_by(label: str, counter: str) -> Query:
    """Return how fast a counter grows, a series for each value of a label."""
    return Query(f"sum by ({label}) ({rate(counter)})", f"{{{{{label}}}}}")


def quantile(share: float, histogram: str, by: str = "") -> str:
    """Return a quantile of a histogram over the rate interval."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({labels}) ({rate(histogram + '_bucket')}))"
