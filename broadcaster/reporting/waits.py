"""Why something does not leave now: in one word for metrics and alerts, and in words for people. No I/O.

API, command line and exporter ask here, so that they never tell different stories.
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from broadcaster.reporting.due import next_try
from broadcaster.reporting.silence import explain_silence

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_WORKER: Final = "no worker is running: start one with `broadcaster worker`"


class Wait(enum.StrEnum):
    """What the next message waits for (`telemetry/installation_metrics.py` names the same)."""

    NOTHING = "nothing"
    PACE = "pace"
    EVERYTHING_PAUSED = "everything_paused"
    ACCOUNT_STOPPED = "account_stopped"
    ACCOUNT_LIMIT = "account_limit"
    BROADCAST_PAUSED = "broadcast_paused"
    PAUSED_BY_FAILURES = "paused_by_failures"
    SENDER_PAUSED = "sender_paused"
    SENDER_REFUSED = "sender_refused"
    SENDER_HELD = "sender_held"
    QUIET_HOURS = "quiet_hours"
    RETRY = "retry"
    SETTLING = "settling"
    TWILIO_SILENT = "twilio_silent"
    NO_WORKER = "no_worker"
    REPLICAS = "replicas"
    REWINDING = "rewinding"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One reason; `words` are '' where a person needs none."""

    why: Wait
    words: str


@dataclass(frozen=True, slots=True)
class Everything:
    """What concerns all lanes: the account's fields, and who is there to send.

    `paused` is a person's reason or Twilio's; `rewind` the unix second from which writes were lost, 0: none;
    `silent` since when Twilio does not answer, as text, ''; `rate` its pace in segments a second, 0: none;
    `missing` what `missing_replicas` says. `full`: as much is in flight as Twilio takes.
    """

    paused: str = ""
    rewind: int = 0
    silent: str = ""
    rate: float = 0.0
    workers: int = 0
    missing: str = ""
    full: bool = False


@dataclass(frozen=True, slots=True)
class Sending:
    """What concerns all lanes of one broadcast. `closed` says that its hours are over, else ''.

    `stopped_itself`: it is paused, and no person did that.
    """

    state: str
    reason: str = ""
    unsent: int = 0
    in_doubt: int = 0
    rate: float | None = None
    closed: str = ""
    stopped_itself: bool = False


class LaneStanding(msgspec.Struct, frozen=True, gc=False):
    """One broadcast's share of a lane, and the lane. `hold` and `first_retry` are µs, 0: none.

    `ahead`: there is something that was never tried. Without it and a retry nothing is left to give.
    """

    rate: float = 0.0
    paused: str = ""
    hold: float = 0.0
    hold_reason: str = ""
    ahead: bool = False
    first_retry: float = 0.0


def stopped_by(paused: str, rewind_since: int) -> str:
    """Say what stops everything, from the account's fields; "" if nothing does."""
    stop = _stop(paused, rewind_since)
    return stop.words if stop else ""


def refused_by_twilio(paused: str) -> bool:
    """Tell whether a code of Twilio's stopped everything or a sender (`workers/reactions.py`), no person."""
    code, colon, _ = paused.partition(": ")
    return bool(colon) and code.isdigit()


def _stop(paused: str, rewind_since: int) -> Waiting | None:
    if rewind_since:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(rewind_since))
        words = f"Redis lost what was written from {since} on: what is unsent is being put in doubt first"
        return Waiting(Wait.REWINDING, words)
    if not paused:
        return None
    why = Wait.ACCOUNT_STOPPED if refused_by_twilio(paused) else Wait.EVERYTHING_PAUSED
    return Waiting(why, f"everything is stopped: {paused}")


def stops_everything(everything: Everything) -> Waiting | None:
    """Return what keeps every lane from sending, whatever it has; None if nothing does."""
    stop = _stop(everything.paused, everything.rewind)
    if stop is None and everything.missing:
        return Waiting(Wait.REPLICAS, everything.missing)
    return stop


def stops_all(everything: Everything, sending: Sending) -> Waiting | None:
    """Return what all lanes of a broadcast wait for alike, come what may; None if each has its own reason."""
    if sending.state == "paused":
        why = Wait.PAUSED_BY_FAILURES if sending.stopped_itself else Wait.BROADCAST_PAUSED
        return Waiting(why, f"the broadcast is paused: {sending.reason}")
    return stops_everything(everything)


