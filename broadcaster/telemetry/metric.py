"""What a metric is: its name, unit, labels and meaning, from which it is made, described and checked."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(enum.StrEnum):
    """Prometheus' types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


class Role(enum.StrEnum):
    """Which process shows a metric."""

    WORKER = "worker"
    API = "api"
    EXPORTER = "exporter"
    EVERY = "every process"


@dataclass(frozen=True, slots=True)
class Metric:
    """One family as it is scraped: a counter's name ends in `_total`, a histogram's samples in `_bucket`, ….

    `labels` tells of each label what values it takes: all of them, or in words what bounds them. A
    gauge that was set longer ago than `kept_seconds` is shown no more.
    """

    name: str
    kind: Kind
    roles: frozenset[Role]
    meaning: str
    labels: Mapping[str, tuple[str, ...] | str] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()
    kept_seconds: float = math.inf

    @property
    def family(self) -> str:
        """The name that prometheus_client wants: without `_total`."""
        return self.name.removesuffix("_total") if self.kind is Kind.COUNTER else self.name

    @property
    def samples(self) -> frozenset[str]:
        """The names under which a query finds it."""
        if self.kind is Kind.HISTOGRAM:
            return frozenset(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return frozenset({f"{self.name}_info" if self.kind is Kind.INFO else self.name})
