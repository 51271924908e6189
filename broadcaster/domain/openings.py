"""The next openings of a send window as the ledger's scripts read them, and what follows from them.

Lua knows no time zones, so a broadcast with a window carries its next openings as text,
`from:to,from:to,…` in unix seconds (`opens_at` in prelude.lua); workers keep them ahead.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from broadcaster.domain.handing import Handing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.domain.send_window import SendWindow

    #: When messages of a broadcast may leave.
    Hours = SendWindow | Handing

#: So many are kept: with nobody there to renew them nothing leaves after the last.
KEPT: Final = 3


def openings_text(window: Hours, now: float) -> str:
    """Return the openings that are kept at `now` (unix seconds), the one that it lies in first."""
    return ",".join(f"{begin}:{end}" for begin, end in islice(window.openings(now), KEPT))


def read_openings(text: str) -> list[tuple[int, int]]:
    """Return what `openings_text` wrote."""
    pairs = (part.split(":") for part in text.split(",") if part)
    return [(int(begin), int(end)) for begin, end in pairs]


def opens_at(window: Hours, now: float) -> int | None:
    """Return when a window opens next; None while it is open."""
    begin, _ = next(window.openings(now))
    return begin if begin > now else None


def closed_words(window: Hours, opens: int) -> str:
    """Say that a broadcast waits for its window, and until when, in the window's own zone."""
    if isinstance(window, Handing):
        if window.window is None or opens == window.begins:
            at = datetime.fromtimestamp(opens, UTC)
            return (
                "Twilio takes messages up to 15 minutes ahead of their time: what is left goes by itself "
                f"on {at:%Y-%m-%d %H:%M} UTC"
            )
        window = window.window
    begins, ends = (f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (window.begins, window.ends))
    there = datetime.fromtimestamp(opens, ZoneInfo(window.zone))
    return (
        f"outside its send window {begins}\N{EN DASH}{ends} {window.zone}: "
        f"goes on {there:%Y-%m-%d %H:%M} {_offset(there)}"
    )


def never_open(window: Hours, begins: float, expires: float) -> bool:
    """Whether a broadcast that begins at `begins` surely expires before its window opens."""
    opens, _ = next(window.openings(begins))
    return opens >= expires


def ends_by(openings: Iterable[tuple[int, int]], now: float, seconds: float) -> float | None:
    """Return how long `seconds` of sending take from `now` on, closed hours included.

    None where that is beyond the openings that are given.
    """
    for begin, end in openings:
        starts = max(begin, now)
        if end - starts >= seconds:
            return starts - now + seconds
        seconds -= max(0.0, end - starts)
    return None


def _offset(at: datetime) -> str:
    """Return `-05`, `+05:30`."""
    text = at.strftime("%z")
    return text[:3] if text[3:5] == "00" else f"{text[:3]}:{text[3:5]}"
