"""Accepting a message: what becomes of its text, which sender takes it, when it will leave."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from zlib import crc32

from broadcaster.simulator.encoding import count_segments, smart
from broadcaster.simulator.faults import draw
from broadcaster.simulator.media import guessed
from broadcaster.simulator.messages import Message
from broadcaster.simulator.rules import send_at
from broadcaster.simulator.templates import rendered

if TYPE_CHECKING:
    from broadcaster.simulator.config import ServiceConfig, SimulatorConfig
    from broadcaster.simulator.forms import Form
    from broadcaster.simulator.world import World

TRIAL_PREFIX: Final = "Sent from your Twilio trial account - "
QUEUE_OVERFLOW: Final = 30001
EXPIRED_IN_QUEUE: Final = 30036
QUEUE_FULL: Final = 21611

_LINK: Final = re.compile(r"https?://\S+")


def text_of(form: Form, config: SimulatorConfig) -> tuple[str, tuple[str, ...]]:
    """Return the body that the recipient sees, and the URLs of media."""
    fields = form.fields
    body, media = fields.get("Body", ""), tuple(form.media)
    template = fields.get("ContentSid")
    whatsapp = fields["To"].startswith("whatsapp:")
    if template:
        body, media = rendered(template, fields.get("ContentVariables"), config, whatsapp=whatsapp)
    service = config.services.get(fields.get("MessagingServiceSid", ""))
    if service is not None and fields.get("ShortenUrls", "").lower() == "true":
        body = _LINK.sub(lambda found: _short(found[0], fields["To"], service), body)
    if (service is not None and service.smart_encoding) or fields.get("SmartEncoded", "").lower() == "true":
        body = smart(body)
    if config.account_type == "Trial":
        body = TRIAL_PREFIX + body
    return body, media[:1] if whatsapp else media  # WhatsApp takes one file


def _short(url: str, to: str, service: ServiceConfig) -> str:
    return f"https://{service.link_domain}/{int(draw(url, to) * (1 << 40)):010x}"


def accept(
    world: World, form: Form, *, account: str, now: float, received_ms: float, attempt: int, fault: str
) -> int | Message:
    """Keep the message and return it, or the code to refuse it with when its sender's queue is full."""
    config = world.config
    fields = form.fields
    to, service = fields["To"], fields.get("MessagingServiceSid")
    body, media = text_of(form, config)
    # Media and channel messages count once; only text is cut into segments.
    segments = 1 if media or to[0] != "+" else count_segments(body)
    sender = fields.get("From") or _choose(config.services[service or ""].senders, to)
    scheduled = (send_at(fields) or 0.0) if "ScheduleType" in fields else 0.0
    due = max(now, scheduled)
    chosen = due + config.choose_sender_seconds if service else 0.0
    queue = world.queue(sender)
    full = not scheduled and queue.full(now, segments, config.queue_seconds)
    if full and not service:
        return QUEUE_FULL
    starts = leaves = max(chosen, due)
    if scheduled:  # what waits for its hour is in nobody's way until then
        leaves += segments / queue.rate
    elif not full:
        starts, leaves = queue.put(starts, segments)
    outcome = QUEUE_OVERFLOW if full else 0
    validity = fields.get("ValidityPeriod")
    if validity and not full and leaves > due + int(validity):
        leaves, outcome = due + int(validity), EXPIRED_IN_QUEUE
    whatsapp = to.startswith("whatsapp:")
    outcome = outcome or _failure(world, form, sender, (body, media), leaves)
    callback = _callback(fields, config)
    early = bool(callback) and not scheduled and _drawn(config.callback_early, config, to, "early")
    if early:  # it leaves at once, so that there is something to tell
        starts = leaves = now
        chosen = now if service else 0.0
    ends = leaves + config.delivery_seconds
    message = Message(
        number=len(world.messages),
        prefix=world.prefix,
        account=account,
        to=to,
        sender=sender,
        service=service,
        named="From" in fields,
        body=body,
        segments=segments,
        media=len(media),
        created=now,
        received_ms=received_ms,
        chosen_at=chosen,
        starts_at=min(starts, leaves),
        leaves_at=leaves,
        ends_at=ends,
        attempt=attempt,
        fault=fault,
        outcome=outcome,
        scheduled_at=scheduled,
        no_receipt=not whatsapp and _drawn(config.no_receipts, config, to, "receipt"),
        read_at=ends + config.read_seconds if whatsapp and _drawn(config.reads, config, to, "read") else 0.0,
        callback=callback,
        content_sid=fields.get("ContentSid", ""),
        discard=fields.get("ContentRetention") == "discard",
        obfuscate=fields.get("AddressRetention") == "obfuscate",
        early=early,
    )
    world.add(message)
    if media:
        world.files[message.number] = tuple(guessed(url) for url in media)
    if form.actions:
        world.actions[message.number] = tuple(form.actions)
    return message


def _failure(world: World, form: Form, sender: str, text: tuple[str, tuple[str, ...]], leaves: float) -> int:
    """Return the code that the message ends with once it has left its queue, 0 where it arrives."""
    config, to, code = world.config, form.fields["To"], 0
    body, media = text
    if to.startswith("whatsapp:"):
        code = world.chats.failure(form, sender, body, config, leaves)
    if media and not code:
        failures = config.media_failures.items()
        code = next((code for part, code in failures for url in media if url.startswith(part)), 0)
    if not code and config.delivery_failures:
        code = int(world.failures.at(draw(config.seed, to, "delivery")) or 0)
    return code


def _drawn(share: float, config: SimulatorConfig, *what: str) -> bool:
    """Whether chance picks this recipient for a thing of that share."""
    return share > 0 and draw(config.seed, *what) < share


def _callback(fields: dict[str, str], config: SimulatorConfig) -> str:
    """Return where the message's statuses are told: its own URL goes before its service's."""
    if not config.callbacks:
        return ""
    own = fields.get("StatusCallback")
    if own:
        return own
    service = config.services.get(fields.get("MessagingServiceSid", ""))
    return (service.status_callback or "") if service else ""


def _choose(pool: tuple[str, ...], to: str) -> str:
    """Return the sender of the pool that this recipient always gets (sticky sender), on its channel."""
    fitting = [
        sender for sender in pool if sender.startswith("whatsapp:") == to.startswith("whatsapp:")
    ] or list(pool)
    return fitting[crc32(to.encode()) % len(fitting)]
