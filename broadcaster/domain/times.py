"""Times and durations as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])(?:[a-z]*)", re.IGNORECASE)
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class TimeError(ValueError):
    """A time or duration that can't be used; the message says why and what to write instead."""


def parse_duration(text: str) -> float:
    """Return the seconds of `90m`, `2h`, `1d`, `45s`. Raises TimeError."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNIT_SECONDS[match[2].lower()] if match else 0.0
    if not seconds:
        raise TimeError(f"{text!r} is no duration: write a number and s, m, h or d, like 90m, 2h or 1d")
    return seconds


def parse_moment(text: str, zone: str | None) -> datetime:
    """Return an ISO 8601 time that has an offset, or lies in `zone` (`Europe/Berlin`).

    Raises TimeError for a time without either, and one that a clock change left out.
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise TimeError(f"{text!r} is no time: write it like 2026-11-21T18:30+01:00") from None
    if at.tzinfo is None:
        if zone is None:
            raise TimeError(f"{text!r} has no offset: add one (2026-11-21T18:30+01:00), or name its zone")
        at = at.replace(tzinfo=zone_named(zone))
        try:
            there = at.astimezone(UTC).astimezone(at.tzinfo).replace(tzinfo=None)
        except OverflowError:
            raise TimeError(f"{text!r} is beyond the times that can be reckoned with") from None
        if there != at.replace(tzinfo=None):
            raise TimeError(f"{text!r} does not exist in {zone}: the clocks are put forward then")
    return at


def zone_named(name: str) -> ZoneInfo:
    """Return the time zone of that name. Raises TimeError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise TimeError(f"there is no time zone {name!r}: name one like Europe/Berlin, or UTC") from None
