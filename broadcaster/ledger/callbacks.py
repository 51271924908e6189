"""What Twilio tells of messages that it has taken: many statuses are written in one round trip.

They come in any order, more than once, before our own 201 was written or weeks later, and about attempts that
newer ones have followed: record.lua merges them by (attempt, rank), and a second time changes nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from broadcaster.domain.record import Evidence, Reason, State
from broadcaster.ledger.recording import Recorded, Result, Results, record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.store.scripts import Call

#: Who wrote it, as a message's history has it.
TELLER: Final = "callback"
#: Twilio's words (docs: messaging/guides/track-outbound-message-status).
STATES: Final[dict[str, State]] = {
    "queued": State.ACCEPTED,
    "accepted": State.ACCEPTED,
    "scheduled": State.ACCEPTED,
    "sending": State.ACCEPTED,
    "sent": State.SENT,
    "delivered": State.DELIVERED,
    "partially_delivered": State.DELIVERED,
    "read": State.READ,
    "undelivered": State.UNDELIVERED,
    "failed": State.FAILED,
    "canceled": State.SKIPPED,
}
_FAILED: Final = (State.UNDELIVERED, State.FAILED)
#: What a record has room for.
_CODE_BITS: Final = 24
_is_sid: Final = re.compile(r"[SM]M[0-9a-fA-F]{32}").fullmatch


class Status(NamedTuple):
    """What became of one attempt: `status` is Twilio's word, `code` its error code, 0 without one.

    `batch` is `LANE.BATCH`, `sid` SM… or MM….
    """

    broadcast: str
    batch: str
    row: int
    attempt: int
    sid: str
    status: str
    code: int = 0


def is_sid(text: str) -> bool:
    """Whether this is the SID of a message."""
    return _is_sid(text) is not None


def code_of(text: str) -> int:
    """Return an error code; 0 for what is none that a record can hold."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(1 << _CODE_BITS)):
        return 0
    code = int(text)
    return code if code < 1 << _CODE_BITS else 0


def write_statuses(
    statuses: Iterable[Status], evidence: Evidence = Evidence.CALLBACK, teller: str = TELLER
) -> Call[Recorded]:
    """Write statuses into the ledger; `evidence` says whether Twilio told us or we asked.

    Words that are not Twilio's change nothing. Failed deliveries with a code are left to a worker in the same
    step, for what follows from them (opt-outs, stops, sending again). Raises ValueError for what is no SID.
    """
    groups: dict[tuple[str, str], list[Result]] = {}
    known_by = evidence.flag
    for status in statuses:
        state = STATES.get(status.status)
        if state is None:
            continue
        sid = status.sid
        if not is_sid(sid):
            raise ValueError("a status needs the SID of its message")
        code = follow = 0
        if state in _FAILED:
            code = status.code if 0 <= status.code < 1 << _CODE_BITS else 0
            follow = int(code > 0)
        elif state is State.SKIPPED:
            code = Reason.SCHEDULED_CANCELED
        flags = known_by | (sid[0] == "M")
        groups.setdefault((status.broadcast, status.batch), []).append(
            Result(status.row, status.attempt, state, code, bytes.fromhex(sid[2:]), flags, 0, 0, 0, follow)
        )
    for outcomes in groups.values():
        # older attempts first: what is known of a newer one may depend on them
        outcomes.sort(key=_attempt)
    return record(teller, [Results("", *at, outcomes) for at, outcomes in groups.items()])


def _attempt(result: Result) -> int:
    return result.attempt
