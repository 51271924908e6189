"""What happened, as one frozen value; the log line and the metrics both follow from it.

One canonical line for each broadcast (info) and each slice (debug: at a thousand lanes there are a
thousand slices a second; a slice in which something went wrong is a warning).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from structlog.stdlib import BoundLogger

    from broadcaster.telemetry.metrics import Metrics

_GOOD = frozenset({"accepted", "throttled"})


@dataclass(frozen=True, slots=True)
class SliceDone:
    """One claimed slice, from the claim to its last outcome.

    `outcomes` counts POSTs by kind, `refused` records by the gate's reason, `retries` by reason;
    `durations` has each POST's seconds, `waits` each group's seconds until its permit.
    """

    broadcast: str
    lane: str
    records: int
    seconds: float
    outcomes: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    retries: Mapping[str, int] = field(default_factory=dict)
    durations: Sequence[float] = ()
    waits: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class BroadcastEnded:
    """A broadcast came to its end. `states` counts its recipients by state; they add up to `total`."""

    broadcast: str
    state: str
    total: int
    seconds: float
    states: Mapping[str, int]


class Telemetry:
    """Where events go: this process's log and metrics."""

    def __init__(self, log: BoundLogger, metrics: Metrics) -> None:
        self.log = log
        self.metrics = metrics

    def slice_done(self, event: SliceDone) -> None:
        """Count a slice and write its line."""
        self.metrics.sends_done(event.outcomes, event.durations)
        self.metrics.permit_wait.observe_many(event.waits)
        for reason, count in event.refused.items():
            self.metrics.intents_refused(reason, count)
        for reason, count in event.retries.items():
            self.metrics.retried(reason, count)
        write = self.log.debug if event.outcomes.keys() <= _GOOD else self.log.warning
        write(
            "slice_done",
            broadcast=event.broadcast,
            lane=event.lane,
            records=event.records,
            seconds=round(event.seconds, 4),
            outcomes=dict(event.outcomes),
            refused=dict(event.refused),
            retries=dict(event.retries),
        )

    def broadcast_ended(self, event: BroadcastEnded) -> None:
        """Write a broadcast's line."""
        self.log.info(
            "broadcast_ended",
            broadcast=event.broadcast,
            state=event.state,
            total=event.total,
            seconds=round(event.seconds, 3),
            rate=round(event.total / event.seconds, 1) if event.seconds > 0 else None,
            **event.states,
        )
