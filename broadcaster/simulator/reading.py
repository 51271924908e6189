"""The account's other resources: message list, fetch, update, delete, media, feedback, numbers, the account."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

import msgspec

from broadcaster.simulator.errors import error_body, status_of
from broadcaster.simulator.exchange import Answer
from broadcaster.simulator.forms import parse_form
from broadcaster.simulator.listing import message_page, simple_page
from broadcaster.simulator.messages import resource, rfc2822

if TYPE_CHECKING:
    from broadcaster.simulator.exchange import Exchange
    from broadcaster.simulator.messages import Message
    from broadcaster.simulator.world import World

_MESSAGE: Final = re.compile(r"/Messages/((?:SM|MM)[0-9a-fA-F]{32})(/Media|/Feedback)?\.json")
_encode = msgspec.json.Encoder().encode


async def serve(world: World, exchange: Exchange, account: str, rest: str) -> None:
    """Serve what comes after `/2010-04-01/Accounts/{sid}`."""
    raw = await exchange.read_body() or b""
    fields = parse_form(raw).fields
    query = parse_form(exchange.query).fields
    config = world.config
    if config.concurrency_limit and world.in_flight > config.concurrency_limit:
        answer = failed(20429)
    else:
        answer = _route(world, exchange, account, rest, fields, query)
    world.answers[f"{exchange.method} {answer.status}"] += 1
    await exchange.answer(answer)


def failed(code: int, detail: str = "") -> Answer:
    """Return Twilio's answer for a code."""
    return Answer(status_of(code), error_body(code, status_of(code), detail))


def found(value: object, status: int = 200) -> Answer:
    """Return a value as JSON."""
    return Answer(status, _encode(value))


def _route(
    world: World, exchange: Exchange, account: str, rest: str, fields: dict[str, str], query: dict[str, str]
) -> Answer:
    method = exchange.method
    if method == "GET":
        if rest == ".json":
            return found(_account(world, account))
        if rest == "/Messages.json":
            return message_page(world, exchange.path, query)
        if rest == "/IncomingPhoneNumbers.json":
            return _numbers(world, exchange.path, account, query)
        if rest == "/SMS/ShortCodes.json":
            return simple_page(exchange.path, query, "short_codes", [])
    matched = _MESSAGE.fullmatch(rest)
    message = world.find(matched[1]) if matched else None
    if matched is None or message is None or message.deleted:
        return failed(20404, f"{exchange.path} was not found")
    return _message(world, exchange, message, matched[2], fields)


def _message(
    world: World, exchange: Exchange, message: Message, part: str | None, fields: dict[str, str]
) -> Answer:
    method, now = exchange.method, time.time()
    if part == "/Media" and method == "GET":
        return simple_page(exchange.path, {}, "media_list", _media(message))
    if part == "/Feedback" and method == "POST":
        return found(_feedback(message, fields.get("Outcome", "confirmed"), now), 201)
    if part is not None:
        return failed(20404, f"{exchange.path} was not found")
    if method == "POST":
        code = _update(message, fields, now)
        if code:
            return failed(code)
    if method == "DELETE":
        if not message.complete(now):
            return failed(20009)
        message.deleted = True
        return Answer(204, b"")
    return found(resource(message, now, world.config.clock_skew_seconds))


def _update(message: Message, fields: dict[str, str], now: float) -> int:
    """Redact (`Body=`) or cancel (`Status=canceled`); return a code where that can't be."""
    if fields.get("Body"):
        return 20422
    if "Status" in fields:
        if fields["Status"] != "canceled":
            return 20422
        if message.status(now) != "scheduled":
            return 30409
        message.canceled = True
    if "Body" in fields:
        message.body = ""
    message.touched = now
    return 0


def _media(message: Message) -> list[object]:
    """Return the message's media resources; their sids only have the right form."""
    base = f"/2010-04-01/Accounts/{message.account}/Messages/{message.sid}/Media"
    created = rfc2822(int(message.created))
    sids = [f"ME{message.sid[2:-2]}{place:02x}" for place in range(message.media)]
    return [
        {
            "sid": sid,
            "account_sid": message.account,
            "parent_sid": message.sid,
            "content_type": "image/jpeg",
            "date_created": created,
            "date_updated": created,
            "uri": f"{base}/{sid}.json",
        }
        for sid in sids
    ]


def _feedback(message: Message, outcome: str, now: float) -> dict[str, object]:
    uri = f"/2010-04-01/Accounts/{message.account}/Messages/{message.sid}/Feedback.json"
    return {
        "account_sid": message.account,
        "message_sid": message.sid,
        "outcome": outcome,
        "date_created": rfc2822(int(now)),
        "date_updated": rfc2822(int(now)),
        "uri": uri,
    }


def _account(world: World, account: str) -> dict[str, object]:
    uri = f"/2010-04-01/Accounts/{account}"
    return {
        "sid": account,
        "owner_account_sid": account,
        "friendly_name": "Simulated account",
        "type": world.config.account_type,
        "status": world.config.account_status,
        "date_created": rfc2822(0),
        "date_updated": rfc2822(0),
        "uri": f"{uri}.json",
        "subresource_uris": {"messages": f"{uri}/Messages.json"},
    }


def _numbers(world: World, path: str, account: str, query: dict[str, str]) -> Answer:
    """List the account's numbers; any number counts as owned where any sender is accepted and it is asked for."""
    config = world.config
    owned = [*config.senders, *(sender for pool in config.services.values() for sender in pool.senders)]
    wanted = query.get("PhoneNumber")
    numbers = list(dict.fromkeys(sender for sender in owned if sender.startswith("+")))
    if wanted:
        fits = wanted.strip() if wanted.startswith("+") else f"+{wanted.strip()}"
        numbers = [number for number in numbers if number == fits]
        numbers = numbers or ([fits] if config.any_sender else [])
    rows: list[object] = [
        {
            "sid": f"PN{int(number[1:]):032x}",
            "account_sid": account,
            "phone_number": number,
            "friendly_name": number,
            "capabilities": {"sms": True, "mms": True, "voice": True, "fax": False},
            "status": "in-use",
            "uri": f"/2010-04-01/Accounts/{account}/IncomingPhoneNumbers/PN{int(number[1:]):032x}.json",
        }
        for number in numbers
    ]
    return simple_page(path, query, "incoming_phone_numbers", rows)
