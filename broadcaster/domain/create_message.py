"""Create Message: every parameter of Twilio's OpenAPI file, and the combinations that it refuses.

Checked before anything is queued, because what is wrong here is wrong for every recipient.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from broadcaster.domain.addresses import AddressError, Channel
from broadcaster.domain.content import Content, Rendered
from broadcaster.domain.message_rules import Fault, broken_rules
from broadcaster.domain.senders import parse_sender

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "TWILIO_NAMES",
    "CreateMessage",
    "Fault",
    "check",
    "check_content",
    "form_pairs",
    "message_for",
    "option_pairs",
    "parse_form",
]


class CreateMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One Create Message request. Units: `validity_period` seconds, `send_at` ISO 8601 with an offset.

    `content_variables` is a JSON object as a string. None or () leaves a parameter out.
    """

    to: str
    from_: str | None = None
    messaging_service_sid: str | None = None
    fallback_from: str | None = None
    body: str | None = None
    media_url: tuple[str, ...] = ()
    content_sid: str | None = None
    content_variables: str | None = None
    status_callback: str | None = None
    application_sid: str | None = None
    validity_period: int | None = None
    schedule_type: str | None = None
    send_at: str | None = None
    send_as_mms: bool | None = None
    smart_encoded: bool | None = None
    shorten_urls: bool | None = None
    persistent_action: tuple[str, ...] = ()
    provide_feedback: bool | None = None
    content_retention: str | None = None
    address_retention: str | None = None
    risk_check: str | None = None
    traffic_type: str | None = None
    attempt: int | None = None
    force_delivery: bool | None = None
    max_price: float | None = None


def _twilio_name(field: str) -> str:
    return "".join(word.capitalize() for word in field.split("_"))


#: Twilio's name of each field, in the order in which they are sent.
TWILIO_NAMES: Final = {field: _twilio_name(field) for field in CreateMessage.__struct_fields__}
_FIELDS: Final = {name: field for field, name in TWILIO_NAMES.items()}
_TYPES: Final = {field.name: field.type for field in msgspec.structs.fields(CreateMessage)}
_TEXTS: Final = frozenset(field for field, type_ in _TYPES.items() if type_ in (str, str | None))
_SOMEBODY: Final = "whatsapp:+12015550123"
_ANYBODY: Final = "whatsapp:+12015550124"
#: What a broadcast fills in by itself; its options may not.
_OURS: Final = frozenset(
    ("To", "From", "MessagingServiceSid", "Body", "MediaUrl", "ContentSid", "ContentVariables")
)


#: Parameters that may come several times; an option holds each on a line of its own.
REPEATED: Final = frozenset(
    TWILIO_NAMES[field] for field, type_ in _TYPES.items() if type_ == tuple[str, ...]
)
_NEVER_ALIKE: Final = 0.6
_is_bool: Final = re.compile("true|false", re.IGNORECASE).fullmatch


