"""Terms of an order that come from more than one place: hours, and consent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broadcaster.domain.broadcast import Priority
from broadcaster.domain.send_window import parse_window
from broadcaster.domain.times import TimeError

if TYPE_CHECKING:
    from broadcaster.domain.send_window import SendWindow
    from broadcaster.settings import Settings

CONSENT_MISSING: Final = (
    "marketing goes only to people who agreed to it: say where and when with --consent SOURCE,TIME, "
    "or in which column of the list it stands with --consent-column COLUMN"
)


def window_of(
    settings: Settings, hours: str | None, zone: str | None, priority: Priority, *, ignored: bool
) -> SendWindow | None:
    """Return when a broadcast may be sent, None for always: as named, else as set for all. Raises TimeError.

    Only an urgent one may have it `ignored`, and only by its own word.
    """
    if ignored:
        if priority is not Priority.URGENT:
            raise TimeError(f"only an urgent broadcast may go at any hour, and this one is {priority}")
        if hours is not None:
            raise TimeError("--send-window and --ignore-window exclude each other: keep one of them")
        return None
    if hours is not None:
        return parse_window(hours, zone)
    return None if settings.send_window is None else parse_window(settings.send_window)
