"""The ledger's unit: one fixed-width record per recipient.

A record is 32 bytes, big-endian, so that Lua's `struct` and Python's read the same thing::

    offset  size  field
    0       1     state in the low four bits (a `State`), spent attempts in the high four
    1       1     flags: bit 0 an MM sid (else SM), bits 1-3 an `Evidence`, bit 4 an SMS went in its
                        place, bit 5 the fallback template was accepted in place of free text, bit 6
                        somebody has canceled it, so that nothing follows by itself, bit 7 its person
                        was forgotten; with bit 4 or 7 it is never tried again
    2       1     segments: what one send costs in permits, 1 to 255
    3       2     attempt: raised by every intent, never lowered
    5       3     code: Twilio's, or an HTTP status below 1000, or one of our own `Reason`s below 100
    8       16    sid: the 128 bits behind `SM…` or `MM…`, all zero while unknown
    24      4     began: unix second of the current attempt's intent
    28      4     changed: unix second of the last change of state

(attempt, rank of state) is the record's version: see `may_follow`.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Final

RECORD_BYTES: Final = 32
MAX_SPENT: Final = 15
#: The flag of an attempt in which the fallback template went, and not the text.
BY_TEMPLATE: Final = 0x20
_LAYOUT: Final = struct.Struct(">BBBHBH16sII")
_NO_SID: Final = bytes(16)
#: Flags of a record that is never tried again.
FELL_BACK: Final = 0x10
GONE: Final = 0x80


class State(enum.IntEnum):
    """What became of one recipient. The numbers are stored; they never change meaning."""

    QUEUED = 0
    SENDING = 1
    RETRY = 2
    IN_DOUBT = 3
    ACCEPTED = 4
    SENT = 5
    DELIVERED = 6
    READ = 7
    UNDELIVERED = 8
    FAILED = 9
    DEAD = 10
    SKIPPED = 11

    @property
    def label(self) -> str:
        """The name in JSON, tables and metrics: `in_doubt`, never `IN_DOUBT`."""
        return self.name.lower()


#: What still keeps a broadcast from being completed.
OPEN_STATES: Final = frozenset({State.QUEUED, State.SENDING, State.RETRY, State.IN_DOUBT})
#: What an intent may leave from; `DEAD` only by a replay.
SENDABLE_STATES: Final = frozenset({State.QUEUED, State.RETRY})
#: Order of states within one attempt; evidence only ever moves a record up.
RANK: Final[dict[State, int]] = {
    State.QUEUED: 0,
    State.RETRY: 0,
    State.SENDING: 1,
    State.IN_DOUBT: 2,
    State.ACCEPTED: 3,
    State.SENT: 4,
    State.DELIVERED: 5,
    State.UNDELIVERED: 5,
    State.FAILED: 5,
    State.READ: 6,
    State.DEAD: 7,
    State.SKIPPED: 7,
}


class Reason(enum.IntEnum):
    """Our own codes, kept in the record's `code` where Twilio gave none."""

    NONE = 0
    OPTED_OUT = 1
    EXPIRED = 2
    CANCELED = 3
    DUPLICATE = 4
    LEASE_LOST = 5
    NO_ANSWER = 6
    NOT_SENT = 7
    BUDGET_SPENT = 8
    UNKNOWN = 9
    RENDERING = 10
    DISCARDED = 11
    REWOUND = 12
    FORGOTTEN = 13
    SCHEDULED_CANCELED = 14
    WINDOW_CLOSED = 15
    UNVERIFIED = 16


class Evidence(enum.IntEnum):
    """What a record's state rests on, kept in bits 1-3 of its flags."""

    NONE = 0
    ANSWER = 1
    CALLBACK = 2
    LIST = 3
    POLICY = 4

    @property
    def label(self) -> str:
        """The name in JSON and tables; empty for none."""
        return self.name.lower() if self else ""

    @property
    def flag(self) -> int:
        """The bits of a record's flags that say so."""
        return self.value << 1


@dataclass(frozen=True, slots=True)
class Record:
    """One recipient's line in the ledger. Times are unix seconds, 0 where nothing happened yet."""

    state: State
    segments: int
    attempt: int = 0
    spent: int = 0
    flags: int = 0
    code: int = 0
    sid: str | None = None
    began: int = 0
    changed: int = 0

    @property
    def evidence(self) -> Evidence:
        """What the state rests on."""
        return Evidence(self.flags >> 1 & 7)

    @property
    def fell_back(self) -> bool:
        """Whether an SMS went, or waits to go, in its place."""
        return bool(self.flags & FELL_BACK)

    @property
    def by_template(self) -> bool:
        """Whether the fallback template went in place of free text, as far as Twilio's answer told."""
        return bool(self.flags & BY_TEMPLATE)

    def pack(self) -> bytes:
        """Return the 32 bytes of this record."""
        raw, mm = (_NO_SID, 0) if self.sid is None else (bytes.fromhex(self.sid[2:]), self.sid[:2] == "MM")
        return _LAYOUT.pack(
            self.state | self.spent << 4,
            self.flags & 0xFE | mm,
            self.segments,
            self.attempt,
            self.code >> 16,
            self.code & 0xFFFF,
            raw,
            self.began,
            self.changed,
        )

    @classmethod
    def unpack(cls, raw: bytes, offset: int = 0) -> Record:
        """Read the record that starts at `offset` of `raw`."""
        head, flags, segments, attempt, high, low, sid, began, changed = _LAYOUT.unpack_from(raw, offset)
        return cls(
            state=State(head & 15),
            spent=head >> 4,
            flags=flags,
            segments=segments,
            attempt=attempt,
            code=high << 16 | low,
            sid=None if sid == _NO_SID else ("MM" if flags & 1 else "SM") + sid.hex(),
            began=began,
            changed=changed,
        )
