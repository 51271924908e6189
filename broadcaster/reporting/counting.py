"""What scripts answer, as metrics: one place hears every answer, whoever asked (`Store.tell`).

An answer that never came, of a script that was carried out, is not counted when it is asked again: then there
is nothing left to change. So these counters are never too high.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from broadcaster.domain.failures import Remedy
from broadcaster.domain.record import Reason, State
from broadcaster.store.errors import EpochChanged, LeaseLost, StoreError
from broadcaster.store.scripts import script_names
from broadcaster.twilio.codes import lookup, metric_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broadcaster.ledger.recording import Recorded
    from broadcaster.store.scripts import Call, Heard
    from broadcaster.telemetry.metrics import Metrics

log = structlog.get_logger("ledger")

#: Refusals that are answers: whoever asked knows what to do.
_ANSWERS: Final = (LeaseLost, EpochChanged)
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


def counting(metrics: Metrics) -> Heard:
    """Return what a store is to tell of its calls."""
    metrics.may_fail(script_names())

    def heard(call: Call[Any], answer: Any) -> None:
        if isinstance(answer, StoreError):
            if not isinstance(answer, _ANSWERS):
                metrics.redis_failed(call.script)
            return
        count = _COUNTED.get(call.script)
        if count is not None:
            count(metrics, call, answer)

    return heard


def _recorded(metrics: Metrics, _: Call[Any], told: Recorded) -> None:
    count_became(metrics, told.became)
    for seconds, count in told.heard_after:
        metrics.callback_lag.observe(seconds, times=count)
    if told.caused:
        metrics.duplicate_caused(told.caused)
    for one in told.twice:
        log.error("duplicate.caused", **one._asdict())
    for broadcast, reason in told.paused:
        log.warning("broadcast.paused", broadcast=broadcast, reason=reason)


def _settled(metrics: Metrics, _: Call[Any], told: Any) -> None:
    for how in ("retried", "dead", "skipped", "accepted"):
        metrics.doubt_settled(how, getattr(told, how))
    count_became(metrics, told.became)


def _swept(metrics: Metrics, _: Call[Any], told: Any) -> None:
    metrics.doubted("lease_lost", sum(doubts for *_, doubts in told))


def _rewound(metrics: Metrics, _: Call[Any], messages: int) -> None:
    metrics.doubted("other", max(0, messages))


def _skipped(metrics: Metrics, call: Call[Any], messages: int) -> None:
    metrics.skipped(skip_label(int(call.arguments[3])), messages)


def _canceled(metrics: Metrics, _: Call[Any], told: Any) -> None:
    metrics.skipped("canceled", int(told.changed))


def _opted_out(metrics: Metrics, call: Call[Any], people: int) -> None:
    if call.about:
        metrics.opted_out(call.about, people)


def _replied(metrics: Metrics, call: Call[Any], told: Any) -> None:
    if call.about:
        metrics.opted_out(call.about, int(told.new and told.changed > 0))


_COUNTED: Final[dict[str, Callable[[Metrics, Call[Any], Any], None]]] = {
    "record": _recorded,
    "settle": _settled,
    "sweep": _swept,
    "rewind": _rewound,
    "skip": _skipped,
    "cancel_message": _canceled,
    "optout": _opted_out,
    "reply": _replied,
}


def count_became(metrics: Metrics, became: Iterable[tuple[State, int, int]]) -> None:
    """Count what messages became: (state, code, how many)."""
    for state, code, count in became:
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
