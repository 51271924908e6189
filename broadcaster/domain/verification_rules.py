"""Twilio's rules for starting and checking a verification: every fault is told before Twilio is asked.

From Twilio's OpenAPI file of Verify v2 and its pages on verifications, automatic channel selection, SMS
retrieval and tags. What only Twilio knows (whether a service allows custom codes, whether a template exists)
is left to it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final

from broadcaster.domain.addresses import AddressError
from broadcaster.domain.verifications import (
    CODE_LENGTHS,
    LONGEST_EMAIL,
    Start,
    VerifyChannel,
    Wrong,
    is_verification_sid,
    named_verification,
    verified_address,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

LONGEST_NAME: Final = 32
MOST_TAGS: Final = 10
LONGEST_TAG: Final = 128
_LONGEST_LIMIT: Final = 1000
_LOCALE: Final = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,2}")
_TEMPLATE: Final = re.compile(r"HJ[0-9a-fA-F]{32}")
_DIGITS: Final = re.compile(r"[0-9wW*#,]{1,32}")
_APP_HASH: Final = re.compile(r"[A-Za-z0-9+/]{11}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SMS, _CALL, _EMAIL = VerifyChannel.SMS, VerifyChannel.CALL, VerifyChannel.EMAIL
_SNA, _AUTO = VerifyChannel.SNA, VerifyChannel.AUTO
#: Fields that only some channels take; `auto` may come to be any of them.
_ONLY: Final[dict[str, Collection[VerifyChannel]]] = {
    "template_sid": (_SMS, _CALL, _AUTO),
    "template_substitutions": (_SMS, _CALL, _AUTO),
    "send_digits": (_CALL,),
    "app_hash": (_SMS, _AUTO),
    "risk_check": (_SMS, _AUTO),
    "channel_configuration": (_EMAIL, _AUTO),
    "sna_client_token": (_SNA, _AUTO),
}


def start_faults(start: Start, region: str | None) -> Iterator[Wrong]:
    """Yield everything that is wrong with a start."""
    channels = [one.value for one in VerifyChannel]
    known = start.channel is None or start.channel in channels
    if not known:
        yield Wrong("channel", f"there is no channel {start.channel!r}: name one of {', '.join(channels)}")
    try:
        channel = start.resolved(region).channel if known else None
        if not known:
            verified_address(start.to, None, region)
    except AddressError as error:
        yield Wrong("to", _said(error))
        channel = start.channel if known else None
    if channel:
        yield from _misplaced(start, VerifyChannel(channel))
    for name, broken in _RULES:
        value = getattr(start, name)
        if value is not None and (words := broken(value)):
            yield Wrong(name, words)
    if (start.amount is None) != (start.payee is None):
        lacking = "payee" if start.payee is None else "amount"
        yield Wrong(lacking, "amount and payee belong together (PSD2)")


def check_faults(
    to: str | None, sid: str | None, code: str | None, region: str | None, *, sna: bool = False
) -> Iterator[Wrong]:
    """Yield everything that is wrong with a check: of whom, or of which verification, and the code.

    `sna`: the phone's network has answered in the place of a code.
    """
    if (to is None) == (sid is None):
        yield Wrong("to", "name either who is verified or the verification, VE…")
    elif sid is not None and not is_verification_sid(sid):
        yield Wrong("sid", "must be VE and 32 hexadecimal digits")
    elif to is not None:
        try:
            named_verification(to, region)
        except AddressError as error:
            yield Wrong("to", _said(error))
    if (code is None) is not sna:
        yield Wrong("code", "none is taken with sna: the phone has shown who it is" if sna else "is missing")
    elif code is not None and (words := code_fault(code)):
        yield Wrong("code", words)


def _said(error: AddressError) -> str:
    return str(error).replace(", or name the country with --region", "")


def code_fault(code: str) -> str:
    """Return what is wrong with a code, "" if nothing is; the code itself is never told."""
    if len(code) not in CODE_LENGTHS:
        return f"must have {CODE_LENGTHS[0]} to {CODE_LENGTHS[-1]} characters"
    return "must not have spaces" if any(c.isspace() or _CONTROL.match(c) for c in code) else ""


def _misplaced(start: Start, channel: VerifyChannel) -> Iterator[Wrong]:
    for name, takers in _ONLY.items():
        if getattr(start, name) not in (None, {}) and channel not in takers:
            yield Wrong(name, f"is only for the channel {' or '.join(takers)}, not for {channel.value}")


def name_fault(name: str) -> str:
    """Return what is wrong with a friendly name, "" if nothing is."""
    if not 0 < len(name.strip()) <= LONGEST_NAME or _CONTROL.search(name):
        return f"must have 1 to {LONGEST_NAME} characters, on one line"
    return ""


def _matching(expression: re.Pattern[str], words: str) -> Callable[[Any], str]:
    return lambda value: "" if expression.fullmatch(value) else words


def _tags(tags: Mapping[str, Any]) -> str:
    if len(tags) > MOST_TAGS:
        return f"has {len(tags)} tags, and at most {MOST_TAGS} are taken"
    if any(not isinstance(value, str) for value in tags.values()):
        return "takes texts: write a number in quotes"
    if any(max(len(name), len(value)) > LONGEST_TAG for name, value in tags.items()):
        return f"names and values have at most {LONGEST_TAG} characters"
    return ""


def _limits(limits: Mapping[str, Any]) -> str:
    for name, value in limits.items():
        if not name or isinstance(value, dict | list) or value is None:
            return f"takes one value for each of the service's limits, not {name!r}: {type(value).__name__}"
        if len(name) + len(str(value)) > _LONGEST_LIMIT:
            return f"names and values have at most {_LONGEST_LIMIT:,} characters"
    return ""


def _configuration(given: Mapping[str, Any]) -> str:
    sender = given.get("from")
    try:
        if sender is not None:
            verified_address(str(sender)[: LONGEST_EMAIL + 1], _EMAIL, None)
    except AddressError:
        return "its `from` is no e-mail address"
    return ""


def _address(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return "must be an IPv4 or IPv6 address"
    # of a scope id (fe80::1%eth0) anything is taken, and it means something on one machine only
    return "must be an address without a scope id (%)" if "%" in text else ""


#: What breaks each field by itself: the words, "" for nothing.
_RULES: Final[tuple[tuple[str, Callable[[Any], str]], ...]] = (
    ("locale", _matching(_LOCALE, "must be a language like en, de or pt-BR")),
    ("template_sid", _matching(_TEMPLATE, "must be HJ and 32 hexadecimal digits")),
    ("custom_friendly_name", name_fault),
    ("custom_code", code_fault),
    ("send_digits", _matching(_DIGITS, "takes digits, * and #, and w for half a second")),
    ("rate_limits", _limits),
    ("channel_configuration", _configuration),
    ("app_hash", _matching(_APP_HASH, "must be the app's hash of 11 characters")),
    ("device_ip", _address),
    ("risk_check", _matching(re.compile("enable|disable"), "must be enable or disable")),
    ("tags", _tags),
)
