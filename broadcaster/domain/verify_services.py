"""A Verify service's settings: what can be set by the API, Twilio's rules for it, and what only support sets.

From Twilio's OpenAPI file of Verify v2 and its pages on services, rate limits and timeouts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from broadcaster.domain.addresses import AddressError, Channel, channel_of, parse_address
from broadcaster.domain.verification_rules import name_fault
from broadcaster.domain.verifications import CODE_LENGTHS, Wrong

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Twilio's defaults of what no API shows or changes: its support does, for a whole account.
CODE_VALID_SECONDS: Final = 600
MOST_SENDS: Final = 5
MOST_CHECKS: Final = 5
ONLY_BY_SUPPORT: Final = (
    f"A code is good for {CODE_VALID_SECONDS // 60} minutes, is sent at most {MOST_SENDS} times and checked "
    f"at most {MOST_CHECKS} times, unless Twilio's support has set that otherwise: no API shows or changes "
    "it."
)
_TEMPLATE: Final = re.compile(r"HJ[0-9a-fA-F]{32}")
_MESSAGING: Final = re.compile(r"MG[0-9a-fA-F]{32}")
_SERVICE: Final = re.compile(r"VA[0-9a-fA-F]{32}")
_NAME: Final = re.compile(r"[\w \-]*")
_MOST_DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """What to set of a Verify service; None leaves it as it is, or to Twilio's default.

    `friendly_name` is how messages call the sender. `skip_sms_to_landlines` needs `lookup_enabled`.
    `whatsapp_from` must be a sender of `whatsapp_messaging_service_sid`.
    """

    friendly_name: str | None = None
    code_length: int | None = None
    custom_code_enabled: bool | None = None
    lookup_enabled: bool | None = None
    skip_sms_to_landlines: bool | None = None
    dtmf_input_required: bool | None = None
    do_not_share_warning_enabled: bool | None = None
    psd2_enabled: bool | None = None
    tts_name: str | None = None
    default_template_sid: str | None = None
    whatsapp_messaging_service_sid: str | None = None
    whatsapp_from: str | None = None
    verify_event_subscription_enabled: bool | None = None

    def form(self) -> dict[str, str]:
        """Return Twilio's parameters of what is set."""
        found: dict[str, str] = {}
        for name, value in self.given().items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            found[_PARAMETERS.get(name) or name.title().replace("_", "")] = text
        return found

    def given(self) -> dict[str, str | int | bool]:
        """Return what is set, by field."""
        every = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in every.items() if value is not None}


CHANGE_FIELDS: Final = tuple(one.name for one in fields(ServiceChange))
_PARAMETERS: Final = {
    "whatsapp_messaging_service_sid": "Whatsapp.MsgServiceSid",
    "whatsapp_from": "Whatsapp.From",
}


def change_faults(change: ServiceChange, *, new: bool) -> Iterator[Wrong]:
    """Yield everything that is wrong with what is to be set; a `new` service needs a name."""
    if change.friendly_name is None:
        if new:
            yield Wrong("friendly_name", "is missing: it is how messages call you")
        elif not change.given():
            yield Wrong("", "nothing is to be changed: name what")
    elif words := name_fault(change.friendly_name) or _spelled(change.friendly_name):
        yield Wrong("friendly_name", words)
    if change.code_length is not None and change.code_length not in CODE_LENGTHS:
        yield Wrong("code_length", f"must be {CODE_LENGTHS[0]} to {CODE_LENGTHS[-1]}")
    looked_up = change.lookup_enabled is None and not new  # it may be enabled there
    if change.skip_sms_to_landlines and not (change.lookup_enabled or looked_up):
        yield Wrong("skip_sms_to_landlines", "needs lookup_enabled")
    yield from _identifiers(change)
    if change.whatsapp_from and new and not change.whatsapp_messaging_service_sid:
        yield Wrong("whatsapp_from", "needs whatsapp_messaging_service_sid, the service that it is in")


def _identifiers(change: ServiceChange) -> Iterator[Wrong]:
    for name, expression, kind in (
        ("default_template_sid", _TEMPLATE, "HJ"),
        ("whatsapp_messaging_service_sid", _MESSAGING, "MG"),
    ):
        value = getattr(change, name)
        if value is not None and not expression.fullmatch(value):
            yield Wrong(name, f"must be {kind} and 32 hexadecimal digits")
    if change.whatsapp_from is not None and not _is_whatsapp(change.whatsapp_from):
        yield Wrong("whatsapp_from", "must be a WhatsApp sender like whatsapp:+14155550100")


def is_service_sid(text: str) -> bool:
    """Tell whether a text is a Verify service's SID."""
    return _SERVICE.fullmatch(text) is not None


def _spelled(name: str) -> str:
    if not _NAME.fullmatch(name):
        return "takes letters, numbers, spaces, - and _ only"
    if sum(c.isdigit() for c in name) > _MOST_DIGITS:
        return f"may have at most {_MOST_DIGITS} digits"
    return ""


def _is_whatsapp(text: str) -> bool:
    try:
        return parse_address(text) == text and channel_of(text) is Channel.WHATSAPP
    except AddressError:
        return False
