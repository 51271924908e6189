"""Twilio's checks of a Create Message request, each answered with its code."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from broadcaster.simulator.senders import is_alphanumeric, is_number, is_short_code, is_whatsapp

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.simulator.config import SimulatorConfig
    from broadcaster.simulator.forms import Form

MAX_BODY: Final = 1600
MAX_VARIABLE: Final = 1600
MAX_MEDIA: Final = 10
MAX_VALIDITY: Final = 36_000
MAX_CALLBACK: Final = 4000
SCHEDULE_WINDOW: Final = (300, 35 * 86_400)

_UNFIT: Final = re.compile(r"[\n\r\t]| {5}")
_SERVICE: Final = re.compile(r"MG[0-9a-fA-F]{32}")
_MAGIC_FROM: Final[dict[str, int]] = {
    "+15005550000": 21606,
    "+15005550001": 21212,
    "+15005550002": 21606,
    "+15005550003": 21606,
    "+15005550004": 21606,
    "+15005550006": 0,
    "+15005550007": 21606,
    "+15005550008": 21611,
    "+15005550009": 21606,
}
_MAGIC_TO: Final[dict[str, int]] = {
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}


def refusal(form: Form, config: SimulatorConfig, now: float, *, testing: bool) -> int:
    """Return the code to refuse this request with, 0 when it is fine. `testing`: with test credentials."""
    return (
        _content(form)
        or _recipient(form.fields["To"], config, testing=testing)
        or _sender(form.fields, config, testing=testing)
        or (0 if _plain(form) else _options(form, config, now))
    )


def _plain(form: Form) -> bool:
    """Whether there is only a recipient, a sender and a text: nothing that could be combined wrongly."""
    return len(form.fields) == len(("To", "From", "Body")) and "Body" in form.fields and not form.media


def _content(form: Form) -> int:
    fields = form.fields
    if not fields.get("To"):
        return 21604
    body = fields.get("Body")
    if body:
        if len(body) > MAX_BODY:
            return 21617
    elif not form.media and "ContentSid" not in fields:
        return 21654 if fields.get("ContentVariables") else 21602
    return 0 if fields.get("From") or fields.get("MessagingServiceSid") else 21603


def _recipient(to: str, config: SimulatorConfig, *, testing: bool) -> int:
    if (testing or config.magic_numbers) and to in _MAGIC_TO:
        return _MAGIC_TO[to]
    if is_number(to) or is_whatsapp(to):
        number = to.removeprefix("whatsapp:")
        unverified = (
            config.account_type == "Trial" and config.verified is not None and number not in config.verified
        )
        return 21608 if unverified else 0
    return 21265 if is_short_code(to) else 21211


def _sender(  # noqa: PLR0911  one return per rule
    fields: dict[str, str], config: SimulatorConfig, *, testing: bool
) -> int:
    service = fields.get("MessagingServiceSid")
    sender = fields.get("From")
    if service:
        code = _service(service, sender, config)
        if code or not sender:
            return code
    assert sender  # noqa: S101  _content refused a request with neither
    if testing:
        return _MAGIC_FROM.get(sender, 21606)
    if config.magic_numbers and _MAGIC_FROM.get(sender):
        return _MAGIC_FROM[sender]
    if not (is_number(sender) or is_whatsapp(sender) or is_short_code(sender) or is_alphanumeric(sender)):
        return 21212
    to = fields["To"]
    if to == sender:
        return 21266
    if is_whatsapp(to) != is_whatsapp(sender):
        return 21910
    if config.account_type == "Trial" and is_alphanumeric(sender):
        return 21267
    known = config.any_sender or service or sender in config.senders
    if known or any(sender in pool.senders for pool in config.services.values()):
        return 0
    return 63007 if is_whatsapp(sender) else 21606


def _service(service: str, sender: str | None, config: SimulatorConfig) -> int:
    if not _SERVICE.fullmatch(service):
        return 21705
    if service not in config.services:
        return 21701
    pool = config.services[service].senders
    if not pool:
        return 21704
    return 21711 if sender and sender not in pool else 0


def _options(form: Form, config: SimulatorConfig, now: float) -> int:
    """Check the optional parameters, each by its own rule."""
    if len(form.media) > MAX_MEDIA:
        return 21623
    if form.media and "ContentSid" in form.fields:
        return 63030
    if not all(url.startswith(("http://", "https://")) for url in form.media):
        return 21620
    for name, rule in _RULES.items():
        value = form.fields.get(name)
        if value is not None:
            code = rule(value, form.fields, config)
            if code:
                return code
    return _schedule(form.fields, now)


def _validity(value: str, _fields: dict[str, str], _config: SimulatorConfig) -> int:
    return 0 if value.isdecimal() and 1 <= int(value) <= MAX_VALIDITY else 21624


def _callback(value: str, _fields: dict[str, str], _config: SimulatorConfig) -> int:
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError:
        return 21609
    usable = parts.scheme in ("http", "https") and host and "_" not in host and len(value) <= MAX_CALLBACK
    return 0 if usable else 21609


def _variables(value: str, fields: dict[str, str], _config: SimulatorConfig) -> int:
    if not value:
        return 0
    if not fields.get("ContentSid"):
        return 21654
    try:
        given = msgspec.json.decode(value, type=dict[str, str])
    except msgspec.MsgspecError:
        return 21656
    if any(len(one) > MAX_VARIABLE for one in given.values()):
        return 21658
    unfit = is_whatsapp(fields["To"]) and any(map(_UNFIT.search, given.values()))
    return 0 if all(given.values()) and not unfit else 21656


def _template(value: str, _fields: dict[str, str], config: SimulatorConfig) -> int:
    return 0 if value in config.templates else 21655


def _fallback(_value: str, fields: dict[str, str], _config: SimulatorConfig) -> int:
    if not fields.get("MessagingServiceSid"):
        return 21664
    return 21665 if fields.get("From") else 0


def _one_of(*allowed: str, code: int) -> Callable[[str, dict[str, str], SimulatorConfig], int]:
    return lambda value, _fields, _config: 0 if value in allowed else code


_RULES: Final[dict[str, Callable[[str, dict[str, str], SimulatorConfig], int]]] = {
    "ContentVariables": _variables,
    "ContentSid": _template,
    "ValidityPeriod": _validity,
    "StatusCallback": _callback,
    "FallbackFrom": _fallback,
    "ContentRetention": _one_of("retain", "discard", code=30029),
    "AddressRetention": _one_of("retain", "obfuscate", code=30030),
    "RiskCheck": _one_of("enable", "disable", code=20422),
    "TrafficType": _one_of("free", code=20422),
    "ScheduleType": _one_of("fixed", code=35126),
}


def _schedule(fields: dict[str, str], now: float) -> int:
    if "ScheduleType" not in fields:
        return 0
    if not fields.get("MessagingServiceSid"):
        return 35118
    if not fields.get("SendAt"):
        return 35111
    moment = send_at(fields)
    if moment is None:
        return 35114
    least, most = SCHEDULE_WINDOW
    return 0 if least < moment - now <= most else 35115


def send_at(fields: dict[str, str]) -> float | None:
    """Return `SendAt` as unix seconds; None if it is no ISO 8601 time. Without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(fields["SendAt"])
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
