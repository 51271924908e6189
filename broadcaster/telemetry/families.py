"""What holds a metric's numbers: made from the catalogue, moved by whole groups, read by a scrape.

Cheaper than the library's own, as each is written by one thread only: the one that serves `/metrics` reads.
A label value that the catalogue does not name becomes `other`, or where there is none it is an error: so no
text of a stranger's gets into a metric.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from itertools import accumulate, product
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.telemetry.metric import Metric

OTHER: Final = "other"


class _Labelled:
    """The values that a metric's labels may have."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._names = list(metric.labels)
        self._known = [values if isinstance(values, tuple) else None for values in metric.labels.values()]

    def _first(self) -> list[tuple[str, ...]]:
        """Return all there can be, if they are few; they are shown from the start, as 0."""
        values = [known for known in self._known if known is not None]
        return list(product(*values)) if len(values) == len(self._known) else []

    def _admitted(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Return the labels under which to count. Raises KeyError, ValueError for too many or too few."""
        admitted = []
        for value, known in zip(labels, self._known, strict=True):
            if known is None or value in known:
                admitted.append(value)
            elif OTHER in known:
                admitted.append(OTHER)
            else:
                raise KeyError(f"{self._metric.name} has no {value!r}")
        return tuple(admitted)


class Counts(_Labelled, Collector):
    """A counter."""

    def __init__(self, metric: Metric) -> None:
        super().__init__(metric)
        self._values = dict.fromkeys(self._first(), 0)

    def add(self, count: int, *labels: str) -> None:
        """Count so many more."""
        try:
            self._values[labels] += count
        except KeyError:
            labels = self._admitted(labels)
            self._values[labels] = self._values.get(labels, 0) + count

    def has(self, *labels: str) -> bool:
        """Whether these labels are shown."""
        return labels in self._values

    def show(self, *labels: str) -> None:
        """Be there, as 0 until something is counted: a rate needs a value to begin with."""
        self._values.setdefault(self._admitted(labels), 0)

    def collect(self) -> Iterable[Any]:
        """Return the family that prometheus_client renders."""
        family = CounterMetricFamily(self._metric.family, self._metric.meaning, labels=self._names)
        for labels, value in list(self._values.items()):
            family.add_metric(labels, value)
        return [family]


class Gauges(_Labelled, Collector):
    """A gauge. One with labels shows what was set only, and not for longer than the catalogue says."""

    def __init__(self, metric: Metric) -> None:
        super().__init__(metric)
        self._values: dict[tuple[str, ...], float] = {} if metric.labels else {(): 0.0}
        self._ends: dict[tuple[str, ...], float] = {}

    def set(self, value: float, *labels: str) -> None:
        """Show this from now on."""
        admitted = self._admitted(labels)
        self._ends[admitted] = time.monotonic() + self._metric.kept_seconds
        self._values[admitted] = value

    def collect(self) -> Iterable[Any]:
        """Return the family that prometheus_client renders."""
        family = GaugeMetricFamily(self._metric.family, self._metric.meaning, labels=self._names)
        now = time.monotonic()
        for labels, value in list(self._values.items()):
            if self._ends.get(labels, now) >= now:
                family.add_metric(labels, value)
        return [family]


class BatchedHistogram(_Labelled, Collector):
    """A histogram that takes a list of values at a tenth of the cost of one `observe` each."""

    def __init__(self, metric: Metric) -> None:
        super().__init__(metric)
        self._bounds = metric.buckets
        self._counts = {labels: self._nothing() for labels in self._first()}
        self._sums = dict.fromkeys(self._counts, 0.0)

    def _nothing(self) -> list[int]:
        return [0] * (len(self._bounds) + 1)

    def _counts_of(self, labels: tuple[str, ...]) -> tuple[tuple[str, ...], list[int]]:
        counts = self._counts.get(labels)
        if counts is None:
            labels = self._admitted(labels)
            counts = self._counts.setdefault(labels, self._nothing())
            self._sums.setdefault(labels, 0.0)
        return labels, counts

    def observe_many(self, values: Iterable[float], *labels: str) -> None:
        """Add `values`, in seconds."""
        labels, counts = self._counts_of(labels)
        bounds, total = self._bounds, 0.0
        for value in values:
            counts[bisect_left(bounds, value)] += 1
            total += value
        self._sums[labels] += total

    def observe(self, value: float, *labels: str, times: int = 1) -> None:
        """Add one value, in seconds, or the same several times."""
        labels, counts = self._counts_of(labels)
        counts[bisect_left(self._bounds, value)] += times
        self._sums[labels] += value * times

    def collect(self) -> Iterable[Any]:
        """Return the family that prometheus_client renders."""
        family = HistogramMetricFamily(self._metric.family, self._metric.meaning, labels=self._names)
        bounds = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        for labels, counts in list(self._counts.items()):
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric(labels, buckets, self._sums[labels])
        return [family]
