"""Whom a trial account may write to: the numbers that were verified, which Twilio calls outgoing caller IDs.

By Twilio's description `api_v2010`: `GET /2010-04-01/Accounts/{sid}/OutgoingCallerIds.json`, in pages.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

import msgspec

from broadcaster.twilio.resources import Account
from broadcaster.twilio.wire import TwilioError, TwilioUnreachable, decode, follow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.twilio.wire import Wire

_PAGE_SIZE: Final = 1000
#: A trial account verifies a handful.
_MOST_PAGES: Final = 50
#: How long a message waits for an answer that it needs, and an answer may take.
_PATIENCE_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 15.0


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
        self._asking: asyncio.Task[None] | None = None
        self._again = 0.0
        self._awaited = True

    async def verified(self) -> frozenset[str] | None:
        """Return the numbers that may be written to, None for any: it is no trial.

        Raises `TwilioError` (401 or 403 where the key may not read the account) or `TwilioUnreachable`.
        """
        if time.monotonic() >= self._until:
            account = decode(await self._wire.get(f"{self._wire.account_url}.json"), Account)
            self._verified = await verified_numbers(self._wire) if account.is_trial else None
            self._until = time.monotonic() + self._kept_seconds
        return self._verified

    async def known(self) -> frozenset[str] | None:
        """Return the same for who sends one message after the other; None also where it can't be told soon.

        Twilio is asked at most once a minute, whether it answers or not. Only the first who asks waits for
        it, at most two seconds, and of a trial account whoever comes after a minute: somebody may have been
        verified since.
        """
        if time.monotonic() < max(self._until, self._again):
            return self._verified
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        if not self._awaited and self._verified is None:
            return None
        done, _ = await asyncio.wait((self._asking,), timeout=_PATIENCE_SECONDS)
        if not done:
            self._awaited, self._verified = False, None
        return self._verified

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait((self._asking,))
            self._asking = None

    async def _ask(self) -> None:
        told = False
        try:
            with contextlib.suppress(TwilioError, TwilioUnreachable, TimeoutError):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self.verified()
                    told = True
        finally:
            if not told:
                self._verified = None
            self._awaited = False
            self._again = time.monotonic() + self._kept_seconds
            self._asking = None


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
