"""The silence of Twilio, as people see it: since when, and what is done meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

#: How every such reason begins; it ends by itself.
SILENCE: Final = "Twilio does not answer"


def explain_silence(since: bytes | str | None) -> str:
    """Return the reason for waiting, from the account's `silent` (unix seconds); '' while Twilio answers."""
    text = since.decode() if isinstance(since, bytes) else since
    if not text:
        return ""
    moment = datetime.fromtimestamp(float(text), UTC)
    return f"{SILENCE}: one try a second since {moment:%Y-%m-%d %H:%M:%S} UTC"
