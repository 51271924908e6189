"""The Messages resource as Twilio has it: its list's filters, and its objects by SID with every field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict, Unpack

from broadcaster.twilio.resources import unix_seconds
from broadcaster.twilio.wire import decode, follow, rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.twilio.wire import Wire

#: Twilio's largest page (larger ones are refused with 20007).
PAGE_SIZE: Final = 1000
#: A Message in JSON's types, as Twilio answers it (OpenAPI: `api.v2010.account.message`).
Resource = dict[str, Any]
_NAMES: Final = {
    "to": "To",
    "from_": "From",
    "date_sent": "DateSent",
    "sent_after": "DateSent>",
    "sent_before": "DateSent<",
    "page_size": "PageSize",
}
is_sid: Final = re.compile(r"(?:SM|MM)[0-9a-fA-F]{32}").fullmatch


class Filters(TypedDict, total=False):
    """What Twilio's list is narrowed to; `page_size` is at most `PAGE_SIZE`, which it is without.

    The three dates are days or times in GMT as Twilio takes them (`2026-11-21`), both bounds included.
    Messages not sent yet have no `date_sent`: whether a date filter passes them is not documented.
    """

    to: str | None
    from_: str | None
    date_sent: str | None
    sent_after: str | None
    sent_before: str | None
    page_size: int


class Listed(NamedTuple):
    """A page; `following` is where the next one is by Twilio's word, a path and its query; None: the last."""

    messages: list[Resource]
    following: str | None


def list_query(**filters: Unpack[Filters]) -> Mapping[str, str]:
    """Return a list's query by Twilio's names."""
    given = {"page_size": PAGE_SIZE, **filters}
    return {theirs: str(given[name]) for name, theirs in _NAMES.items() if given.get(name)}


def list_url(wire: Wire) -> str:
    """Return the address of the account's list."""
    return f"{wire.account_url}/Messages.json"


def message_url(wire: Wire, sid: str) -> str:
    """Return a message's address. Raises ValueError for what is no SID: it would be another address."""
    if is_sid(sid) is None:
        raise ValueError(f"{sid!r} is no SID of a message: SM or MM and 32 hexadecimal digits")
    return f"{wire.account_url}/Messages/{sid}.json"


async def page(wire: Wire, following: str | None = None, **filters: Unpack[Filters]) -> Listed:
    """Read the list's first page, or the one that `following` names. Raises like `Wire.get`."""
    first = list_url(wire)
    there = follow(first, following)
    answer = await (wire.get(there) if there else wire.get(first, list_query(**filters)))
    more = decode(answer, dict[str, Any]).get("next_page_uri")
    return Listed(rows(answer, "messages"), more if isinstance(more, str) else None)


async def read(wire: Wire, sid: str) -> Resource:
    """Read one message. Code 20404: there is none."""
    return decode(await wire.get(message_url(wire, sid)), Resource)


async def read_dated(wire: Wire, sid: str) -> tuple[Resource, int | None]:
    """Read one message, and Twilio's clock (unix seconds) by its `Date` header, None without one."""
    answer = await wire.get(message_url(wire, sid))
    return decode(answer, Resource), unix_seconds(answer.headers.get("date"))


async def update(wire: Wire, sid: str, **form: str) -> Resource:
    """Change a message: `Body=""` empties it, `Status="canceled"` cancels it (code 30409: too late)."""
    return decode(await wire.call("POST", message_url(wire, sid), form=form), Resource)


async def remove(wire: Wire, sid: str) -> None:
    """Delete a message. Code 20009: it is not finished yet."""
    await wire.call("DELETE", message_url(wire, sid))
