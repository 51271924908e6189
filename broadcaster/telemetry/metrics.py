"""The metrics of one process, made from the catalogue, and cheap ways to move many at once.

One process is one `/metrics`, which shows the metrics of its role only; what is read from Redis (depths,
ages) the exporter shows. What each means, and what values its labels take, stands in process_metrics.py.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from broadcaster import __version__
from broadcaster.telemetry.families import OTHER, BatchedHistogram, Counts, Gauges
from broadcaster.telemetry.metric import Kind, Metric, Role
from broadcaster.telemetry.metrics_server import MetricsServer
from broadcaster.telemetry.process_metrics import CHANNELS, OUTCOMES, PROCESS
from broadcaster.telemetry.senders import Senders

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client.registry import Collector

    from broadcaster.telemetry.pulse import Pulse


def shown_by(role: Role | None, metrics: Iterable[Metric] = PROCESS) -> list[Metric]:
    """Return the metrics that a process of this role shows; without one all of them."""
    return [one for one in metrics if role is None or one.roles & {role, Role.EVERY}]


class Metrics:
    """The metrics of one process, in a registry of their own; without a `role` all there are, for tests."""

    def __init__(self, role: Role | None = None, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the series for times that nobody asks for
        self._counts: dict[str, Counts] = {}
        self._gauges: dict[str, Gauges] = {}
        self._histograms: dict[str, BatchedHistogram] = {}
        shown = {one.name for one in shown_by(role)}
        for metric in PROCESS:
            self._make(metric, shown=metric.name in shown)
        ProcessCollector(registry=self.registry)
        self._senders = Senders()
        self._messages, self._segments = self._counts["messages"], self._counts["segments"]
        self._outcomes = self._counts["outcomes"]
        for channel in CHANNELS:
            self._show_sender(channel, OTHER)
        self.send_duration = self._histograms["send_duration_seconds"]
        self.accept_to_post = self._histograms["accept_to_post_seconds"]
        self.permit_wait = self._histograms["permit_wait_seconds"]
        self.redis_roundtrip = self._histograms["redis_roundtrip_seconds"]
        self.request_duration = self._histograms["api_request_duration_seconds"]
        self.callback_write = self._histograms["callback_write_seconds"]
        self.callback_lag = self._histograms["callback_lag_seconds"]
        self.in_flight = self._gauges["in_flight"]
        self.circuit_open = self._gauges["circuit_open"]

    def _make(self, metric: Metric, *, shown: bool) -> None:
        """Make one. What only other roles show is there, too, for code that several run."""
        name = metric.family.removeprefix("broadcaster_")
        made: Collector
        match metric.kind:
            case Kind.COUNTER:
                made = self._counts[name] = Counts(metric)
            case Kind.GAUGE:
                made = self._gauges[name] = Gauges(metric)
            case Kind.HISTOGRAM:
                made = self._histograms[name] = BatchedHistogram(metric)
            case Kind.INFO:
                made = Info(metric.family, metric.meaning, registry=None)
                made.info({"version": __version__, "python": platform.python_version()})
        if shown:
            self.registry.register(made)

    def _show_sender(self, channel: str, name: str) -> None:
        for outcome in OUTCOMES:
            self._messages.show(channel, name, outcome)
        self._segments.show(channel, name)

    # -- sending

    def sent(
        self,
        sender: str,
        channel: str,
        outcomes: Mapping[str, int],
        *,
        segments: int = 0,
        durations: Iterable[float] = (),
    ) -> None:
        """Count the ends of many POSTs of one sender: {outcome kind: how many}, durations in seconds."""
        name = self._senders.name(sender, sum(outcomes.values()))
        if not self._messages.has(channel, name, OUTCOMES[0]):
            self._show_sender(channel, name)
        for outcome, count in outcomes.items():
            self._messages.add(count, channel, name, outcome)
            self._outcomes.add(count, outcome)
        if segments:
            self._segments.add(segments, channel, name)
        self.send_duration.observe_many(durations, channel)

    def failed(self, stage: str, code: str, count: int = 1) -> None:
        """Count refusals and failed deliveries; `code` as `metric_label` (twilio/codes.py) gives it."""
        self._counts["failures"].add(count, stage, code)

    def retried(self, reason: str, count: int = 1) -> None:
        """Count messages that wait for another attempt."""
        self._counts["retries"].add(count, reason)

    def claimed(self, slices: int) -> None:
        """Count slices that a claim brought."""
        self._counts["claims"].add(slices)

    def intents_refused(self, reason: str, count: int) -> None:
        """Count records that the gate did not let go."""
        self._counts["intents_refused"].add(count, reason)

    # -- what became of messages

    def died(self, reason: str, count: int) -> None:
        """Count messages that became dead letters."""
        self._counts["dead_letters"].add(count, reason)

    def doubted(self, reason: str, count: int) -> None:
        """Count messages that became in doubt."""
        if count:
            self._counts["doubts"].add(count, reason)

    def doubt_settled(self, how: str, count: int) -> None:
        """Count doubts that ended: `list` (found there), `accepted`, `retried`, `dead`, `skipped`."""
        if count:
            self._counts["doubts_settled"].add(count, how)

    def duplicate_caused(self, count: int = 1) -> None:
        """Count recipients for whom evidence shows two accepted messages."""
        self._counts["duplicates_caused"].add(count)

    def skipped(self, reason: str, count: int) -> None:
        """Count recipients that are left out."""
        if count:
            self._counts["skipped"].add(count, reason)

    def delivered(self, state: str, count: int) -> None:
        """Count final states that were told."""
        self._counts["deliveries"].add(count, state)

    def recalled(self, result: str) -> None:
        """Count a scheduled message that was to be canceled."""
        self._counts["recalled"].add(1, result)

    def fell_back(self, result: str, count: int) -> None:
        """Count SMS in place of WhatsApp messages."""
        if count:
            self._counts["fallbacks"].add(count, result)

    def polled(self, result: str) -> None:
        """Count an answer about a message whose final state was awaited."""
        self._counts["polled"].add(1, result)

    # -- people and endpoints

    def callbacks_ended(self, result: str, count: int) -> None:
        """Count status callbacks by what became of them."""
        if count:
            self._counts["status_callbacks"].add(count, result)

    def replied(self, meaning: str) -> None:
        """Count a reply by what it means."""
        self._counts["replies"].add(1, meaning)

    def opted_out(self, source: str, count: int) -> None:
        """Count opt-outs that are new."""
        if count:
            self._counts["opt_outs"].add(count, source)

    def imported(self, through: str, count: int) -> None:
        """Count recipients taken in."""
        if count:
            self._counts["recipients_imported"].add(count, through)

    def webhooks_tried(self, result: str, count: int) -> None:
        """Count tries to deliver events: `delivered`, `failed` (it goes again), `parked`."""
        self._counts["webhook_deliveries"].add(count, result)

    # -- the process

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request; `route` is the path as it was declared, so that there are few."""
        self._counts["api_requests"].add(1, method, route, str(status))
        self.request_duration.observe(seconds)

    def redis_failed(self, operation: str) -> None:
        """Count a failed call; `operation` is the script's name."""
        self._counts["redis_errors"].add(1, operation)

    def may_fail(self, operations: Iterable[str]) -> None:
        """Show calls that can fail, as 0: an alert on the first error needs a value to begin with."""
        for operation in operations:
            self._counts["redis_errors"].show(operation)

    def clock_skewed(self, clock: str, seconds: float) -> None:
        """Show how far another clock, `redis` or `twilio`, is ahead of this host's."""
        self._gauges["clock_skew_seconds"].set(seconds, clock)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def serve(self, port: int, host: str = "127.0.0.1", pulse: Pulse | None = None) -> MetricsServer:
        """Answer `/metrics` and `/healthz` from a thread; port 0: any free one. OSError if it is taken."""
        return MetricsServer(self.registry, port, host, pulse)
