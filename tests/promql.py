"""Whether a PromQL expression can mean anything here: it parses, and what it names exists.

`faults(expression)` says what is wrong with it, and `labels_of(expression)` which labels its result may have.
Both know our catalogue and a few metrics of others; names of recording rules are given, with their labels.
Found are: names and labels that are not there, values that a label never takes, `le` as nobody writes it,
counters without `rate`, a `rate` of no counter, quantiles of no histogram, and two sides that can't match
because their labels or jobs differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import promql_parser as pp
from prometheus_client.utils import floatToGoString

from broadcaster.telemetry.catalog import CATALOG
from broadcaster.telemetry.metric import Kind, Metric, Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

JOBS: Final = {
    Role.WORKER: {"broadcaster-worker"},
    Role.API: {"broadcaster-api", "broadcaster-webhooks"},
    Role.EXPORTER: {"broadcaster-exporter"},
}
EVERY_JOB: Final = frozenset().union(*JOBS.values())
TARGET: Final = frozenset({"job", "instance"})
_ON_COUNTERS: Final = frozenset({"rate", "increase", "irate", "resets"})
_ON_GAUGES: Final = frozenset({"delta", "idelta", "deriv", "predict_linear"})
_SETS: Final = frozenset({"and", "or", "unless"})
_KEEPS_LABELS: Final = frozenset({"topk", "bottomk", "limitk"})
#: What Grafana puts in place of its variables, as far as parsing minds.
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|([a-zA-Z_]\w*))")
_VARIABLES: Final = {"__rate_interval": "5m", "__interval": "1m", "__range": "1h", "__range_s": "3600"}


@dataclass(frozen=True, slots=True)
class Sample:
    """What a name stands for in a query. `values`: all that a label takes, where that is known."""

    kind: Kind
    counts: bool
    bucket: bool = False
    labels: frozenset[str] = TARGET
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)
    jobs: frozenset[str] = EVERY_JOB


@dataclass(frozen=True, slots=True)
class Shape:
    """What an expression comes to: labels it may have, and which jobs' they may be."""

    labels: frozenset[str]
    jobs: frozenset[str]


def _jobs(metric: Metric) -> frozenset[str]:
    return frozenset().union(*(JOBS.get(role, EVERY_JOB) for role in metric.roles))


def _spelled(edge: float) -> set[str]:
    """Return how an edge of a histogram is written: by us and Prometheus 2, and by Prometheus 3 ("5.0")."""
    go = str(floatToGoString(edge))  # type: ignore[no-untyped-call]
    return {go, go.removesuffix(".0")}


def _samples(metric: Metric) -> Iterator[tuple[str, Sample]]:
    counts = metric.kind in {Kind.COUNTER, Kind.HISTOGRAM}
    values = {name: frozenset(some) for name, some in metric.labels.items() if not isinstance(some, str)}
    for name in metric.samples:
        bucket = metric.kind is Kind.HISTOGRAM and name.endswith("_bucket")
        edges = frozenset(text for edge in (*metric.buckets, float("inf")) for text in _spelled(edge))
        labels = frozenset(metric.labels) | TARGET | ({"le"} if bucket else set())
        yield (
            name,
            Sample(
                metric.kind, counts, bucket, labels, values | ({"le": edges} if bucket else {}), _jobs(metric)
            ),
        )


def _known() -> dict[str, Sample]:
    found = dict(one for metric in CATALOG.values() for one in _samples(metric))
    for name in ("up", "scrape_duration_seconds", "scrape_samples_scraped"):
        found[name] = Sample(Kind.GAUGE, counts=False)
    for name in (
        "resident_memory_bytes",
        "open_fds",
        "max_fds",
        "start_time_seconds",
        "virtual_memory_bytes",
    ):
        found[f"process_{name}"] = Sample(Kind.GAUGE, counts=False)
    found["process_cpu_seconds_total"] = Sample(Kind.COUNTER, counts=True)
    more = frozenset({"alertname", "alertstate", "severity"})
    found["ALERTS"] = Sample(Kind.GAUGE, counts=False, labels=TARGET | more)
    return found


KNOWN: Final = _known()


