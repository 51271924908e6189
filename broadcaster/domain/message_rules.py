"""Twilio's rules for Create Message, one row each: the parameter, its code, the rule, and what breaks it.

From Twilio's OpenAPI file, its Message resource page and its error dictionary.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from broadcaster.domain.addresses import AddressError, channel_of, is_e164
from broadcaster.domain.content import MAX_BODY_CHARACTERS
from broadcaster.domain.location import LocationError, read_action
from broadcaster.domain.message_values import (
    MAX_URL_CHARACTERS,
    is_callback,
    is_sid,
    is_text_map,
    is_web_url,
    sends_sms,
)
from broadcaster.domain.senders import Sender, SenderKind, parse_sender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broadcaster.domain.create_message import CreateMessage

MAX_MEDIA: Final = 10
MAX_VALIDITY_SECONDS: Final = 36_000
# Documented as 300 s now and as 900 s on older pages; the longer one is safe under both.
SOONEST: Final = timedelta(minutes=15)
LATEST: Final = timedelta(days=35)
_DEAREST: Final = 1_000_000


class Fault(msgspec.Struct, frozen=True):
    """A parameter that Twilio would refuse: its name, the rule, and the code (0 where none is known)."""

    parameter: str
    rule: str
    twilio_code: int = 0


class Rule(NamedTuple):
    """One row: `broken` says whether a message breaks it."""

    parameter: str
    twilio_code: int
    rule: str
    broken: Callable[[CreateMessage], bool]


def broken_rules(message: CreateMessage, now: float | None) -> Iterator[Fault]:
    """Yield a fault for each rule that `message` breaks; `now` (unix seconds) lets a send time be judged."""
    for rule in RULES:
        if rule.broken(message):
            yield Fault(rule.parameter, rule.rule, rule.twilio_code)
    yield from _check_sender(message)
    yield from _check_places(message)
    if message.send_at is not None:
        yield from _check_send_at(message.send_at, now)


def _on_whatsapp(message: CreateMessage) -> bool:
    return message.to.startswith("whatsapp:")


def _has_content(message: CreateMessage) -> bool:
    return bool((message.body and message.body.strip()) or message.media_url or message.content_sid)


RULES: Final = (
    Rule("To", 21604, "a recipient is required", lambda m: not m.to),
    Rule(
        "To",
        21211,
        "must be +14155550100 or whatsapp:+14155550100",
        lambda m: bool(m.to) and not is_e164(m.to.removeprefix("whatsapp:")),
    ),
    Rule(
        "From",
        21603,
        "a sender or a messaging service is required",
        lambda m: not m.from_ and not m.messaging_service_sid,
    ),
    Rule(
        "FallbackFrom",
        21664,
        "needs a messaging service and no From",
        lambda m: bool(m.fallback_from) and bool(m.from_ or not m.messaging_service_sid),
    ),
    Rule(
        "FallbackFrom",
        21665,
        "must be a number (+14155550100), a short code or a name, which sends SMS",
        lambda m: m.fallback_from is not None and not sends_sms(m.fallback_from),
    ),
    Rule("Body", 21619, "a body, a media URL or a template is required", lambda m: not _has_content(m)),
    Rule(
        "Body",
        21617,
        f"at most {MAX_BODY_CHARACTERS} characters",
        lambda m: len(m.body or "") > MAX_BODY_CHARACTERS,
    ),
    Rule(
        "Body",
        0,
        "a content template brings its own text; give one of the two",
        lambda m: bool(m.content_sid and m.body),
    ),
    Rule("MediaUrl", 21623, f"at most {MAX_MEDIA}", lambda m: len(m.media_url) > MAX_MEDIA),
    Rule(
        "MediaUrl",
        0,
        "WhatsApp sends one per message and drops the others",
        lambda m: len(m.media_url) > 1 and _on_whatsapp(m),
    ),
    Rule(
        "MediaUrl",
        21620,
        "must be an http or https address",
        lambda m: not all(map(is_web_url, m.media_url)),
    ),
    Rule(
        "MediaUrl",
        63030,
        "a content template brings its own media",
        lambda m: bool(m.content_sid and m.media_url),
    ),
    Rule(
        "ContentVariables",
        21654,
        "need a ContentSid",
        lambda m: m.content_variables is not None and not m.content_sid,
    ),
    Rule(
        "ContentVariables",
        21656,
        "must be a JSON object of strings",
        lambda m: not is_text_map(m.content_variables),
    ),
    Rule(
        "PersistentAction",
        0,
        "only WhatsApp has them",
        lambda m: bool(m.persistent_action) and not _on_whatsapp(m),
    ),
    Rule(
        "PersistentAction",
        0,
        "a location needs a body: its name",
        lambda m: bool(m.persistent_action) and not m.body,
    ),
    Rule(
        "MessagingServiceSid",
        21705,
        "must be MG and 32 hexadecimal digits",
        lambda m: not is_sid(m.messaging_service_sid, "MG"),
    ),
    Rule(
        "ContentSid",
        21655,
        "must be HX and 32 hexadecimal digits",
        lambda m: not is_sid(m.content_sid, "HX"),
    ),
    Rule(
        "ApplicationSid",
        20422,
        "must be AP and 32 hexadecimal digits",
        lambda m: not is_sid(m.application_sid, "AP"),
    ),
    Rule(
        "ApplicationSid",
        0,
        "Twilio ignores it beside a StatusCallback: give one of the two",
        lambda m: bool(m.application_sid and m.status_callback),
    ),
    Rule(
        "StatusCallback",
        21609,
        f"must be an http(s) address of at most {MAX_URL_CHARACTERS} characters, no underscore in its host",
        lambda m: not is_callback(m.status_callback),
    ),
    Rule(
        "ValidityPeriod",
        21624,
        f"must be 1 to {MAX_VALIDITY_SECONDS} seconds",
        lambda m: m.validity_period is not None and not 1 <= m.validity_period <= MAX_VALIDITY_SECONDS,
    ),
    Rule(
        "MaxPrice",
        20422,
        "must be a price, 0 or more",
        lambda m: m.max_price is not None and not 0 <= m.max_price < _DEAREST,
    ),
    Rule("Attempt", 20422, "counts from 1", lambda m: m.attempt is not None and m.attempt < 1),
    Rule(
        "ShortenUrls",
        0,
        "needs a messaging service with a link shortening domain",
        lambda m: bool(m.shorten_urls) and not m.messaging_service_sid,
    ),
    Rule(
        "ContentRetention",
        30029,
        "must be retain or discard",
        lambda m: m.content_retention not in (None, "retain", "discard"),
    ),
    Rule(
        "AddressRetention",
        30030,
        "must be retain or obfuscate",
        lambda m: m.address_retention not in (None, "retain", "obfuscate"),
    ),
    Rule(
        "RiskCheck",
        20422,
        "must be enable or disable",
        lambda m: m.risk_check not in (None, "enable", "disable"),
    ),
    Rule("TrafficType", 20422, "must be free", lambda m: m.traffic_type not in (None, "free")),
    Rule("ScheduleType", 35126, "must be fixed", lambda m: m.schedule_type not in (None, "fixed")),
    Rule(
        "ScheduleType",
        0,
        "must be fixed beside a SendAt",
        lambda m: m.schedule_type is None and m.send_at is not None,
    ),
    Rule(
        "SendAt",
        35111,
        "a ScheduleType needs it",
        lambda m: m.send_at is None and m.schedule_type is not None,
    ),
    # Older pages say that Twilio drops the time and sends at once.
    Rule(
        "SendAt",
        35118,
        "only a messaging service can send later",
        lambda m: m.send_at is not None and not m.messaging_service_sid,
    ),
)


def _check_sender(message: CreateMessage) -> Iterator[Fault]:
    if not message.from_:
        return
    try:
        sender: Sender = parse_sender(message.from_)
    except AddressError as error:
        yield Fault("From", str(error), 21212)
        return
    if sender.kind is SenderKind.SERVICE:
        yield Fault("From", "a service's MG… belongs in MessagingServiceSid", 21212)
    elif message.to and sender.channel is not channel_of(message.to):
        yield Fault("From", "sender and recipient must be on the same channel", 21910)
    elif sender.name == message.to:
        yield Fault("To", "sender and recipient are the same", 63031 if _on_whatsapp(message) else 21266)


def _check_places(message: CreateMessage) -> Iterator[Fault]:
    for action in message.persistent_action:
        try:
            read_action(action)
        except LocationError as error:
            yield Fault("PersistentAction", str(error))


def _check_send_at(text: str, now: float | None) -> Iterator[Fault]:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        yield Fault("SendAt", "must be ISO 8601 with an offset, like 2030-01-31T09:00:00Z", 35114)
    elif now is not None and not SOONEST <= at - datetime.fromtimestamp(now, UTC) <= LATEST:
        yield Fault("SendAt", "must be 15 minutes to 35 days away", 35115)
