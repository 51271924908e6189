"""A sender's queue: drained at its rate, full at ten hours. Virtual, so no timer runs for a message."""

from __future__ import annotations

import re
from typing import Final

_TOLL_FREE: Final = re.compile(r"\+1(?:800|833|844|855|866|877|888)\d{7}")
_NUMBER: Final = re.compile(r"\+[1-9]\d{6,14}")
_SHORT_CODE: Final = re.compile(r"\d{5,6}")
_ALPHANUMERIC: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 &+_-]{1,11}")
_WHATSAPP: Final = "whatsapp:"
SANDBOX: Final = "whatsapp:+14155238886"


def is_number(text: str) -> bool:
    """Whether the text has E.164's shape."""
    return _NUMBER.fullmatch(text) is not None


def is_short_code(text: str) -> bool:
    """Whether the text is five or six digits."""
    return _SHORT_CODE.fullmatch(text) is not None


def is_alphanumeric(text: str) -> bool:
    """Whether the text may be an alphanumeric sender ID: 1 to 11 characters, one of them a letter."""
    return _ALPHANUMERIC.fullmatch(text) is not None


def is_whatsapp(text: str) -> bool:
    """Whether the text is `whatsapp:` and a number."""
    return text.startswith(_WHATSAPP) and is_number(text[len(_WHATSAPP) :])


def is_toll_free(text: str) -> bool:
    """Whether the number is a North American toll-free one."""
    return _TOLL_FREE.fullmatch(text) is not None


def default_rate(sender: str) -> float:
    """Return the segments a second that Twilio gives a sender of this kind (help pages, 2026)."""
    if sender == SANDBOX:
        return 1 / 3
    if sender.startswith(_WHATSAPP):
        return 80.0
    if is_short_code(sender):
        return 100.0
    if not is_number(sender):
        return 10.0
    if is_toll_free(sender):
        return 3.0
    return 1.0 if sender.startswith("+1") else 10.0


class SenderQueue:
    """When each message of a sender leaves. Times are unix seconds."""

    __slots__ = ("free_at", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.free_at = 0.0

    def waiting(self, now: float) -> float:
        """Return the segments in the queue."""
        return max(0.0, self.free_at - now) * self.rate

    def full(self, now: float, segments: int, seconds: float) -> bool:
        """Whether `segments` more would make it longer than `seconds` of sending."""
        return max(0.0, self.free_at - now) + segments / self.rate > seconds

    def put(self, at: float, segments: int) -> tuple[float, float]:
        """Queue a message at that time; return when its transmission starts and ends."""
        starts = max(at, self.free_at)
        self.free_at = starts + segments / self.rate
        return starts, self.free_at

    def change_rate(self, rate: float, now: float) -> None:
        """Drain what waits at another rate from now on (times of messages already queued stay)."""
        if rate != self.rate:
            self.free_at = now + self.waiting(now) / rate
            self.rate = rate
