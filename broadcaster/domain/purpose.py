"""What a message is for, and on what consent it rests."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Final

import msgspec

from broadcaster.domain.times import TimeError, parse_moment


class Purpose(enum.StrEnum):
    """Why somebody is written to. Opt-outs may concern one purpose only; marketing needs consent."""

    EMERGENCY = "emergency"
    UTILITY = "utility"
    MARKETING = "marketing"
    AUTHENTICATION = "authentication"


#: The column that holds the consent of single messages; no variable of a text is called so.
CONSENT_GIVEN: Final = "consent given"


class Consent(msgspec.Struct, frozen=True):
    """Where and when (unix seconds) all recipients of a list agreed to be written to."""

    source: str
    at: float

    def __str__(self) -> str:
        """Return it as it is exported with each message: `webform,2026-01-31T09:30:00+00:00`."""
        return f"{self.source},{datetime.fromtimestamp(self.at, UTC).isoformat(timespec='seconds')}"


def parse_consent(text: str, zone: str | None = None) -> Consent:
    """Return the consent of `SOURCE,TIME`; a date alone is its first moment in UTC. Raises TimeError."""
    source, comma, moment = text.rpartition(",")
    if not comma or not source.strip():
        raise TimeError(f"{text!r} is no consent: write where and when it was given, like webform,2026-01-31")
    return Consent(source.strip(), read_consent_time(moment, zone))


def read_consent_time(moment: str, zone: str | None = None) -> float:
    """Return the unix second at which consent was given, which is not to come. Raises TimeError."""
    bare = moment.strip()
    at = parse_moment(bare, zone or "UTC")
    if at > datetime.now(UTC):
        raise TimeError(f"{bare!r} is yet to come: consent is given before anybody is written to")
    return at.timestamp()