def lacks(everything: Everything, sending: Sending) -> Waiting | None:
    """Return what every lane lacks that nobody has paused; None if that is nothing."""
    if not sending.unsent:
        return None
    if not everything.workers:
        return Waiting(Wait.NO_WORKER, NO_WORKER)
    if everything.silent:
        return Waiting(Wait.TWILIO_SILENT, explain_silence(everything.silent))
    return None


def moves(lane: LaneStanding, now: float) -> bool:
    """Tell whether a lane counts for the forecast: not stopped, nor left with retries far away."""
    return not lane.paused and not _held(lane, now) and not _later(lane, now)


def lane_waits(everything: Everything, sending: Sending, lane: LaneStanding, now: float) -> Waiting | None:
    """Return why a broadcast's next message on a lane does not leave; None where nothing is left to give."""
    if not lane.ahead and not lane.first_retry:
        return None
    stop = _stops_lane(everything, sending, lane, now)
    if stop is not None:
        return stop
    words = _later(lane, now) or (_pace(lane.rate, sending.rate) if sending.unsent else "")
    if not lane.ahead and lane.first_retry > now * 1e6:
        return Waiting(Wait.RETRY, words)
    limited = everything.full or _account_binds(everything, lane, sending)
    return Waiting(Wait.ACCOUNT_LIMIT if limited else Wait.PACE, words)


def _stops_lane(everything: Everything, sending: Sending, lane: LaneStanding, now: float) -> Waiting | None:
    if lane.paused:
        why = Wait.SENDER_REFUSED if refused_by_twilio(lane.paused) else Wait.SENDER_PAUSED
        return Waiting(why, f"paused: {lane.paused}")
    if lacking := lacks(everything, sending):
        return lacking
    if held := _held(lane, now):
        return Waiting(Wait.SENDER_HELD, held)
    return Waiting(Wait.QUIET_HOURS, sending.closed) if sending.closed else None


def broadcast_waits(
    everything: Everything, sending: Sending, lanes: Iterable[LaneStanding], now: float
) -> Wait:
    """Return why the next message of a broadcast does not leave; its lane that goes first says it."""
    if sending.unsent and (stop := stops_all(everything, sending)):
        return stop.why
    found: Wait | None = None
    for lane in lanes:
        waiting = lane_waits(everything, sending, lane, now)
        if waiting is None:
            continue
        if waiting.why in (Wait.PACE, Wait.ACCOUNT_LIMIT):
            return waiting.why
        if found is None or _NEARER.index(waiting.why) < _NEARER.index(found):
            found = waiting.why
    if found is not None:
        return found
    lacking = lacks(everything, sending)
    if lacking:
        return lacking.why
    return Wait.SETTLING if sending.in_doubt and not sending.unsent else Wait.NOTHING


#: What ends by itself, and sooner, is told of first.
_NEARER: Final = (
    Wait.RETRY,
    Wait.TWILIO_SILENT,
    Wait.SENDER_HELD,
    Wait.QUIET_HOURS,
    Wait.NO_WORKER,
    Wait.SENDER_PAUSED,
    Wait.SENDER_REFUSED,
)


def _account_binds(everything: Everything, lane: LaneStanding, sending: Sending) -> bool:
    """Tell whether the account's pace is below every other one that counts here."""
    others = [rate for rate in (lane.rate, sending.rate) if rate]
    return 0 < everything.rate < min(others, default=0.0)


def _held(lane: LaneStanding, now: float) -> str:
    """Say for how long a lane is held, and why; "" if it isn't."""
    left = lane.hold / 1e6 - now
    return f"held for {left:.0f} s: {lane.hold_reason}" if left > 0 else ""


def _later(lane: LaneStanding, now: float) -> str:
    if lane.ahead:
        return ""
    return next_try([(b"", lane.first_retry)] if lane.first_retry else [], now)


def _pace(rate: float, own: float | None) -> str:
    """Say which pace holds messages back: the lane's, or the broadcast's `own`."""
    if own and own < (rate or own):
        return f"the broadcast's pace of {own:g}/s"
    return f"its pace of {rate:g}/s" if rate else ""
