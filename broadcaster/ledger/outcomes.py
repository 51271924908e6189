"""From the end of a POST to the line in the ledger: five kinds of outcome, one decision each.

| kind | becomes | spends an attempt | also |
|---|---|---|---|
| accepted | `accepted` | | |
| throttled, not sent | `retry` | no | slows the account or holds the lane |
| rejected, transient | `retry`, at the end of the budget `dead` | yes | |
| rejected, permanent | `dead` | yes | an opt-out code adds an opt-out |
| rejected, about the sender or account | `retry` | no | stops the lane, or everything |
| rejected, about the content | `dead` | yes | twenty in a row pause the broadcast |
| unknown | `in_doubt` | yes | |
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass
from typing import Final

from broadcaster.domain.failures import Kind, Outcome, Remedy
from broadcaster.domain.record import Reason, State
from broadcaster.domain.resending import SOON

#: What a full queue at Twilio waits when Twilio names no time: it drains at the sender's pace, over hours.
QUEUE_FULL_SECONDS: Final = 180.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a transient failure is tried again. Delays in seconds, full jitter."""

    max_attempts: int = 5
    base_seconds: float = 2.0
    cap_seconds: float = 600.0

    def delay(self, tries: int, draw: float) -> float:
        """Return the wait after the `tries`-th failure; `draw` in [0, 1) spreads a crowd of retries."""
        ceiling = min(self.cap_seconds, self.base_seconds * 2.0 ** min(tries, 20))
        return max(0.05, ceiling * draw)


class Stop(enum.StrEnum):
    """What else has to stop because of an outcome."""

    NOTHING = "nothing"
    LANE = "lane"
    HOLD_LANE = "hold_lane"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one message, and what its outcome says about others."""

    state: State
    code: int = 0
    spends: bool = False
    delay_seconds: float = 0.0
    stop: Stop = Stop.NOTHING
    stop_seconds: float = 0.0
    opts_out: bool = False
    about_content: bool = False


def decide(
    outcome: Outcome,
    remedy: Remedy,
    *,
    spent: int,
    tries: int,
    policy: RetryPolicy,
    draw: float | None = None,
) -> Decision:
    """Decide what one outcome means.

    `spent` counts the attempts of this message that went against its budget before this one, `tries` all of
    them. `remedy` is what the outcome's code is about (`twilio.codes.lookup`). Pure: `draw` is the jitter.
    """
    draw = random.random() if draw is None else draw  # noqa: S311 - jitter, not a secret
    match outcome.kind:
        case Kind.ACCEPTED:
            return Decision(State.ACCEPTED)
        case Kind.THROTTLED | Kind.NOT_SENT:
            return _try_again(outcome, remedy, tries, policy, draw)
        case Kind.UNKNOWN:
            return Decision(
                State.IN_DOUBT, outcome.code or outcome.http_status or Reason.NO_ANSWER, spends=True
            )
        case Kind.REJECTED:
            return _rejected(outcome, remedy, spent, policy, draw)


def _try_again(outcome: Outcome, remedy: Remedy, tries: int, policy: RetryPolicy, draw: float) -> Decision:
    code = outcome.code or outcome.http_status or Reason.NOT_SENT
    wait = max(outcome.retry_after_seconds or 0.0, policy.delay(min(tries, 6), draw))
    if remedy is Remedy.QUEUE_FULL:
        hold = outcome.retry_after_seconds or QUEUE_FULL_SECONDS
        return Decision(State.RETRY, code, delay_seconds=hold, stop=Stop.HOLD_LANE, stop_seconds=hold)
    if remedy is Remedy.ACCOUNT:
        return Decision(State.RETRY, code, delay_seconds=wait, stop=Stop.ACCOUNT)
    return Decision(State.RETRY, code, delay_seconds=wait)


def _rejected(  # noqa: C901, PLR0911 - a table: one decision for each remedy
    outcome: Outcome, remedy: Remedy, spent: int, policy: RetryPolicy, draw: float
) -> Decision:
    code = outcome.code or outcome.http_status
    match remedy:
        case Remedy.ACCOUNT:
            return Decision(State.RETRY, code, stop=Stop.ACCOUNT)
        case Remedy.SENDER:
            return Decision(State.RETRY, code, stop=Stop.LANE)
        case Remedy.QUEUE_FULL:
            hold = outcome.retry_after_seconds or QUEUE_FULL_SECONDS
            return Decision(State.RETRY, code, delay_seconds=hold, stop=Stop.HOLD_LANE, stop_seconds=hold)
        case Remedy.SLOW_ACCOUNT:
            wait = max(outcome.retry_after_seconds or 0.0, policy.delay(spent + 1, draw))
            return Decision(State.RETRY, code, delay_seconds=wait)
        case Remedy.RETRY:
            least, most = SOON.get(code, (0.0, policy.max_attempts))
            if spent >= min(most, policy.max_attempts - 1):
                return Decision(State.DEAD, code, spends=True)
            wait = max(outcome.retry_after_seconds or least, policy.delay(spent + 1, draw))
            return Decision(State.RETRY, code, spends=True, delay_seconds=wait)
        case Remedy.UNKNOWN:
            return Decision(State.IN_DOUBT, code, spends=True)
        case Remedy.OPT_OUT:
            return Decision(State.DEAD, code, spends=True, opts_out=True)
        case Remedy.CONTENT:
            return Decision(State.DEAD, code, spends=True, about_content=True)
        case Remedy.RECIPIENT:
            return Decision(State.DEAD, code, spends=True)
