"""What parameters of Create Message change of what Twilio's list shows of a message (design: "In doubt").

A message whose body may be shown otherwise must never be excluded by its body, and one whose recipient may be
must never be taken for absent: it is held. So a parameter that this doesn't know counts as changing both.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.domain.content import Content


class Shown(enum.Flag):
    """What may be shown otherwise than it was sent."""

    AS_SENT = 0
    OTHER_BODY = enum.auto()
    OTHER_ADDRESS = enum.auto()


_BOTH: Final = Shown.OTHER_BODY | Shown.OTHER_ADDRESS
#: Every parameter (Twilio's OpenAPI file of 2010-04-01).
SHOWN: Final[dict[str, Shown]] = {
    **dict.fromkeys(("To", "From", "MessagingServiceSid"), Shown.AS_SENT),  # what is compared
    "Body": Shown.AS_SENT,  # but for a trial's prefix and smart encoding: see body_likeness
    "SmartEncoded": Shown.AS_SENT,
    # media: a service's converter may put links in their place
    **dict.fromkeys(("MediaUrl", "SendAsMms", "PersistentAction"), Shown.OTHER_BODY),
    **dict.fromkeys(("ContentSid", "ContentVariables"), Shown.OTHER_BODY),  # Twilio makes the text
    "ShortenUrls": Shown.OTHER_BODY,
    "ContentRetention": Shown.OTHER_BODY,  # discard: empty once it has left
    "AddressRetention": _BOTH,  # obfuscate: the number's last digits
    # RCS, and this sender's SMS where that doesn't reach: a channel's prefix may stand before the number
    "FallbackFrom": _BOTH,
    # listed at once, `scheduled`, without a date_sent
    **dict.fromkeys(("SendAt", "ScheduleType"), Shown.AS_SENT),
    **dict.fromkeys(("StatusCallback", "ApplicationSid", "ProvideFeedback"), Shown.AS_SENT),
    **dict.fromkeys(("ValidityPeriod", "MaxPrice", "Attempt", "ForceDelivery"), Shown.AS_SENT),
    **dict.fromkeys(("RiskCheck", "TrafficType"), Shown.AS_SENT),
}
#: Values with which a parameter does nothing.
_IDLE: Final = frozenset(("", "false", "retain"))
#: Senders of a service's pool by which a message goes on another channel than its number names.
_OTHER_CHANNELS: Final = ("rcs:", "messenger:")


def shown(content: Content) -> Shown:
    """Return what of a broadcast's messages may be shown otherwise."""
    found = Shown.AS_SENT
    if content.media_urls or content.is_template or content.fallback:  # which of both went is not known
        found |= Shown.OTHER_BODY
    for name, value in content.options.items():
        if value.strip().lower() not in _IDLE:
            found |= SHOWN.get(name, _BOTH)
    return found


def goes_elsewhere(pool: Iterable[str]) -> bool:
    """Whether a service with these senders may write to a number on another channel than the number's own."""
    return any(name.startswith(_OTHER_CHANNELS) for name in pool)