def option_pairs(options: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return a content's options as a form holds them: lines of their own as parameters of their own."""
    pairs: list[tuple[str, str]] = []
    for name, text in options.items():
        if name in REPEATED:
            pairs += [(name, line) for line in text.split("\n")]
        else:
            pairs.append((name, text if _FIELDS.get(name) in _TEXTS else text.strip()))
    return pairs


def options_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the options that a form's pairs make: the last of each, all of what may be repeated."""
    options: dict[str, str] = {}
    for name, text in pairs:
        options[name] = f"{options[name]}\n{text}" if name in REPEATED and name in options else text
    return options


def nearest(name: str) -> str:
    """Return the parameter that was most likely meant, "" where none is alike."""
    by_letters = {known.lower(): known for known in _FIELDS}
    found = difflib.get_close_matches(name.lower().replace("_", ""), by_letters, n=1, cutoff=_NEVER_ALIKE)
    return by_letters[found[0]] if found else ""


def form_pairs(message: CreateMessage) -> list[tuple[str, str]]:
    """Return the form of the request, a pair for each element of a list, as Twilio wants it."""
    pairs: list[tuple[str, str]] = []
    for field, name in TWILIO_NAMES.items():
        value = getattr(message, field)
        if value is None:
            continue
        if isinstance(value, tuple):
            pairs.extend((name, item) for item in value)
        elif isinstance(value, bool):
            pairs.append((name, "true" if value else "false"))
        else:
            pairs.append((name, f"{value:g}" if isinstance(value, float) else str(value)))
    return pairs


def parse_form(pairs: Iterable[tuple[str, str]]) -> tuple[dict[str, Any], list[Fault]]:
    """Return the fields of a CreateMessage that `pairs` (Twilio's names) hold, and what could not be read."""
    fields: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, text in pairs:
        field = _FIELDS.get(name)
        if field is None:
            near = nearest(name)
            hint = f": did you mean {near}?" if near else ""
            faults.append(Fault(name, f"Create Message has no such parameter{hint}", 20001))
            continue
        if _TYPES[field] == tuple[str, ...]:
            fields[field] = (*fields.get(field, ()), text)
            continue
        try:
            if _TYPES[field] == (bool | None) and not _is_bool(text.strip()):
                raise msgspec.ValidationError  # noqa: TRY301 - 1 and 0 are none for Twilio
            fields[field] = (
                text if field in _TEXTS else msgspec.convert(text.strip(), _TYPES[field], strict=False)
            )
        except msgspec.ValidationError:
            faults.append(Fault(name, f"{text!r} is not {_KINDS[_TYPES[field]]}", 20422))
    return fields, faults


_KINDS: Final[dict[Any, str]] = {
    int | None: "a whole number",
    bool | None: "true or false",
    float | None: "a number",
}


def message_for(
    content: Content, rendered: Rendered, *, to: str, from_: str | None, messaging_service_sid: str | None
) -> tuple[CreateMessage, list[Fault]]:
    """Return one recipient's request and the faults of its options; `check` judges the request."""
    fields, faults = parse_form(pair for pair in option_pairs(content.options) if pair[0] not in _OURS)
    faults += [
        Fault(name, "a broadcast sets this itself; it cannot be an option")
        for name in content.options
        if name in _OURS
    ]
    message = CreateMessage(
        to=to,
        from_=from_,
        messaging_service_sid=messaging_service_sid,
        body=rendered.body,
        media_url=content.media_urls,
        content_sid=content.content_sid,
        content_variables=rendered.content_variables,
        **fields,
    )
    return message, faults


def check_content(
    content: Content, *, from_: str | None, messaging_service_sid: str | None, now: float | None = None
) -> list[Fault]:
    """Return what Twilio would refuse whoever the recipient is: `check` with a stand-in for the text.

    Parameters of what may go in its place (`Content.fallback`, `.sms`) are named `Fallback.…` and `Sms.…`.
    """
    whatsapp = from_.startswith("whatsapp:") if from_ else content.whatsapp_only
    to = "whatsapp:+12015550123" if whatsapp else "+12015550123"
    found: list[Fault] = []
    for one in _each_template(content):
        variables = msgspec.json.encode(one.content_variables).decode() if one.content_variables else None
        stand_in = Rendered(one.body and "text", variables)
        message, faults = message_for(
            one, stand_in, to=to, from_=from_, messaging_service_sid=messaging_service_sid
        )
        found += [fault for fault in faults + check(message, now) if fault not in found]
    return found + _stand_in_faults(content)


def _each_template(content: Content) -> list[Content]:
    """Return the content once for each template that it may be."""
    if not content.languages:
        return [content]
    sids = [*content.languages.values(), *((content.content_sid,) if content.content_sid else ())]
    return [msgspec.structs.replace(content, content_sid=sid) for sid in dict.fromkeys(sids)]


def _stand_in_faults(content: Content) -> list[Fault]:
    found: list[Fault] = []
    if content.fallback is not None:
        template = CreateMessage(to=_SOMEBODY, from_=_ANYBODY, content_sid=content.fallback.sid)
        found += [msgspec.structs.replace(f, parameter=f"Fallback.{f.parameter}") for f in check(template)]
    if content.sms is not None:
        try:
            channel = parse_sender(content.sms.sender).channel
        except AddressError as error:
            return [*found, Fault("Sms.From", str(error), 21212)]
        if channel is Channel.WHATSAPP:
            found.append(Fault("Sms.From", "must be able to send SMS, and this is a WhatsApp sender", 21910))
    return found


def check(message: CreateMessage, now: float | None = None) -> list[Fault]:
    """Return every rule of Create Message that `message` breaks; none means Twilio will read it.

    `now` (unix seconds) lets a send time be judged too.
    """
    return list(broken_rules(message, now))
