"""Outcomes that concern more than their own message: stops, holds and opt-outs, as script calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from broadcaster.lanes import control
from broadcaster.ledger.optouts import refused_by
from broadcaster.ledger.outcomes import Stop
from broadcaster.twilio.codes import meaning

if TYPE_CHECKING:
    from broadcaster.store.scripts import Call
    from workers.outgoing import Signal
    from workers.posting import Poster

log = structlog.get_logger("reactions")


_REMEDY: Final = (
    "nothing is lost: put right what the code says (for 20003 the credentials, then restart), "
    "then `broadcaster resume`"
)


def reactions(poster: Poster) -> list[Call[Any]]:
    """Take the poster's signals; return the calls that answer them, each once."""
    signals, poster.signals = poster.signals, []
    calls: dict[tuple[str, tuple[Any, ...]], Call[Any]] = {}
    for signal in signals:
        call = _reaction(signal)
        if call is not None:
            calls[call.script, call.arguments] = call
    return list(calls.values())


def _reaction(signal: Signal) -> Call[Any] | None:
    decision, lane = signal.decision, signal.lane
    reason = f"{decision.code}: {meaning(decision.code)}"
    match decision.stop:
        case Stop.ACCOUNT:
            log.error("account.stopped", reason=reason, remedy=_REMEDY)
            return control.pause_account(reason)
        case Stop.LANE:
            log.error("lane.stop", lane=lane, reason=reason)
            return control.pause_lane(lane, reason)
        case Stop.HOLD_LANE:
            log.warning("lane.hold", lane=lane, seconds=decision.stop_seconds, reason=reason)
            return control.hold_lane(lane, decision.stop_seconds, reason)
        case Stop.NOTHING:
            return refused_by(lane, signal.address, decision.code) if decision.opts_out else None
