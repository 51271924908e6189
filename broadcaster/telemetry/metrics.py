"""Every metric of the program, with its unit and meaning, and cheap ways to move many at once.

Label values are few and fixed: kinds, reasons, operations; never a broadcast, a number or a sid. One
process is one `/metrics`; what is read from Redis (depths, ages) is not here but with the read side.
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from broadcaster import __version__
from broadcaster.domain.failures import Kind
from broadcaster.telemetry.metrics_server import MetricsServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broadcaster.telemetry.pulse import Pulse

SEND_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.5, 5.0, 10.0, 26.0, 35.0, 60.0)
WAIT_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
REDIS_SECONDS: Final = (0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class BatchedHistogram(Collector):
    """A histogram that takes a list of values at a tenth of the cost of one `observe` each.

    Written by one thread; the thread that serves `/metrics` only reads it.
    """

    def __init__(
        self, name: str, meaning: str, bounds: tuple[float, ...], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._meaning = meaning
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe_many(self, values: Iterable[float]) -> None:
        """Add `values`, in seconds."""
        bounds, counts, total = self._bounds, self._counts, 0.0
        for value in values:
            counts[bisect_left(bounds, value)] += 1
            total += value
        self._sum += total

    def observe(self, value: float) -> None:
        """Add one value, in seconds."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterable[Any]:
        """Return the family that prometheus_client renders."""
        cumulative = accumulate(self._counts)
        labels = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        family = HistogramMetricFamily(self._name, self._meaning)
        family.add_metric([], list(zip(labels, cumulative, strict=True)), self._sum)
        return [family]


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the series for times that nobody asks for
        self._messages = Counter(
            "broadcaster_messages", "POSTs to Twilio that ended, by outcome", ["outcome"], registry=registry
        )
        self._by_outcome = {kind.value: self._messages.labels(kind.value) for kind in Kind}
        self.send_duration = BatchedHistogram(
            "broadcaster_send_duration_seconds", "From handing a POST over to its end", SEND_SECONDS, registry
        )
        self.in_flight = Gauge(
            "broadcaster_in_flight", "POSTs that have left and not ended", registry=registry
        )
        self.circuit_open = Gauge(
            "broadcaster_circuit_open",
            "1 while Twilio does not answer and only one message a second is tried",
            registry=registry,
        )
        self.permit_wait = BatchedHistogram(
            "broadcaster_permit_wait_seconds",
            "From a claim to the time its permit allowed",
            WAIT_SECONDS,
            registry,
        )
        self._retries = Counter(
            "broadcaster_retries",
            "Messages put back to be sent again, by reason",
            ["reason"],
            registry=registry,
        )
        self._claims = Counter("broadcaster_claims", "Slices claimed from lanes", registry=registry)
        self._duplicates = Counter(
            "broadcaster_duplicates_caused",
            "Recipients found to have got a message twice; anything but 0 is worth waking somebody",
            registry=registry,
        )
        self._doubts = Counter(
            "broadcaster_doubts_settled",
            "Messages in doubt that looking settled, by how: found in the list, retried, dead, skipped",
            ["how"],
            registry=registry,
        )
        self._recalled = Counter(
            "broadcaster_recalled",
            "Scheduled messages that were to be canceled at Twilio, by how that went: canceled, too_late",
            ["result"],
            registry=registry,
        )
        self._polled = Counter(
            "broadcaster_polled",
            "Messages that Twilio was asked for, by what it told: final, moved, unchanged, gone",
            ["result"],
            registry=registry,
        )
        self._fallbacks = Counter(
            "broadcaster_fallbacks",
            "SMS in place of WhatsApp messages, by what became of them: queued, in_doubt (Redis lost some), "
            "skipped (opted out, not verified), forbidden (the broadcast was canceled, expired, is removed)",
            ["result"],
            registry=registry,
        )
        self._intents_refused = Counter(
            "broadcaster_intents_refused",
            "Sends that the gate said no to, by reason",
            ["reason"],
            registry=registry,
        )
        self._redis_errors = Counter(
            "broadcaster_redis_errors",
            "Redis calls that failed, by operation",
            ["operation"],
            registry=registry,
        )
        self._webhooks = Counter(
            "broadcaster_webhook_deliveries",
            "Tries to deliver an event to an endpoint, by how they ended: delivered, failed, parked",
            ["result"],
            registry=registry,
        )
        self._replies = Counter(
            "broadcaster_replies",
            "Replies by what they mean: opt_out, opt_in, help, other, flagged (a person should look at it)",
            ["meaning"],
            registry=registry,
        )
        self._callbacks = Counter(
            "broadcaster_callbacks",
            "Status callbacks by what became of them: recorded, unchanged (known), parked (looked for), "
            "found, dropped (no such message), ignored (no status we know), refused (not signed by Twilio)",
            ["result"],
            registry=registry,
        )
        self.redis_roundtrip = BatchedHistogram(
            "broadcaster_redis_roundtrip_seconds", "From a script call to its reply", REDIS_SECONDS, registry
        )
        self._requests = Counter(
            "broadcaster_api_requests",
            "HTTP requests answered",
            ["method", "route", "status"],
            registry=registry,
        )
        self._requests_by: dict[tuple[str, str, int], Counter] = {}
        self.request_duration = BatchedHistogram(
            "broadcaster_api_request_duration_seconds",
            "From a request's headers to the end of its answer",
            WAIT_SECONDS,
            registry,
        )
        Info("broadcaster_build", "What is running", registry=registry).info(
            {"version": __version__, "python": platform.python_version()}
        )
        ProcessCollector(registry=registry)

    def sends_done(self, outcomes: Mapping[str, int], durations: Iterable[float] = ()) -> None:
        """Count the ends of many POSTs: {outcome kind: how many}, and how long each took in seconds."""
        for outcome, count in outcomes.items():
            self._by_outcome[outcome].inc(count)
        self.send_duration.observe_many(durations)

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request; `route` is the path as it was declared, so that there are few."""
        child = self._requests_by.get((method, route, status))
        if child is None:
            known = method if method in _METHODS else "other"
            child = self._requests.labels(known, route, str(status))
            self._requests_by[known, route, status] = child
        child.inc()
        self.request_duration.observe(seconds)

    def retried(self, reason: str, count: int = 1) -> None:
        """Count messages that wait for another attempt."""
        self._retries.labels(reason).inc(count)

    def claimed(self, slices: int) -> None:
        """Count slices that a claim brought."""
        self._claims.inc(slices)

    def duplicate_caused(self, count: int = 1) -> None:
        """Count recipients for whom evidence shows two accepted messages."""
        self._duplicates.inc(count)

    def doubt_settled(self, how: str, count: int) -> None:
        """Count doubts that ended: `list` (found there), `accepted`, `retried`, `dead`, `skipped`."""
        if count:
            self._doubts.labels(how).inc(count)

    def recalled(self, result: str) -> None:
        """Count a scheduled message that was to be canceled."""
        self._recalled.labels(result).inc()

    def fell_back(self, result: str, count: int) -> None:
        """Count SMS in place of WhatsApp messages by one of the words that the metric's meaning names."""
        if count:
            self._fallbacks.labels(result).inc(count)

    def polled(self, result: str) -> None:
        """Count an answer about a message whose final state was awaited."""
        self._polled.labels(result).inc()

    def intents_refused(self, reason: str, count: int) -> None:
        """Count records that the gate did not let go."""
        self._intents_refused.labels(reason).inc(count)

    def redis_failed(self, operation: str) -> None:
        """Count a failed call; `operation` is the script's or command's name."""
        self._redis_errors.labels(operation).inc()

    def webhooks_tried(self, result: str, count: int) -> None:
        """Count tries to deliver events: `delivered`, `failed` (it goes again), `parked`."""
        self._webhooks.labels(result).inc(count)

    def replied(self, meaning: str) -> None:
        """Count a reply by one of the words that the metric's meaning names."""
        self._replies.labels(meaning).inc()

    def callbacks_ended(self, result: str, count: int) -> None:
        """Count status callbacks by their `result`, one of those that the metric's meaning names."""
        if count:
            self._callbacks.labels(result).inc(count)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def serve(self, port: int, host: str = "127.0.0.1", pulse: Pulse | None = None) -> MetricsServer:
        """Answer `/metrics` and `/healthz` from a thread; port 0: any free one. OSError if it is taken."""
        return MetricsServer(self.registry, port, host, pulse)
