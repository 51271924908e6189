"""Ending doubt: evidence of acceptance from wherever it comes, or the policy where there is none.

Every settlement is a compare-and-set on (in doubt, attempt), so it may be tried twice and by several.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from broadcaster.domain.record import State
from broadcaster.ledger.recording import Recorded, Result, Results, record, states_of
from broadcaster.store.scripts import Call, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.domain.record import Evidence

SETTLER = "settler"


class Found(NamedTuple):
    """A message that evidence shows to be with Twilio.

    `state` is `accepted` or what is known beyond that; `sid` is SM… or MM….
    """

    lane: str
    broadcast: str
    batch: str
    row: int
    attempt: int
    sid: str
    state: State = State.ACCEPTED
    code: int = 0


class Verdict(NamedTuple):
    """A doubt without evidence of acceptance.

    `changed` is the record's, as it was judged; `absent`: the list proves that Twilio has no such message;
    `hold`: it may not be sent again whatever the list says.
    """

    lane: str
    broadcast: str
    batch: str
    row: int
    attempt: int
    changed: int
    absent: bool
    hold: bool


class Settled(NamedTuple):
    """How many doubts ended how, broadcasts that this completed, and the (state, code) of what ended."""

    retried: int
    dead: int
    skipped: int
    accepted: int
    completed: list[str]
    became: Sequence[tuple[State, int, int]] = ()


def accept(found: Sequence[Found], evidence: Evidence) -> Call[Recorded]:
    """Write that messages are with Twilio: the hook for status callbacks, and for the list.

    Ends doubt, a waiting retry, and a dead letter of reason `unknown`; about an attempt that a newer one has
    followed it is a duplicate we caused (`Recorded.twice`).
    """
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for one in found:
        flags = evidence.flag | (one.sid[0] == "M")
        groups.setdefault((one.lane, one.broadcast, one.batch), []).append(
            Result(one.row, one.attempt, one.state, one.code, bytes.fromhex(one.sid[2:]), flags, 0, 0, 0)
        )
    return record(SETTLER, [Results(*at, outcomes) for at, outcomes in groups.items()])


def settle(verdicts: Sequence[Verdict], max_attempts: int) -> Call[Settled]:
    """End doubts without evidence: resend, dead letter, or skipped where the broadcast is over."""
    groups: dict[tuple[str, str, str], list[Any]] = {}
    for v in verdicts:
        groups.setdefault((v.lane, v.broadcast, v.batch), []).append(
            [v.row, v.attempt, v.changed, int(v.absent), int(v.hold)]
        )
    return Call("settle", (max_attempts, packed([[*at, vs] for at, vs in groups.items()])), _settled)


def _settled(reply: bytes) -> Settled:
    retried, dead, skipped, accepted, completed, became = unpacked(reply)
    done = (int(retried), int(dead), int(skipped), int(accepted))
    return Settled(*done, [_str(bid) for bid in completed], states_of(became))


def _str(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
