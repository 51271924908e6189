"""Create Message: every parameter of Twilio's OpenAPI file, and the combinations that it refuses.

Checked before anything is queued, because what is wrong here is wrong for every recipient.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from broadcaster.domain.addresses import AddressError, channel_of, is_e164
from broadcaster.domain.content import MAX_BODY_CHARACTERS, Content, Rendered
from broadcaster.domain.senders import SenderKind, parse_sender

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


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


class Fault(msgspec.Struct, frozen=True):
    """A parameter that Twilio would refuse: its name, the rule, and the code (0 where Twilio has none)."""

    parameter: str
    rule: str
    twilio_code: int = 0


def _twilio_name(field: str) -> str:
    return "".join(word.capitalize() for word in field.split("_"))


#: Twilio's name of each field, in the order in which they are sent.
TWILIO_NAMES: Final = {field: _twilio_name(field) for field in CreateMessage.__struct_fields__}
_FIELDS: Final = {name: field for field, name in TWILIO_NAMES.items()}
_TYPES: Final = {field.name: field.type for field in msgspec.structs.fields(CreateMessage)}
_TEXTS: Final = frozenset(field for field, type_ in _TYPES.items() if type_ in (str, str | None))
#: What a broadcast fills in by itself; its options may not.
_OURS: Final = frozenset(
    ("To", "From", "MessagingServiceSid", "Body", "MediaUrl", "ContentSid", "ContentVariables")
)


def form_pairs(message: CreateMessage) -> list[tuple[str, str]]:
    """Return the form of the request, a pair for each element of a list, as Twilio wants it."""
    pairs = []
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
            faults.append(Fault(name, "Create Message has no such parameter", 20001))
            continue
        if _TYPES[field] == tuple[str, ...]:
            fields[field] = (*fields.get(field, ()), text)
            continue
        try:
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
    """Return one recipient's request, and the faults of the content's options (not yet of the request: `check`)."""
    fields, faults = parse_form((name, text) for name, text in content.options.items() if name not in _OURS)
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
    """Return what Twilio would refuse whoever the recipient is: `check` of a request with a stand-in for the text."""
    to = "whatsapp:+12015550123" if from_ and from_.startswith("whatsapp:") else "+12015550123"
    variables = msgspec.json.encode(content.content_variables).decode() if content.content_variables else None
    stand_in = Rendered(content.body and "text", variables)
    message, faults = message_for(
        content, stand_in, to=to, from_=from_, messaging_service_sid=messaging_service_sid
    )
    return faults + check(message, now)


def check(message: CreateMessage, now: float | None = None) -> list[Fault]:
    """Return every rule of Create Message that `message` breaks; none means Twilio will read it.

    `now` (unix seconds) lets a send time be judged too.
    """
    return [
        *_check_addresses(message),
        *_check_content(message),
        *_check_values(message),
        *_check_schedule(message, now),
    ]


_SIDS: Final = {
    "messaging_service_sid": ("MG", 21705),
    "content_sid": ("HX", 21655),
    "application_sid": ("AP", 20422),
}
_HEX: Final = re.compile(r"[0-9a-fA-F]{32}")
_CHOICES: Final = {
    "content_retention": (("retain", "discard"), 30029),
    "address_retention": (("retain", "obfuscate"), 30030),
    "risk_check": (("enable", "disable"), 20422),
    "traffic_type": (("free",), 20422),
    "schedule_type": (("fixed",), 35126),
}
_GEO: Final = re.compile(r"geo:-?\d{1,2}(\.\d+)?,-?\d{1,3}(\.\d+)?(\|.+)?")
_MAX_MEDIA: Final = 10
_MAX_URL_CHARACTERS: Final = 4000
_MAX_VALIDITY_SECONDS: Final = 36_000
# Documented as 300 s now and as 900 s on older pages; the longer one is safe under both.
_SOONEST: Final = timedelta(minutes=15)
_LATEST: Final = timedelta(days=35)


def _check_addresses(message: CreateMessage) -> Iterator[Fault]:
    to, from_ = message.to, message.from_
    if not to:
        yield Fault("To", "a recipient is required", 21604)
    elif not is_e164(to.removeprefix("whatsapp:")):
        yield Fault("To", "must be +14155550100 or whatsapp:+14155550100", 21211)
    if not from_ and not message.messaging_service_sid:
        yield Fault("From", "a sender or a messaging service is required", 21603)
    if from_:
        try:
            sender = parse_sender(from_)
        except AddressError as error:
            yield Fault("From", str(error), 21212)
        else:
            if sender.kind is SenderKind.SERVICE:
                yield Fault("From", "a service's MG… belongs in MessagingServiceSid", 21212)
            elif to and sender.channel is not channel_of(to):
                yield Fault("From", "sender and recipient must be on the same channel", 21910)
            elif sender.name == to:
                yield Fault("To", "sender and recipient are the same", 63031 if to[0] == "w" else 21266)
    if message.fallback_from and (from_ or not message.messaging_service_sid):
        yield Fault("FallbackFrom", "needs a messaging service and no From", 21664)


def _check_content(message: CreateMessage) -> Iterator[Fault]:
    body, media = message.body, message.media_url
    if not (body and body.strip()) and not media and not message.content_sid:
        yield Fault("Body", "a body, a media URL or a content template is required", 21619)
    if body and len(body) > MAX_BODY_CHARACTERS:
        yield Fault("Body", f"at most {MAX_BODY_CHARACTERS} characters, this has {len(body)}", 21617)
    if len(media) > _MAX_MEDIA:
        yield Fault("MediaUrl", f"at most {_MAX_MEDIA}, these are {len(media)}", 21623)
    elif len(media) > 1 and message.to.startswith("whatsapp:"):
        yield Fault("MediaUrl", "WhatsApp sends one per message and drops the others")
    for url in media:
        if not _is_web_url(url):
            yield Fault("MediaUrl", f"{url!r} is not an http or https address", 21620)
    if message.content_sid and media:
        yield Fault("MediaUrl", "a content template brings its own media", 63030)
    if message.content_sid and body:
        yield Fault("Body", "a content template brings its own text; give one of the two")
    if message.content_variables is not None:
        if not message.content_sid:
            yield Fault("ContentVariables", "need a ContentSid", 21654)
        try:
            msgspec.json.decode(message.content_variables, type=dict[str, str])
        except msgspec.DecodeError:
            yield Fault("ContentVariables", "must be a JSON object of strings", 21656)
    if message.persistent_action and not message.to.startswith("whatsapp:"):
        yield Fault("PersistentAction", "only WhatsApp has them")
    for action in message.persistent_action:
        if not _GEO.fullmatch(action):
            yield Fault("PersistentAction", f"{action!r} is not geo:LATITUDE,LONGITUDE or …|LABEL")
        elif not body:
            yield Fault("PersistentAction", "a location needs a body, its name")


def _check_values(message: CreateMessage) -> Iterator[Fault]:
    for field, (prefix, code) in _SIDS.items():
        sid = getattr(message, field)
        if sid is not None and not (sid.startswith(prefix) and _HEX.fullmatch(sid[2:])):
            yield Fault(TWILIO_NAMES[field], f"must be {prefix} and 32 hexadecimal digits", code)
    for field, (choices, code) in _CHOICES.items():
        choice = getattr(message, field)
        if choice is not None and choice not in choices:
            yield Fault(TWILIO_NAMES[field], f"must be {' or '.join(choices)}", code)
    callback = message.status_callback
    if callback is not None:
        if not _is_web_url(callback) or len(callback) > _MAX_URL_CHARACTERS:
            yield Fault(
                "StatusCallback", "must be an http or https address of at most 4,000 characters", 21609
            )
        elif "_" in (urlsplit(callback).hostname or ""):
            yield Fault("StatusCallback", "Twilio takes no host name with an underscore", 21609)
    validity = message.validity_period
    if validity is not None and not 1 <= validity <= _MAX_VALIDITY_SECONDS:
        yield Fault("ValidityPeriod", f"must be 1 to {_MAX_VALIDITY_SECONDS} seconds", 21624)
    if message.attempt is not None and message.attempt < 1:
        yield Fault("Attempt", "counts from 1", 20422)
    if message.shorten_urls and not message.messaging_service_sid:
        yield Fault("ShortenUrls", "needs a messaging service with a link shortening domain")


def _check_schedule(message: CreateMessage, now: float | None) -> Iterator[Fault]:
    if message.send_at is None:
        if message.schedule_type is not None:
            yield Fault("SendAt", "a ScheduleType needs it", 35111)
        return
    if message.schedule_type is None:
        yield Fault("ScheduleType", "must be fixed beside a SendAt")
    if not message.messaging_service_sid:
        # Older pages say that Twilio drops the time and sends at once.
        yield Fault("SendAt", "only a messaging service can send later", 35118)
    try:
        at = datetime.fromisoformat(message.send_at)
    except ValueError:
        yield Fault("SendAt", "must be ISO 8601 like 2030-01-31T09:00:00Z", 35114)
        return
    if at.tzinfo is None:
        yield Fault("SendAt", "needs an offset, like 2030-01-31T09:00:00Z", 35114)
    elif now is not None and not _SOONEST <= at - datetime.fromtimestamp(now, UTC) <= _LATEST:
        yield Fault("SendAt", "must be 15 minutes to 35 days away", 35115)


def _is_web_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"\s", text)
