"""The parameters that all messages of a broadcast on one lane have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broadcaster.domain.create_message import option_pairs

if TYPE_CHECKING:
    from broadcaster.domain.broadcast import BroadcastSpec

VALIDITY: Final = "ValidityPeriod"


def shared_pairs(spec: BroadcastSpec, lane: str) -> list[tuple[str, str]]:
    """Return them; of a broadcast that expires, how long Twilio may try is each message's own."""
    pairs: list[tuple[str, str]] = []
    if lane.startswith("MG"):
        pairs.append(("MessagingServiceSid", lane))
    else:
        if spec.messaging_service_sid:
            pairs.append(("MessagingServiceSid", spec.messaging_service_sid))
        pairs.append(("From", lane))
    content = spec.content
    pairs += [("MediaUrl", url) for url in content.media_urls]
    if content.content_sid and not content.languages:  # else each recipient's is in the rest of the form
        pairs.append(("ContentSid", content.content_sid))
    expires = spec.expires_at is not None
    pairs += [pair for pair in option_pairs(content.options) if not (expires and pair[0] == VALIDITY)]
    return pairs
