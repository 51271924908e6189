"""A person writes: the message is received, Twilio minds its own words, the customer is asked what to answer.

Source: Twilio's pages on webhook requests for messages and on opt-out keywords.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster.simulator.conversation import Heard, Text
from broadcaster.simulator.media import media_sid
from broadcaster.simulator.optouts import ANSWERS, meaning, service_of
from broadcaster.simulator.twiml import NO_TWIML, Reply, TwimlError, replies_in
from broadcaster.simulator.webhook import webhook
from broadcaster.simulator.whatsapp import reopen

if TYPE_CHECKING:
    from broadcaster.simulator.config import SimulatorConfig
    from broadcaster.simulator.messages import Message
    from broadcaster.simulator.outgoing import Result
    from broadcaster.simulator.world import World

_PLACES = ("City", "State", "Zip", "Country")


class Media(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that a person sends."""

    url: str
    content_type: str = "image/jpeg"


class Written(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"sender": "from"}
):
    """What a person does; only WhatsApp knows places, profiles, buttons. `parameters` are sent as given."""

    sender: str
    to: str
    body: str = ""
    media: tuple[Media, ...] = ()
    latitude: float | None = None
    longitude: float | None = None
    address: str | None = None
    label: str | None = None
    profile_name: str = "Ann"
    button_text: str | None = None
    button_payload: str | None = None
    replied_to: str | None = None
    parameters: dict[str, str] = msgspec.field(default_factory=dict)


async def write(world: World, body: bytes) -> object:
    """Serve the control API's `POST inbound`: one message, or a list of them at once. Raises MsgspecError."""
    asked = msgspec.json.decode(body, type=Written | list[Written])
    if isinstance(asked, Written):
        return await receive(world, asked)
    return await asyncio.gather(*(receive(world, written) for written in asked))


async def receive(world: World, written: Written) -> dict[str, Any]:
    """Let a person write, wait for the customer's answer, and return what became of it."""
    config, conversation, now = world.config, world.conversation, world.now()
    service = service_of(written.to, config)
    media = tuple((media.url, media.content_type) for media in written.media)
    message = conversation.receive(Text(written.to, written.sender, service, written.body, media), now)
    answer = ""
    if written.to.startswith("whatsapp:"):
        answer = world.chats.hear(written.sender, written.to, written.body, config, now)
        reopen([world.messages[number] for number in world.messages_to(written.sender)], written.to, now)
    word = meaning(written.body, written.to, config)
    heard = Heard(number=message.number)
    conversation.heard.append(heard)
    if word:
        if service and config.services[service].advanced_opt_out:
            heard.opt_out_type = word
        if world.optouts.take(word, written.sender, written.to, config):
            heard.answered_by_twilio = True
            # The confirmation of a STOP is the one message that still goes out.
            _send_back(world, message, heard, Reply(ANSWERS[word], ()))
    if answer:  # the sandbox's own business
        heard.answered_by_twilio = True
        _send_back(world, message, heard, Reply(answer, ()))
    url, method = _where(written.to, service, config)
    if url and not answer:
        heard.url = url
        result = await _ask(world, url, method, inbound_form(world, message, written, heard.opt_out_type))
        if world.conversation is conversation:  # else all was forgotten meanwhile
            _take(world, message, heard, result)
    return conversation.row(heard, world.now())


def _where(number: str, service: str | None, config: SimulatorConfig) -> tuple[str, str]:
    """Return the URL and method that get a message to this number; no URL where nothing is set."""
    pool = config.services.get(service or "")
    if pool is not None and not pool.use_inbound_webhook_on_number:
        return pool.inbound_request_url or config.inbound_url or "", "POST"
    own = config.numbers.get(number)
    if own is None or own.sms_url is None:
        return config.inbound_url or "", "POST"
    return own.sms_url, own.sms_method


