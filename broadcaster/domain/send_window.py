"""When a broadcast may be sent: daily hours in a time zone, and the openings that follow from them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import msgspec

from broadcaster.domain.times import TimeError, zone_named

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOURS: Final = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)\s*[-\u2013]\s*([01]?\d|2[0-4]):([0-5]\d)")
_DAY_MINUTES: Final = 24 * 60


class SendWindow(msgspec.Struct, frozen=True):
    """Daily hours: `begins` and `ends` are minutes after midnight in `zone`.

    One that ends earlier than it begins goes over midnight. It is never empty and never the whole day.
    """

    begins: int
    ends: int
    zone: str

    def __str__(self) -> str:
        """Return it as it is written: `09:00-20:00 America/Lima`."""
        return f"{_clock(self.begins)}-{_clock(self.ends)} {self.zone}"

    def openings(self, after: float) -> Iterator[tuple[int, int]]:
        """Yield (from, to) in unix seconds, without end: the one that `after` lies in first, else the next.

        What lies in an hour that clocks skip comes an hour later; an hour that comes twice counts whole.
        """
        zone = ZoneInfo(self.zone)
        day = datetime.fromtimestamp(after, zone).date() - timedelta(days=2)
        while True:
            begin, end = self._on(day, zone)
            day += timedelta(days=1)
            if end > after and end > begin:
                yield begin, end

    def _on(self, day: date, zone: ZoneInfo) -> tuple[int, int]:
        last = day + timedelta(days=1) if self.ends <= self.begins else day
        ends = (_second(last, self.ends, zone, fold=fold) for fold in (0, 1))
        return _second(day, self.begins, zone, fold=0), max(ends)


def parse_window(hours: str, zone: str | None = None) -> SendWindow:
    """Return the window of `09:00-20:00`, whose zone is named beside it or behind it. Raises TimeError."""
    written, _, behind = hours.strip().partition(" ")
    match = _HOURS.fullmatch(written)
    if match is None:
        raise TimeError(f"{hours!r} is no window: write it like 09:00-20:00")
    name = behind.strip() or zone
    if not name:
        raise TimeError(f"{hours!r} has no time zone: name one like America/Lima")
    if behind.strip() and zone and zone != behind.strip():
        raise TimeError(f"{hours!r} names another zone than {zone}: keep one of them")
    begins, ends = (int(match[at]) * 60 + int(match[at + 1]) for at in (1, 3))
    if begins >= _DAY_MINUTES or ends > _DAY_MINUTES or begins == ends % _DAY_MINUTES:
        raise TimeError(f"{hours!r} is no part of a day: leave it out to send at any time")
    return SendWindow(begins, ends % _DAY_MINUTES, zone_named(name).key)


def _second(day: date, minutes: int, zone: ZoneInfo, *, fold: int) -> int:
    there = datetime.combine(day, time(minutes // 60, minutes % 60, fold=fold), tzinfo=zone)
    return int(there.astimezone(UTC).timestamp())


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
