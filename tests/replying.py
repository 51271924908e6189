"""Replies as Twilio tells of them."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from broadcaster.operations.actor import Actor
from broadcaster.operations.replies import ReplyRules, receive
from broadcaster.reporting.replies import ReplyView, page

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

PERSON = "+14155550100"
LONG_CODE, SHORT_CODE, TOLL_FREE, WHATSAPP = "+14155550199", "12345", "+18885550199", "whatsapp:+14155550199"
SERVICE = "MG" + "0" * 32
TESTER = Actor("person:test", "here")
ANSWERS = {"stop": "You are out.", "start": "Welcome back.", "help": "Call us.", "auto": "Nobody reads this."}
RULES = ReplyRules(answers=ANSWERS)
NO_ANSWERS = ReplyRules()
_numbers = count(1)


def form(
    body: str, *, sid: str = "", person: str = PERSON, to: str = LONG_CODE, **more: str
) -> dict[str, str]:
    """Return the parameters of an inbound webhook; a new SID unless one is given."""
    name = sid or f"SM{next(_numbers):032x}"
    return {
        "MessageSid": name,
        "From": person,
        "To": to,
        "Body": body,
        "NumMedia": "0",
        "AccountSid": "AC",
        **more,
    }


async def write(store: Store, body: str, rules: ReplyRules = NO_ANSWERS, **more: Any) -> str:
    """Let somebody write to us; return the text of our answer, "" for none."""
    twiml = await receive(store, rules, form(body, **more))
    assert twiml.startswith('<?xml version="1.0" encoding="UTF-8"?><Response')
    return twiml.partition("<Message>")[2].partition("</Message>")[0]


async def newest(store: Store, **wanted: Any) -> list[ReplyView]:
    """Return all replies that are wanted, the newest first."""
    views, rest = await page(store, limit=100, **wanted)
    assert rest is None
    return views


async def opted_out(store: Store) -> dict[str, str]:
    """Return the sources of all opt-outs by `SCOPE|ADDRESS`."""
    found = await store.redis.hgetall(store.keys.plain("optouts"))
    return {field.decode(): value.decode().rpartition("|")[0] for field, value in found.items()}
