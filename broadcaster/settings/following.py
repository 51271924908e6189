"""Settings of what comes after the acceptance: final states that nobody reports, deliveries that fail."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field
from pydantic_settings import BaseSettings

from broadcaster.domain import settings_rules as rules
from broadcaster.domain.settings_types import Seconds, text

_WITH_CALLBACKS_SECONDS: Final = 3600.0
_WITHOUT_SECONDS: Final = 60.0


class FollowingSettings(BaseSettings):
    """What is set about following messages up."""

    poll_after_seconds: Seconds | None = None
    """Silence after which Twilio is asked what became of a message; 3600 with a public URL, else 60."""
    poll_rate: Annotated[float, Field(gt=0, le=1000)] = 20.0
    """Messages a second that Twilio is asked for one by one; many are read from its list."""
    poll_until_hours: Annotated[int, Field(ge=1, le=1000)] = 72
    """Hours after which a message without a final state isn't asked for any more."""
    resend_codes: Annotated[str | None, text(rules.resend_codes)] = None
    """Delivery failures that are sent again by themselves, 30001,30003: it may come twice, but by 30001."""

    @property
    def resent_codes(self) -> frozenset[int]:
        """The codes of `resend_codes`."""
        return frozenset(int(code) for code in (self.resend_codes or "").split(",") if code)

    def poll_after(self, public_url: str | None) -> float:
        """Return the seconds without news after which Twilio is asked; callbacks make that rare."""
        if self.poll_after_seconds is not None:
            return self.poll_after_seconds
        return _WITHOUT_SECONDS if public_url is None else _WITH_CALLBACKS_SECONDS
