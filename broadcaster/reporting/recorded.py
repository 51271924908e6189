"""What writing outcomes changed, as metrics and log lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from broadcaster.domain.failures import Remedy
from broadcaster.domain.record import Reason, State
from broadcaster.twilio.codes import lookup, metric_label

if TYPE_CHECKING:
    from broadcaster.ledger.recording import Recorded
    from broadcaster.telemetry.metrics import Metrics

log = structlog.get_logger("ledger")

_DELIVERIES: Final = frozenset({State.DELIVERED, State.READ, State.UNDELIVERED, State.FAILED})
_FAILED: Final = frozenset({State.UNDELIVERED, State.FAILED})
#: Twilio's and HTTP's codes begin here; below are our own reasons.
_FIRST_CODE: Final = 100
_SKIPPED: Final[dict[int, str]] = {
    Reason.OPTED_OUT: "opted_out",
    Reason.EXPIRED: "expired",
    Reason.CANCELED: "canceled",
    Reason.SCHEDULED_CANCELED: "canceled",
    Reason.WINDOW_CLOSED: "window_closed",
    Reason.UNVERIFIED: "unverified",
}


def report_recorded(told: Recorded, metrics: Metrics) -> None:
    """Count and log what somebody should know of."""
    for state, code, count in told.became:
        _count(metrics, state, code, count)
    for seconds, count in told.heard_after:
        metrics.callback_lag.observe(seconds, times=count)
    if told.caused:
        metrics.duplicate_caused(told.caused)
        log.error("duplicate.caused", count=told.caused)
    for broadcast, reason in told.paused:
        log.warning("broadcast.paused", broadcast=broadcast, reason=reason)


def _count(metrics: Metrics, state: State, code: int, count: int) -> None:
    if state in _DELIVERIES:
        metrics.delivered(state.label, count)
        if state in _FAILED:
            metrics.failed("delivery", metric_label(code), count)
    elif state is State.DEAD:
        metrics.died(_death(code), count)
    elif state is State.IN_DOUBT:
        metrics.doubted("other" if code == Reason.REWOUND else "no_answer", count)
    elif state is State.SKIPPED:
        metrics.skipped(skip_label(code), count)


def skip_label(code: int) -> str:
    """Return why somebody was left out, in the words of the metric."""
    return _SKIPPED.get(code, "other")


def _death(code: int) -> str:
    if code == Reason.UNKNOWN:
        return "unknown"
    if code < _FIRST_CODE:
        return "other"
    return "budget_spent" if lookup(code).remedy is Remedy.RETRY else "rejected"