async def _ask(world: World, url: str, method: str, form: dict[str, str]) -> Result:
    """Send the webhook and wait for its end. Raises ValueError where the URL is none."""
    answered: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    def done(result: Result) -> None:
        if not answered.done():
            answered.set_result(result)

    sid = form["MessageSid"]
    idempotency = f"{sid[2:10]}-{sid[10:14]}-{sid[14:18]}-{sid[18:22]}-{sid[22:]}"
    world.outgoing.send(
        webhook(url, form, token=world.config.token, idempotency=idempotency, method=method), done
    )
    return await answered


def _take(world: World, message: Message, heard: Heard, result: Result) -> None:
    """Keep the customer's answer and send back what it asks for."""
    heard.status, heard.failure, heard.tries = result.status, result.failure, result.tries
    heard.answered_ms = time.monotonic() * 1000
    heard.twiml = result.body.decode("utf-8", "replace")
    if not result.good:
        return
    try:
        replies = replies_in(result.body)
    except TwimlError:
        heard.error = NO_TWIML
        return
    for reply in replies:
        refused = world.optouts.refuse({"To": message.sender, "From": message.to}, world.config)
        _send_back(world, message, heard, reply, refused=refused)


def _send_back(world: World, message: Message, heard: Heard, reply: Reply, *, refused: int = 0) -> None:
    """Send a reply from the number that was written to; the files' types are the simulator's guess."""
    media = tuple((url, "image/jpeg") for url in reply.media)
    text = Text(message.sender, message.to, message.service, reply.body, media)
    sent = world.conversation.reply(text, world.queue(message.to), world.now(), refused=refused)
    heard.replies.append(sent.number)


def inbound_form(world: World, message: Message, written: Written, opt_out_type: str) -> dict[str, str]:
    """Return the parameters of the webhook."""
    sid, whatsapp = message.sid, written.sender.startswith("whatsapp:")
    form = {
        "SmsMessageSid": sid,
        "NumMedia": str(message.media),
        "SmsSid": sid,
        "SmsStatus": "received",
        "Body": message.body,
        "To": message.to,
        "NumSegments": str(message.segments),
        "MessageSid": sid,
        "AccountSid": message.account,
        "From": message.sender,
        "ApiVersion": "2010-04-01",
    }
    if message.service:
        form["MessagingServiceSid"] = message.service
    if opt_out_type:
        form["OptOutType"] = opt_out_type
    folder = f"{world.url}/2010-04-01/Accounts/{message.account}/Messages/{sid}/Media"
    for place, (_, content_type) in enumerate(world.conversation.media.get(message.number, ())):
        form[f"MediaContentType{place}"] = content_type
        form[f"MediaUrl{place}"] = f"{folder}/{media_sid(message, place)}"  # without .json it is the file
    return form | (_whatsapp(written) if whatsapp else _places(message)) | written.parameters


def _places(message: Message) -> dict[str, str]:
    """Return where Twilio thinks that the numbers are; often it does not know."""
    us = {"From": message.sender.startswith("+1"), "To": message.to.startswith("+1")}
    return {f"{end}{what}": "US" if us[end] and what == "Country" else "" for end in us for what in _PLACES}


def _whatsapp(written: Written) -> dict[str, str]:
    kind = "location" if written.latitude is not None else "button" if written.button_text else "text"
    form = {
        "ProfileName": written.profile_name,
        "WaId": written.sender.removeprefix("whatsapp:+"),
        "MessageType": "image" if written.media else kind,
    }
    more = {
        "Latitude": None if written.latitude is None else str(written.latitude),
        "Longitude": None if written.longitude is None else str(written.longitude),
        "Address": written.address,
        "Label": written.label,
        "ButtonText": written.button_text,
        "ButtonPayload": written.button_payload,
        "OriginalRepliedMessageSid": written.replied_to,
        "OriginalRepliedMessageSender": written.to if written.replied_to else None,
    }
    return form | {name: value for name, value in more.items() if value is not None}
