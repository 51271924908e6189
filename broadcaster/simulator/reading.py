"""The account's resources but Create Message: list, fetch, update, delete, media, numbers, the account."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from broadcaster.simulator.errors import error_body, status_of
from broadcaster.simulator.exchange import Answer
from broadcaster.simulator.forms import parse_form
from broadcaster.simulator.listing import encoded, message_page
from broadcaster.simulator.media import media_answer
from broadcaster.simulator.messages import resource, rfc2822
from broadcaster.simulator.numbers import caller_id_page, number_page, one_number, short_code_page

if TYPE_CHECKING:
    from broadcaster.simulator.exchange import Exchange
    from broadcaster.simulator.messages import Message
    from broadcaster.simulator.world import World

_MESSAGE: Final = re.compile(
    r"/Messages/((?:SM|MM)[0-9a-fA-F]{32})(/Media|/Feedback|/Media/ME[0-9a-f]{32})?(\.json)?"
)
_PAGES: Final = {
    "/IncomingPhoneNumbers.json": number_page,
    "/OutgoingCallerIds.json": caller_id_page,
    "/SMS/ShortCodes.json": short_code_page,
}


async def serve(world: World, exchange: Exchange, account: str, rest: str) -> None:
    """Serve what comes after `/2010-04-01/Accounts/{sid}`."""
    fields = parse_form(await exchange.read_body() or b"").fields
    limit = world.config.concurrency_limit
    if limit and world.in_flight > limit:
        answer = failed(20429)
    elif exchange.method == "GET" and not rest.startswith("/Messages/"):
        answer = _lists(world, exchange, account, rest)
    else:
        matched = _MESSAGE.fullmatch(rest)
        message = world.find(matched[1]) if matched else None
        if matched is None or message is None or message.deleted:
            answer = failed(20404, f"{exchange.path} was not found")
        elif matched[2]:
            answer = _part(world, exchange, message, matched[2], fields)
        elif not matched[3]:
            answer = failed(20404, f"{exchange.path} is served as .json only")
        else:
            answer = _message(world, exchange.method, message, fields)
    world.answers[f"{exchange.method} {answer.status}"] += 1
    await exchange.answer(answer)


def failed(code: int, detail: str = "") -> Answer:
    """Return Twilio's answer for a code."""
    return Answer(status_of(code), error_body(code, status_of(code), detail))


def found(value: object, status: int = 200) -> Answer:
    """Return a value as JSON."""
    return Answer(status, encoded(value))


def _lists(world: World, exchange: Exchange, account: str, rest: str) -> Answer:
    """Serve what is not one message."""
    query = parse_form(exchange.query).fields
    match rest:
        case ".json":
            return found(_account(world, account))
        case "/Messages.json":
            return message_page(world, exchange.path, query)
        case _ if rest in _PAGES:
            return _PAGES[rest](world.config, exchange.path, account, query)
        case _ if rest.startswith("/IncomingPhoneNumbers/"):
            return one_number(world.config, rest, account)
        case _:
            return failed(20404, f"{exchange.path} was not found")


def _part(world: World, exchange: Exchange, message: Message, part: str, fields: dict[str, str]) -> Answer:
    """Serve what belongs to one message: its media, feedback on it."""
    if part.startswith("/Media"):
        return media_answer(world, exchange.method, exchange.path, message)
    if exchange.method == "POST":
        outcome = fields.get("Outcome", "confirmed")
        if outcome not in ("confirmed", "unconfirmed"):
            return failed(20422, "Outcome is confirmed or unconfirmed")
        return found(_feedback(message, outcome, world.now()))
    return failed(20404, f"{exchange.path} was not found")


def _message(world: World, method: str, message: Message, fields: dict[str, str]) -> Answer:
    """Fetch, update or delete a message."""
    now = world.now()
    if method == "DELETE":
        if not message.complete(now):
            return failed(20009)
        message.deleted = True
        return Answer(204, b"")
    code = _update(world, message, fields, now) if method == "POST" else 0
    detail = "Body may be empty only" if fields.get("Body") else ""
    return failed(code, detail) if code else found(resource(message, now, world.config.clock_skew_seconds))


def _update(world: World, message: Message, fields: dict[str, str], now: float) -> int:
    """Redact (`Body=`) or cancel (`Status=canceled`); return a code where that can't be."""
    if fields.get("Body"):
        return 20422
    if "Status" in fields:
        if fields["Status"] != "canceled":
            return 20422
        if message.status(now) != "scheduled":
            return 30409
        message.canceled = True
        message.touched = now
        world.callbacks.canceled(message)
    if "Body" in fields:
        message.redacted = True
    message.touched = now
    return 0


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
