"""Writing outcomes: many at once, each compared with the record it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from broadcaster.store.scripts import Call, packed, unpacked

if TYPE_CHECKING:
    from broadcaster.domain.record import State


class Result(NamedTuple):
    """One message's outcome as the script wants it.

    `sid` is 16 raw bytes or b'', `delay_us` until a retry is due.
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


class Results(NamedTuple):
    """Outcomes of one batch."""

    lane: str
    broadcast: str
    batch: str
    outcomes: list[Result]


class Recorded(NamedTuple):
    """What writing changed.

    Records, duplicates we are found to have caused, broadcasts it paused (id, reason) or completed.
    """

    changed: int
    caused: int
    paused: list[tuple[str, str]]
    completed: list[str]


def record(worker: str, results: list[Results]) -> Call[Recorded]:
    """Write outcomes. Never refused for a lost claim; a second time changes nothing."""
    return Call("record", (worker, packed(results)), _recorded)


def _recorded(reply: bytes) -> Recorded:
    changed, caused, paused, completed = unpacked(reply)
    told = [(_str(broadcast), _str(reason)) for broadcast, reason in paused]
    return Recorded(int(changed), int(caused), told, [_str(broadcast) for broadcast in completed])


def _str(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
