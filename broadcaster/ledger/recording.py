"""Writing outcomes: many at once, each compared with the record it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from broadcaster.domain.record import State
from broadcaster.store.scripts import Call, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What record.lua puts before a code, to tell of a state and a code in one number.
_STATE: Final = 1 << 24


class Result(NamedTuple):
    """One message's outcome as the script wants it.

    `sid` is 16 raw bytes or b'', `delay_us` until a retry is due. `follow`: a failed delivery that something
    follows from, which a worker sees to.
    """

    row: int
    attempt: int
    state: State
    code: int
    sid: bytes
    flags: int
    spend: int
    delay_us: int
    content: int
    follow: int = 0


class Results(NamedTuple):
    """Outcomes of one batch. `lane` may be "" where it isn't known."""

    lane: str
    broadcast: str
    batch: str
    outcomes: list[Result]


class Twice(NamedTuple):
    """A recipient whom two messages were sent in place of one: the attempt that evidence tells of (`sid`), and the
    one that the record holds (`other`; its SID is None while unknown)."""

    broadcast: str
    batch: str
    row: int
    attempt: int
    sid: str | None
    other: int
    other_sid: str | None


class Recorded(NamedTuple):
    """What writing changed.

    Records, duplicates we are found to have caused (`twice`), broadcasts it paused (id, reason) or completed; and of
    how many outcomes there is no record any more. `became` counts records by the (state, code) they went to,
    retries, acceptance and `sent` left out; `heard_after` those of which a callback told first, by the whole
    seconds since their POST.
    """

    changed: int
    twice: list[Twice]
    paused: list[tuple[str, str]]
    completed: list[str]
    missing: int = 0
    became: Sequence[tuple[State, int, int]] = ()
    heard_after: Sequence[tuple[int, int]] = ()

    @property
    def caused(self) -> int:
        """How many duplicates we are found to have caused."""
        return len(self.twice)


def record(worker: str, results: list[Results]) -> Call[Recorded]:
    """Write outcomes. Never refused for a lost claim; a second time changes nothing."""
    return Call("record", (worker, packed(results)), _recorded)


def _recorded(reply: bytes) -> Recorded:
    changed, twice, paused, completed, missing, became, heard = unpacked(reply)
    return Recorded(
        int(changed),
        [
            Twice(bid, batch, row, attempt, sid or None, other, other_sid or None)
            for bid, batch, row, attempt, sid, other, other_sid in twice
        ],
        [(_str(broadcast), _str(reason)) for broadcast, reason in paused],
        [_str(broadcast) for broadcast in completed],
        int(missing),
        states_of(became),
        _pairs(heard),
    )


def states_of(flat: list[int]) -> list[tuple[State, int, int]]:
    """Read counts of records by the (state, code) they went to, as scripts tell them."""
    return [(State(kind // _STATE), kind % _STATE, n) for kind, n in _pairs(flat)]


def _pairs(flat: list[int]) -> list[tuple[int, int]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _str(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
