"""A verification to be started: what Twilio Verify takes for it, and what it would refuse.

From Twilio's OpenAPI file of Verify v2 and its Verification resource page. A code is in no repr of these
values, and an address only masked.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from broadcaster.domain.addresses import AddressError, is_e164, mask, parse_address

if TYPE_CHECKING:
    from collections.abc import Mapping

_EMAIL: Final = re.compile(r"[^@\s<>,;]{1,64}@[^@\s<>,;]{1,250}\.[^@\s<>,;.]{2,63}")
_SID: Final = re.compile(r"VE[0-9a-fA-F]{32}")
LONGEST_EMAIL: Final = 254
CODE_LENGTHS: Final = range(4, 11)


class VerifyChannel(enum.StrEnum):
    """How a code reaches somebody; `sna` asks the phone's network, `auto` lets Twilio choose."""

    SMS = "sms"
    WHATSAPP = "whatsapp"
    CALL = "call"
    EMAIL = "email"
    SNA = "sna"
    AUTO = "auto"


class Wrong(NamedTuple):
    """What is wrong with one field, in words that follow its name."""

    field: str
    words: str


@dataclass(frozen=True, slots=True)
class Start:
    """A verification as somebody wants it. None, or an empty mapping: Twilio's or the service's own.

    `channel` None: by e-mail where `to` is one, by WhatsApp where it says so, else by SMS. `custom_code` has
    4 to 10 characters and needs a service that allows it; `rate_limits` are values by the unique names of the
    service's limits; `tags` are at most ten, and told in Twilio's events.
    """

    to: str = field(repr=False)
    channel: str | None = None
    locale: str | None = None
    template_sid: str | None = None
    template_substitutions: Mapping[str, Any] = field(default_factory=dict, repr=False)
    custom_friendly_name: str | None = None
    custom_code: str | None = field(default=None, repr=False)
    send_digits: str | None = None
    rate_limits: Mapping[str, Any] = field(default_factory=dict, repr=False)
    channel_configuration: Mapping[str, Any] = field(default_factory=dict, repr=False)
    app_hash: str | None = None
    device_ip: str | None = field(default=None, repr=False)
    sna_client_token: bool | None = None
    risk_check: str | None = None
    amount: str | None = field(default=None, repr=False)
    payee: str | None = field(default=None, repr=False)
    tags: Mapping[str, str] = field(default_factory=dict)

    def resolved(self, region: str | None) -> Start:
        """Return it with its channel, and `to` as Twilio takes it. Raises AddressError."""
        channel = self.channel or _channel_of(self.to)
        return replace(self, channel=channel, to=verified_address(self.to, channel, region))

    def form(self) -> dict[str, str]:
        """Return the parameters of a start that is `resolved`."""
        found: dict[str, str] = {}
        for name, parameter in PARAMETERS.items():
            value = getattr(self, name)
            if value in (None, "") or value == {}:
                continue
            if isinstance(value, bool):
                found[parameter] = str(value).lower()
            else:
                found[parameter] = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        return found


#: Twilio's parameter for each field.
PARAMETERS: Final = {
    "to": "To",
    "channel": "Channel",
    "locale": "Locale",
    "template_sid": "TemplateSid",
    "template_substitutions": "TemplateCustomSubstitutions",
    "custom_friendly_name": "CustomFriendlyName",
    "custom_code": "CustomCode",
    "send_digits": "SendDigits",
    "rate_limits": "RateLimits",
    "channel_configuration": "ChannelConfiguration",
    "app_hash": "AppHash",
    "device_ip": "DeviceIp",
    "sna_client_token": "EnableSnaClientToken",
    "risk_check": "RiskCheck",
    "amount": "Amount",
    "payee": "Payee",
    "tags": "Tags",
}
START_FIELDS: Final = tuple(one.name for one in fields(Start))


def _channel_of(to: str) -> VerifyChannel:
    if "@" in to:
        return VerifyChannel.EMAIL
    return VerifyChannel.WHATSAPP if to.strip().lower().startswith("whatsapp:") else VerifyChannel.SMS


def verified_address(to: str, channel: str | None, region: str | None) -> str:
    """Return who is verified, as Twilio takes it: an e-mail address, or a number without `whatsapp:`.

    `channel` None: whatever it looks like. Raises AddressError.
    """
    if channel == VerifyChannel.EMAIL or (channel is None and "@" in to):
        if len(to) > LONGEST_EMAIL or _EMAIL.fullmatch(to.strip()) is None:
            raise AddressError("this is no e-mail address: write it like ada@example.com")
        return to.strip()
    if "@" in to:
        raise AddressError("an e-mail address is verified by the channel email")
    address = parse_address(to, region)
    number = address.removeprefix("whatsapp:")
    if number != address and channel not in (None, VerifyChannel.WHATSAPP, VerifyChannel.AUTO):
        raise AddressError(f"a number with whatsapp: is not verified by {channel}: leave the channel out")
    return number


def named_verification(name: str, region: str | None) -> tuple[str, str]:
    """Return Twilio's parameter and value for a verification named by its SID or by who is verified.

    Raises AddressError.
    """
    if _SID.fullmatch(name.strip()):
        return "VerificationSid", name.strip()
    return "To", verified_address(name, None, region)


def is_verification_sid(text: str) -> bool:
    """Tell whether a text is a verification's SID."""
    return _SID.fullmatch(text) is not None


def masked(to: str) -> str:
    """Hide most of an address: `+1415•••0100`, `a•••@example.com`."""
    name, at, domain = to.rpartition("@")
    if at:
        return f"{name[:1]}•••@{domain}"
    return mask(to) if is_e164(to.removeprefix("whatsapp:")) else "•••"