def replaced(expression: str, **variables: str) -> str:
    """Put something (by default `.*`) in place of Grafana's `$name`, `${name}`, `${name:format}`."""
    chosen = _VARIABLES | variables
    return _VARIABLE.sub(lambda m: chosen.get(m[1] or m[2], ".*"), expression)


def faults(expression: str, recorded: Mapping[str, frozenset[str]] | None = None) -> list[str]:
    """Say what is wrong with an expression; `recorded`: names of recording rules and their labels."""
    return _read(expression, recorded)[0]


def labels_of(expression: str, recorded: Mapping[str, frozenset[str]] | None = None) -> frozenset[str] | None:
    """Return the labels that a result may have; None for a number. Raises ValueError for a wrong one."""
    wrong, shape = _read(expression, recorded)
    if wrong:
        raise ValueError(f"{expression}: {'; '.join(wrong)}")
    return None if shape is None else shape.labels


def names_in(expression: str) -> set[str]:
    """Return the names that an expression selects."""
    names: set[str] = set()

    def note(node: Any) -> None:
        selector = getattr(node, "vector_selector", node)
        if isinstance(selector, pp.VectorSelector):
            names.add(selector.name or "")

    pp.walk(pp.parse(replaced(expression)), note)
    return names


def _read(expression: str, recorded: Mapping[str, frozenset[str]] | None) -> tuple[list[str], Shape | None]:
    try:
        tree = pp.parse(replaced(expression))
    except ValueError as error:
        return [f"does not parse: {error}"], None
    rules = {
        name: Sample(Kind.GAUGE, counts=False, labels=labels) for name, labels in (recorded or {}).items()
    }
    reader = _Reader(KNOWN | rules, [])
    shape = reader.shape(tree)
    return reader.wrong, shape


