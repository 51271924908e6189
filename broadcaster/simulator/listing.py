"""Twilio's message list: filters, order, pages, and the ways in which it lags behind what was accepted."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from broadcaster.simulator.errors import error_body, status_of
from broadcaster.simulator.exchange import Answer
from broadcaster.simulator.forms import as_number
from broadcaster.simulator.messages import resource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.simulator.messages import Message
    from broadcaster.simulator.world import World

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 1000
SNAPSHOTS_KEPT: Final = 16
FILTERS: Final = ("To", "From", "DateSent", "DateSent<", "DateSent>")
_OTHERS: Final = ("PhoneNumber", "FriendlyName", "ShortCode")
_DAY: Final = 86_400.0
encoded: Final = msgspec.json.Encoder().encode


class _BadQueryError(Exception):
    """The query can't be served; `code` is Twilio's."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def message_page(world: World, path: str, query: dict[str, str]) -> Answer:
    """Serve one page of the list. Later pages are pages of what the first one saw."""
    try:
        size, page = _paging(query)
        numbers = _listing(world, query)
    except _BadQueryError as bad:
        return Answer(status_of(bad.code), error_body(bad.code, status_of(bad.code)))
    token = query.get("PageToken")
    if world.config.list_fail_from_page and page >= world.config.list_fail_from_page:
        return _refusal(world)
    rows = numbers[page * size : (page + 1) * size]
    more = (page + 1) * size < len(numbers)
    if more and token is None:
        token = _keep(world, numbers)
    now, skew = world.now(), world.config.clock_skew_seconds
    resources: list[object] = [resource(_at(world, place), now, skew) for place in rows]
    shown = _Page("messages", resources, size, page, token if more else None)
    return Answer(200, encoded(_envelope(path, query, shown)))


def _refusal(world: World) -> Answer:
    """Return what a page is refused with."""
    status, wish = world.config.list_fail_status, world.config.retry_after_seconds
    extra = ((b"retry-after", b"%d" % wish),) if status == 429 and wish is not None else ()  # noqa: PLR2004
    return Answer(status, error_body(20429 if status == 429 else 20500, status), extra=extra)  # noqa: PLR2004


def _listing(world: World, query: dict[str, str]) -> list[int]:
    """Return the listing that the page is cut from: the remembered one, or a new one."""
    token = query.get("PageToken")
    if not token:
        return _select(world, query)
    if token not in world.snapshots:
        raise _BadQueryError(20422)
    return world.snapshots[token]


def simple_page(path: str, query: dict[str, str], key: str, rows: list[object]) -> Answer:
    """Serve a short list of the 2010 API by page number alone."""
    try:
        size, page = _paging(query)
    except _BadQueryError as bad:
        return Answer(status_of(bad.code), error_body(bad.code, status_of(bad.code)))
    shown = rows[page * size : (page + 1) * size]
    more = "PASIMULATED" if (page + 1) * size < len(rows) else None
    return Answer(200, encoded(_envelope(path, query, _Page(key, shown, size, page, more))))


class _Page(NamedTuple):
    """A page's rows under their key; `token` is set when there is a next one."""

    key: str
    rows: list[object]
    size: int
    number: int
    token: str | None


def _envelope(path: str, query: dict[str, str], page: _Page) -> dict[str, object]:
    """Return what the 2010 API wraps around a page."""
    filters = {name: query[name] for name in (*FILTERS, *_OTHERS) if name in query}

    def uri(number: int, page_token: str | None = None) -> str:
        more = {"PageToken": page_token} if page_token else {}
        return f"{path}?{urlencode(filters | {'PageSize': str(page.size), 'Page': str(number)} | more)}"

    given = query.get("PageToken")
    start = page.number * page.size
    return {
        page.key: page.rows,
        "page": page.number,
        "page_size": page.size,
        "start": start,
        "end": start + max(len(page.rows) - 1, 0),
        "uri": uri(page.number, given),
        "first_page_uri": uri(0),
        "next_page_uri": uri(page.number + 1, page.token) if page.token else None,
        "previous_page_uri": uri(page.number - 1, given) if page.number else None,
    }


def _paging(query: dict[str, str]) -> tuple[int, int]:
    size, page = query.get("PageSize", str(DEFAULT_PAGE)), query.get("Page", "0")
    if not (size.isdecimal() and page.isdecimal() and int(size)):
        raise _BadQueryError(20422)
    if int(size) > MAX_PAGE:
        raise _BadQueryError(20007)
    return int(size), int(page)


def _select(world: World, query: dict[str, str]) -> list[int]:
    """Return the places of all messages that the filters let through, in the list's order.

    A place is a message's number; what belongs to a conversation counts down from -1.
    """
    now, config = world.now(), world.config
    newest = now - config.list_lag_seconds
    to, sender = query.get("To"), query.get("From")
    places: Iterable[int] = range(len(world.messages)) if not to else world.messages_to(as_number(to))
    if world.conversation.messages:
        spoken = world.conversation.messages_to(as_number(to) if to else None)
        places = chain(places, (-1 - message.number for message in spoken))
    least, most = _window(query)
    filtered = any(query.get(name) for name in FILTERS[2:])
    found: list[tuple[float, int]] = []
    # Beyond every date or before every date: where messages without one belong.
    unsent = float("inf") if config.list_nulls == "first" else float("-inf")
    for place in places:
        message = _at(world, place)
        if message.deleted or message.created > newest:
            continue
        if message.obfuscate and to and message.shown_to(now) != as_number(to):
            continue
        if sender and message.shown_sender(now) != as_number(sender):
            continue
        at = message.sent_at(now)
        if at is None:
            if filtered and not config.nulls_pass_date_filters:
                continue
        elif not least <= int(at + config.clock_skew_seconds) <= most:
            continue
        found.append((unsent if at is None else at, place))
    found.sort(reverse=True)
    return [place for _, place in found]


def _at(world: World, place: int) -> Message:
    return world.messages[place] if place >= 0 else world.conversation.messages[-1 - place]


def _window(query: dict[str, str]) -> tuple[float, float]:
    """Return the least and greatest `date_sent`, both included, as unix seconds on Twilio's clock."""
    least = _moment(query["DateSent>"]) if query.get("DateSent>") else float("-inf")
    most = _moment(query["DateSent<"]) if query.get("DateSent<") else float("inf")
    if query.get("DateSent"):
        least = _moment(query["DateSent"])
        most = least + (_DAY - 1 if len(query["DateSent"]) <= len("2008-01-02") else 0)
    return least, most


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise _BadQueryError(20422) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _keep(world: World, numbers: list[int]) -> str:
    """Remember a listing for its later pages; the oldest one is forgotten."""
    token = f"PAMM{len(world.snapshots):04x}{time.monotonic_ns():028x}"
    world.snapshots[token] = numbers
    while len(world.snapshots) > SNAPSHOTS_KEPT:
        del world.snapshots[next(iter(world.snapshots))]
    return token
