"""Twilio's list of messages, read for evidence: a few requests at once, each with Twilio's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from broadcaster.domain.evidence import Listed, Look, Reading
from broadcaster.twilio.resources import listed_of
from broadcaster.twilio.rest import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.twilio.resources import MessagePage

#: One reading of the whole account's list ends here; what lies beyond is asked for by recipient.
PAGES_AT_MOST: Final = 50
#: A `Date` header has whole seconds, cut off: half a second is missing on average.
HALF_SECOND: Final = 0.5


#: The least `date_created` that is of interest (Twilio's clock), from how far that clock is ahead of ours.
Earliest = Callable[[float], int]


class Lists(Protocol):
    """What reads Twilio's list: its REST client, or a recording one."""

    def message_pages(self, *, to: str | None = None, page_size: int = 1000) -> AsyncIterator[MessagePage]:
        """Yield pages; raises on the first that can't be read."""
        ...


class Listing:
    """Reads lists in one round of settling. `now` is our clock: Redis' time when the round began, carried on.

    `refused` is the error that ended a reading, `rest_seconds` what Twilio wishes us to wait; `skew` is how
    far Twilio's clock is ahead of ours, 0.0 until it was `clocked`.
    """

    def __init__(self, twilio: Lists, now: float, *, at_once: int, page_size: int) -> None:
        self.refused: TwilioError | TwilioUnreachable | None = None
        self.rest_seconds = 0.0
        self.skew = 0.0
        self.clocked = False
        self.newest: int | None = None
        self.requests = 0
        self._twilio = twilio
        self._base = now - monotonic()
        self._gate = asyncio.Semaphore(at_once)
        self._page_size = page_size

    def now(self) -> float:
        """Return our clock's unix seconds."""
        return self._base + monotonic()

    async def by_recipient(self, to: str, earliest: Earliest) -> tuple[list[Listed], Look]:
        """Read all that is listed to one recipient since `earliest`, given Twilio's clock."""
        async with self._gate:
            return await self._read(to, earliest)

    async def everything(self, earliest: Earliest) -> tuple[list[Listed], Look]:
        """Read the account's list until it is older than `earliest`."""
        async with self._gate:
            return await self._read(None, earliest)

    async def control(self) -> None:
        """Read the list's first page only, for the newest message that it shows."""
        async with self._gate:
            await self._read(None, int, pages=1)

    async def _read(
        self, to: str | None, earliest: Earliest, *, pages: int = PAGES_AT_MOST
    ) -> tuple[list[Listed], Look]:
        began, reading, found = self.now(), Reading(), list[Listed]()
        # a control counts for what is read after it
        newest = self.newest
        try:
            async for page in self._twilio.message_pages(to=to, page_size=self._page_size):
                self._clock(page)
                reading.earliest = earliest(self.skew)
                listed = [listed_of(message) for message in page.messages]
                found += listed
                pages -= 1
                done = reading.page(listed, last=page.next_page_uri is None)
                if done or pages <= 0 or (to is None and reading.past):
                    break
        except (TwilioError, TwilioUnreachable) as error:
            self.refused = error
            if isinstance(error, TwilioError):
                self.rest_seconds = max(self.rest_seconds, error.retry_after_seconds or 0.0)
        seen = [at for at in (newest, reading.newest) if at is not None]
        self.newest = max([*seen, *([self.newest] if self.newest is not None else [])], default=None)
        return found, Look(began, reading.complete, max(seen, default=None), self.skew)

    def _clock(self, page: MessagePage) -> None:
        self.requests += 1
        if page.server_seconds is not None:
            self.skew = page.server_seconds + HALF_SECOND - self.now()
            self.clocked = True