@dataclass
class _Reader:
    """Walks one tree from its leaves; `wrong` collects what can't be."""

    known: Mapping[str, Sample]
    wrong: list[str]

    def shape(self, node: Any) -> Shape | None:
        """Return what a node comes to; None: a number or a text."""
        match node:
            case pp.VectorSelector() | pp.MatrixSelector():
                return self._selector(node, within="")
            case pp.ParenExpr() | pp.UnaryExpr() | pp.SubqueryExpr():
                return self.shape(node.expr)
            case pp.AggregateExpr():
                return self._aggregate(node)
            case pp.BinaryExpr():
                return self._binary(node)
            case pp.Call():
                return self._call(node)
            case _:
                return None

    def _selector(self, node: Any, within: str) -> Shape:
        if isinstance(node, pp.MatrixSelector):
            return self._selector(node.vector_selector, within or "a range")
        sample = self.known.get(node.name or "")
        if sample is None:
            self.wrong.append(f"{node.name or node} is no metric that we have")
            return Shape(TARGET, EVERY_JOB)
        if sample.counts and (not within or within in _ON_GAUGES):
            self.wrong.append(f"{node.name} only grows: it wants rate() or increase()")
        if not sample.counts and within in _ON_COUNTERS:
            self.wrong.append(f"{node.name} is no counter: {within}() of it means nothing")
        jobs = sample.jobs
        for matcher in node.matchers.matchers:
            if matcher.name not in sample.labels:
                self.wrong.append(f"{node.name} has no label {matcher.name}")
            values = jobs if matcher.name == "job" else sample.values.get(matcher.name)
            meant = None if values is None else _meant(matcher, values)
            if meant is None:
                continue
            if not meant:
                self.wrong.append(f"{node.name} never has {matcher}")
            if matcher.name == "le" and any(_spelled(float(edge)) - meant for edge in meant):
                self.wrong.append(f'{matcher} is spelled otherwise by Prometheus 3: say le=~"5([.]0)?"')
            if matcher.name == "job":
                jobs = meant
        return Shape(sample.labels, jobs)

    def _call(self, node: pp.Call) -> Shape | None:
        name = node.func.name
        if name in _ON_COUNTERS | _ON_GAUGES and isinstance(node.args[0], pp.MatrixSelector):
            return self._selector(node.args[0], within=name)
        found = [self.shape(argument) for argument in node.args]
        vectors = [one for one in found if one is not None]
        match name:
            case "scalar" | "time" | "pi":
                return None
            case "vector" | "absent" | "absent_over_time":
                return Shape(frozenset(), EVERY_JOB)
            case "histogram_quantile":
                return self._quantile(node, vectors[0])
            case "label_replace" | "label_join":
                return Shape(vectors[0].labels | {node.args[1].val}, vectors[0].jobs)
            case _:
                return vectors[0] if vectors else Shape(frozenset(), EVERY_JOB)

    def _quantile(self, node: pp.Call, of: Shape) -> Shape:
        for name in names_in(str(node.args[1].prettify())):
            sample = self.known.get(name)
            if sample is not None and not sample.bucket:
                self.wrong.append(f"histogram_quantile wants buckets, {name} has none")
        if "le" not in of.labels:
            self.wrong.append("histogram_quantile wants `le` kept: sum by (le)")
        return Shape(of.labels - {"le"}, of.jobs)

    def _aggregate(self, node: pp.AggregateExpr) -> Shape:
        of = self.shape(node.expr) or Shape(frozenset(), EVERY_JOB)
        if str(node.op) in _KEEPS_LABELS:
            return of
        if node.modifier is None:
            return Shape(frozenset(), of.jobs)
        labels = frozenset(node.modifier.labels)
        if labels - of.labels:
            self.wrong.append(f"{node.modifier}: no label {', '.join(sorted(labels - of.labels))} is there")
        by = str(node.modifier).startswith("by")
        return Shape(labels & of.labels if by else of.labels - labels, of.jobs)

    def _binary(self, node: pp.BinaryExpr) -> Shape | None:
        left, right = self.shape(node.lhs), self.shape(node.rhs)
        if left is None or right is None:
            return left or right
        matching = node.modifier.matching if node.modifier else None
        named = frozenset(matching.labels) if matching else frozenset()
        only = matching is not None and str(matching).startswith("on")
        if named - left.labels - right.labels or (only and named - (left.labels & right.labels)):
            self.wrong.append(f"{matching} names labels that are not on both sides")
        mine, theirs = (named, named) if only else (left.labels - named, right.labels - named)
        if str(node.op) != "or":
            self._must_match(node, mine, theirs, left.jobs & right.jobs)
        grouped = frozenset((node.modifier.group_labels or []) if node.modifier else [])
        if grouped - right.labels - left.labels:
            self.wrong.append(f"no label {', '.join(sorted(grouped))} to bring over")
        if str(node.op) == "or":
            return Shape(left.labels | right.labels, left.jobs | right.jobs)
        many = node.modifier is not None and node.modifier.card == pp.VectorMatchCardinality.ManyToOne
        return Shape((left.labels | grouped) if many or str(node.op) in _SETS else mine, left.jobs)

    def _must_match(
        self, node: pp.BinaryExpr, mine: frozenset[str], theirs: frozenset[str], jobs: frozenset[str]
    ) -> None:
        if mine != theirs:
            differ = ", ".join(sorted(mine ^ theirs))
            self.wrong.append(
                f"{node.op}: only one side has {differ}, so nothing matches; say on () or ignoring ()"
            )
        elif mine & TARGET and not jobs:
            self.wrong.append(f"{node.op}: the sides are of different jobs, so nothing matches")


def _meant(matcher: pp.Matcher, values: frozenset[str]) -> frozenset[str] | None:
    """Return which values a matcher can select; each word of `a|b` must be one. None: all."""
    if matcher.op in (pp.MatchOp.Equal, pp.MatchOp.Re) and matcher.value in {".*", ".+"}:
        return None
    regex = matcher.op in (pp.MatchOp.Re, pp.MatchOp.NotRe)
    words = matcher.value.split("|") if regex else [matcher.value]
    found = [
        {value for value in values if (re.fullmatch(word, value) if regex else word == value)}
        for word in words
    ]
    if not all(found):
        return frozenset()
    chosen = frozenset().union(*found)
    return chosen if matcher.op in (pp.MatchOp.Equal, pp.MatchOp.Re) else values - chosen
