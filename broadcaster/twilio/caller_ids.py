"""Whom a trial account may write to: the numbers that were verified, which Twilio calls outgoing caller IDs.

By Twilio's description `api_v2010`: `GET /2010-04-01/Accounts/{sid}/OutgoingCallerIds.json`, in pages.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from broadcaster.twilio.resources import Account
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


class TrialAccount:
    """Whether an account is a trial, and whom it may then write to; what is answered is kept for a minute."""

    def __init__(self, wire: Wire, *, kept_seconds: float = 60.0) -> None:
        self._wire = wire
        self._kept_seconds = kept_seconds
        self._until = 0.0
        self._verified: frozenset[str] | None = None

    async def verified(self) -> frozenset[str] | None:
        """Return the numbers that may be written to, None for any: it is no trial.

        Raises `TwilioError` (401 or 403 where the key may not read the account) or `TwilioUnreachable`.
        """
        if time.monotonic() >= self._until:
            account = decode(await self._wire.get(f"{self._wire.account_url}.json"), Account)
            self._verified = await verified_numbers(self._wire) if account.is_trial else None
            self._until = time.monotonic() + self._kept_seconds
        return self._verified


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
