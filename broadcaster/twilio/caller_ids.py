"""Whom a trial account may write to: the numbers that were verified, which Twilio calls outgoing caller IDs.

By Twilio's description `api_v2010`: `GET /2010-04-01/Accounts/{sid}/OutgoingCallerIds.json`, in pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from broadcaster.twilio.wire import decode, follow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.twilio.wire import Wire

_PAGE_SIZE: Final = 1000
#: A trial account verifies a handful.
_MOST_PAGES: Final = 50


class _CallerId(msgspec.Struct):
    phone_number: str | None = None


class _Page(msgspec.Struct):
    outgoing_caller_ids: list[_CallerId] = []
    next_page_uri: str | None = None


async def verified_numbers(wire: Wire) -> frozenset[str]:
    """Return the account's verified numbers, in E.164. Raises `TwilioError` or `TwilioUnreachable`."""
    found: set[str] = set()
    url: str | None = f"{wire.account_url}/OutgoingCallerIds.json"
    query: Mapping[str, str] | None = {"PageSize": str(_PAGE_SIZE)}
    for _ in range(_MOST_PAGES):
        if url is None:
            break
        page = decode(await wire.get(url, query), _Page)
        found.update(row.phone_number for row in page.outgoing_caller_ids if row.phone_number)
        url, query = follow(url, page.next_page_uri), None
    return frozenset(found)
