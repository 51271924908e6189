"""Writing outcomes: many at once, each compared with the record it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import structlog

from broadcaster.store.scripts import Call, packed, unpacked

if TYPE_CHECKING:
    from broadcaster.domain.record import State
    from broadcaster.telemetry.metrics import Metrics

log = structlog.get_logger("ledger")


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


class Recorded(NamedTuple):
    """What writing changed.

    Records, duplicates we are found to have caused, broadcasts it paused (id, reason) or completed; and of
    how many outcomes there is no record any more.
    """

    changed: int
    caused: int
    paused: list[tuple[str, str]]
    completed: list[str]
    missing: int = 0

    def report(self, metrics: Metrics) -> None:
        """Count and log what somebody should know of."""
        if self.caused:
            metrics.duplicate_caused(self.caused)
            log.error("duplicate.caused", count=self.caused)
        for broadcast, reason in self.paused:
            log.warning("broadcast.paused", broadcast=broadcast, reason=reason)


def record(worker: str, results: list[Results]) -> Call[Recorded]:
    """Write outcomes. Never refused for a lost claim; a second time changes nothing."""
    return Call("record", (worker, packed(results)), _recorded)


def _recorded(reply: bytes) -> Recorded:
    changed, caused, paused, completed, missing = unpacked(reply)
    told = [(_str(broadcast), _str(reason)) for broadcast, reason in paused]
    return Recorded(
        int(changed), int(caused), told, [_str(broadcast) for broadcast in completed], int(missing)
    )


def _str(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
