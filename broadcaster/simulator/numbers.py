"""The account's phone numbers and short codes, with where each sends what people write.

Shapes: Twilio's OpenAPI file of the 2010 API.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from broadcaster.simulator.config import NumberConfig
from broadcaster.simulator.errors import error_body, status_of
from broadcaster.simulator.exchange import Answer
from broadcaster.simulator.forms import as_number
from broadcaster.simulator.listing import encoded, simple_page
from broadcaster.simulator.messages import rfc2822
from broadcaster.simulator.senders import is_number, is_short_code

if TYPE_CHECKING:
    from broadcaster.simulator.config import SimulatorConfig

_ONE: Final = re.compile(r"/IncomingPhoneNumbers/(PN[0-9a-f]{32})\.json")
_UNSET: Final = NumberConfig()
_NOTHING: Final = dict.fromkeys(
    (
        "address_sid",
        "bundle_sid",
        "emergency_address_sid",
        "identity_sid",
        "sms_application_sid",
        "sms_fallback_url",
        "trunk_sid",
        "voice_application_sid",
        "voice_fallback_url",
        "voice_url",
    )
)
_ALWAYS: Final = {
    "address_requirements": "none",
    "api_version": "2010-04-01",
    "beta": False,
    "capabilities": {"sms": True, "mms": True, "voice": True, "fax": False},
    "emergency_address_status": "unregistered",
    "emergency_status": "Inactive",
    "origin": "twilio",
    "sms_fallback_method": "POST",
    "status": "in-use",
    "status_callback_method": "POST",
    "type": "local",
    "voice_caller_id_lookup": False,
    "voice_fallback_method": "POST",
    "voice_method": "POST",
    "voice_receive_mode": "voice",
}


def number_page(config: SimulatorConfig, path: str, account: str, query: dict[str, str]) -> Answer:
    """List the account's numbers; where any sender is accepted, any number asked for is the account's."""
    numbers = [sender for sender in owned(config) if is_number(sender)]
    wanted = query.get("PhoneNumber")
    if wanted:
        number = as_number(wanted.strip() if wanted.startswith("+") else f"+{wanted.strip()}")
        numbers = [number] if number in numbers or config.any_sender else []
    rows: list[object] = [_number(config, account, number) for number in numbers]
    return simple_page(path, query, "incoming_phone_numbers", rows)


def one_number(config: SimulatorConfig, rest: str, account: str) -> Answer:
    """Fetch a number by its sid; 20404 where the account has none of it."""
    matched = _ONE.fullmatch(rest)
    digits = matched[1].removeprefix("PN").lstrip("0") if matched else ""
    number = f"+{digits}"
    if not is_number(number) or not (config.any_sender or number in owned(config)):
        return Answer(status_of(20404), error_body(20404, status_of(20404), f"{rest} was not found"))
    return Answer(200, encoded(_number(config, account, number)))


def short_code_page(config: SimulatorConfig, path: str, account: str, query: dict[str, str]) -> Answer:
    """List the account's short codes."""
    codes = [sender for sender in owned(config) if is_short_code(sender)]
    wanted = query.get("ShortCode")
    rows: list[object] = [_short_code(config, account, code) for code in codes if wanted in (None, "", code)]
    return simple_page(path, query, "short_codes", rows)


def caller_id_page(config: SimulatorConfig, path: str, account: str, query: dict[str, str]) -> Answer:
    """List the numbers that were verified, which are all that a trial account may send to."""
    wanted = {"phone_number": query.get("PhoneNumber"), "friendly_name": query.get("FriendlyName")}
    rows: list[object] = [
        row
        for row in (_caller_id(config, account, number) for number in config.verified or ())
        if all(not value or row[name] == as_number(value) for name, value in wanted.items())
    ]
    return simple_page(path, query, "outgoing_caller_ids", rows)


def _caller_id(config: SimulatorConfig, account: str, number: str) -> dict[str, object]:
    sid = f"PN{number[1:]:0>32}"
    return {
        "sid": sid,
        "account_sid": account,
        "phone_number": number,
        "friendly_name": config.caller_names.get(number, number),
        "date_created": rfc2822(0),
        "date_updated": rfc2822(0),
        "uri": f"/2010-04-01/Accounts/{account}/OutgoingCallerIds/{sid}.json",
    }


def owned(config: SimulatorConfig) -> list[str]:
    """Return all senders that the config names: numbers, codes, names, WhatsApp senders."""
    pools = (sender for service in config.services.values() for sender in service.senders)
    return list(dict.fromkeys((*config.senders, *config.numbers, *pools)))


def _number(config: SimulatorConfig, account: str, number: str) -> dict[str, object]:
    own = config.numbers.get(number, _UNSET)
    sid = f"PN{number[1:]:0>32}"
    uri = f"/2010-04-01/Accounts/{account}/IncomingPhoneNumbers/{sid}"
    return {
        **_NOTHING,
        **_ALWAYS,
        "sid": sid,
        "account_sid": account,
        "phone_number": number,
        "friendly_name": number,
        "date_created": rfc2822(0),
        "date_updated": rfc2822(0),
        "sms_url": own.sms_url or config.inbound_url,
        "sms_method": own.sms_method,
        "status_callback": own.status_callback,
        "uri": f"{uri}.json",
        "subresource_uris": {"assigned_add_ons": f"{uri}/AssignedAddOns.json"},
    }


def _short_code(config: SimulatorConfig, account: str, code: str) -> dict[str, object]:
    own = config.numbers.get(code, _UNSET)
    sid = f"SC{code:0>32}"
    return {
        "sid": sid,
        "account_sid": account,
        "friendly_name": code,
        "short_code": code,
        "api_version": "2010-04-01",
        "date_created": rfc2822(0),
        "date_updated": rfc2822(0),
        "sms_url": own.sms_url or config.inbound_url,
        "sms_method": own.sms_method,
        "sms_fallback_url": None,
        "sms_fallback_method": "POST",
        "uri": f"/2010-04-01/Accounts/{account}/SMS/ShortCodes/{sid}.json",
    }
