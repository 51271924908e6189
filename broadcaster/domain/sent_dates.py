"""Days and times that Twilio's list is narrowed to, as people write them and as Twilio takes them."""

from __future__ import annotations

import re
from datetime import UTC, date
from typing import Final

from broadcaster.domain.times import TimeError, parse_moment

_is_day: Final = re.compile(r"\d{4}-\d\d-\d\d").fullmatch


def read_day(text: str) -> str:
    """Return a day of Twilio's calendar, which is GMT's. Raises TimeError."""
    text = text.strip()
    try:
        if _is_day(text):
            return date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    raise TimeError(f"{text!r} is no day: write it like 2026-11-21 (Twilio's days are GMT's)")


def read_sent(text: str) -> str:
    """Return a day, or a time with an offset in GMT to the second. Raises TimeError."""
    if _is_day(text.strip()):
        return read_day(text)
    return parse_moment(text, None).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
