"""Replies: taken from Twilio with what follows from them, and what a person makes of the flagged ones."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

import structlog
from msgspec.structs import replace
from redis.exceptions import RedisError

from broadcaster.domain.addresses import AddressError, mask, parse_address, with_plus
from broadcaster.domain.forgotten import addresses_of
from broadcaster.domain.record import State
from broadcaster.domain.replies import read_reply as read_form
from broadcaster.domain.spelling import parse_words
from broadcaster.domain.whatsapp_numbers import forms_of
from broadcaster.domain.words import Meaning, Words, twilio_takes, words_of
from broadcaster.ledger.optouts import opt_out
from broadcaster.ledger.people_key import key_in_use
from broadcaster.ledger.replies import done, source_of, take
from broadcaster.operations import audit
from broadcaster.operations.errors import Conflict, NotFound
from broadcaster.reporting.messages import find_number
from broadcaster.reporting.replies import ReplyView, read_reply
from broadcaster.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broadcaster.domain.replies import Reply
    from broadcaster.operations.actor import Actor
    from broadcaster.reporting.messages import MessageView
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store

log = structlog.get_logger("replies")

#: TwiML that says nothing.
NO_ANSWER: Final = '<?xml version="1.0" encoding="UTF-8"?><Response/>'
#: How long looking for the message that a reply answers may hold up the reply itself.
_LOOK_SECONDS: Final = 0.5
#: So many of a person's messages are looked at for the one that a reply names; for the last one, the newest
#: few broadcasts' are enough: what was made first may have left last.
_LOOKED_AT: Final = 50
_COMPARED: Final = 5
_NEVER_LEFT: Final = frozenset({State.QUEUED, State.RETRY, State.DEAD, State.SKIPPED})
_KINDS: Final = {Meaning.OPT_OUT: "stop", Meaning.OPT_IN: "start", Meaning.HELP: "help"}
_NO_NUMBER: Final = "it asks to be left alone, and Twilio tells no number of whoever wrote"
_NO_SENDER: Final = "it asks to be left alone, and Twilio tells not by whom"


@dataclass(frozen=True, slots=True)
class ReplyRules:
    """What replies mean, and what we answer: texts by "stop", "start", "help", "auto"; without one, none."""

    words: Words = field(default_factory=words_of)
    answers: Mapping[str, str] = field(default_factory=dict)


def rules_of(settings: Settings) -> ReplyRules:
    """Return the rules that the settings make."""
    stop, start, helping = (
        parse_words(text) if text else ()
        for text in (settings.stop_words, settings.start_words, settings.help_words)
    )
    answers = {
        "stop": settings.stop_answer,
        "start": settings.start_answer,
        "help": settings.help_answer,
        "auto": settings.auto_reply,
    }
    told = {kind: text for kind, text in answers.items() if text}
    return ReplyRules(words_of(stop, start, helping), told)


async def receive(
    store: Store,
    rules: ReplyRules,
    fields: Mapping[str, str],
    heard: Callable[[str], object] | None = None,
) -> str:
    """Take a reply as Twilio told it (the form of a webhook whose signature is good); return TwiML.

    What Twilio tells again is taken once, and answered as before. When this returns, an opt-out stands: no
    gate lets a message to that person pass any more. Raises `StoreError` or redis' errors: then it may have
    been taken. `heard` is told what each new one means, or that it is "flagged".
    """
    reply = read_form(fields)
    reply, flag = understood(rules.words, reply)
    answer = _answer(rules, reply, flag)
    message = await _answered_message(store, reply)
    key = await key_in_use(store)
    taken = await store.run(take(replace(reply, message=message), flag=flag, answer=answer, key=key))
    if taken.new:
        if heard is not None:
            heard("flagged" if taken.flagged else reply.meaning.value)
        log.info(
            "reply.received",
            reply=reply.id,
            sender=mask(reply.sender),
            meaning=reply.meaning.value,
            flagged=taken.flagged,
            opt_outs_changed=taken.changed,
        )
    return twiml(rules.answers.get(taken.answer, ""))


def understood(words: Words, reply: Reply) -> tuple[Reply, str]:
    """Return a reply with its meaning, and why a person should look at it, "" if nobody need.

    A button's payload is its maker's word for it, where its text means nothing to us; but to come in again
    somebody has to say so.
    """
    kind = reply.sender_kind
    read = words.read(reply.body, kind, opt_out_type=reply.opt_out_type)
    if read.meaning is Meaning.OTHER and reply.button is not None:
        pressed = words.read(reply.button.payload, kind)
        read = pressed if pressed.meaning is Meaning.OPT_OUT else read
    flag = read.flag
    if read.meaning is Meaning.OPT_OUT and not reply.has_number:
        flag = _NO_NUMBER
    elif read.meaning is Meaning.OPT_OUT and not reply.scopes:
        flag = _NO_SENDER
    return replace(reply, meaning=read.meaning), flag


def _answer(rules: ReplyRules, reply: Reply, flag: str) -> str:
    """Return what we would say, a key of the texts; nothing where Twilio does so, or a person should."""
    if reply.opt_out_type or twilio_takes(reply.body, reply.sender_kind):
        return ""
    kind = _KINDS.get(reply.meaning, "" if flag else "auto")
    return kind if kind in rules.answers else ""


def twiml(text: str) -> str:
    """Return TwiML (`text/xml`) that answers with a text, or says nothing without one."""
    if not text:
        return NO_ANSWER
    said = "".join(
        c for c in text if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"
    )
    return f'<?xml version="1.0" encoding="UTF-8"?><Response><Message>{escape(said)}</Message></Response>'


async def _answered_message(store: Store, reply: Reply) -> str:
    """Return the id of the message that a reply most likely answers: what it names, or what left last.

    "" where there is none, or looking took too long: the reply matters more.
    """
    if not reply.has_number:
        return ""
    left: list[MessageView] = []
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            async for view in find_number(store, None, reply.person):
                if view.sender not in reply.scopes or view.record.state in _NEVER_LEFT:
                    continue
                if reply.replied_to and view.record.sid == reply.replied_to:
                    return view.id
                left.append(view)
                if len(left) >= (_LOOKED_AT if reply.replied_to else _COMPARED):
                    break
    except (TimeoutError, RedisError, OSError, StoreError):
        log.warning("reply.message_not_found", reply=reply.id)
    return max(left, key=lambda view: view.record.began).id if left else ""


# --- what people do


def people_of(text: str, region: str | None) -> tuple[str, ...]:
    """Return whom a text names: a number as people write it, on every channel unless one is written.

    Else a user id as Twilio told it.
    """
    try:
        address = parse_address(with_plus(text), region)
    except AddressError:
        return (text.strip(),)
    return (address,) if address.startswith("whatsapp:") else addresses_of(address)


async def read(store: Store, reply_id: str) -> ReplyView:
    """Return one reply. Raises `NotFound`."""
    found = await read_reply(store, reply_id)
    if found is None:
        raise NotFound("reply", reply_id)
    return found


async def opt_out_of(store: Store, actor: Actor, reply_id: str) -> ReplyView:
    """Make an opt-out of a reply, as if a word for it had been written; it is dealt with then.

    Again it changes nothing. Raises `NotFound`, or `Conflict` where Twilio told no number.
    """
    view = await read(store, reply_id)
    reply = view.reply
    if not reply.has_number:
        raise Conflict("Twilio told no number of whoever wrote this: find it out, and add it to the opt-outs")
    source, key = source_of(reply_id), await key_in_use(store)
    calls = [opt_out(forms_of(reply.person), source, scope, key=key) for scope in reply.scopes]
    changed = sum(await store.run_all(calls))
    await _end(store, actor, view, "opt-out", {"scopes": list(reply.scopes), "changed": changed})
    return await read(store, reply_id)


async def mark_done(store: Store, actor: Actor, reply_id: str) -> ReplyView:
    """Note that somebody has dealt with a reply: it is flagged no more. Raises `NotFound`."""
    view = await read(store, reply_id)
    await _end(store, actor, view, "done", {})
    return await read(store, reply_id)


async def _end(store: Store, actor: Actor, view: ReplyView, how: str, new: dict[str, object]) -> None:
    # the audit first: an act that nobody is named for is worse than a name for an act that is asked for again
    if not view.done or new.get("changed"):
        old = {"flag": view.flag} if view.flagged else None
        target = f"{view.reply.id} from {await audit.person(store, view.reply.person)}"
        await audit.record(store, actor, f"reply.{how.replace('-', '_')}", target, old=old, new=new or None)
    if await store.run(done(view.reply.id, how, actor.who)) < 0:
        raise NotFound("reply", view.reply.id)
