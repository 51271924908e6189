"""Asking Twilio what became of messages: one by one at a pace, or, where they are many, from its list."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from broadcaster.store.ending import end
from broadcaster.twilio.rest import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from broadcaster.twilio.resources import Message, MessagePage
    from workers.poll_ledgers import Awaited

log = structlog.get_logger("polling")

NOT_FOUND: Final = 20404
THROTTLED: Final = 429
#: An error that names no time is waited out so long; after so many in a row Twilio is left alone.
REST_SECONDS: Final = 5.0
THROTTLED_AT_MOST: Final = 10
#: What Twilio can't tell of one message must not keep the others from being asked for; so many in a row can't
#: be about messages.
FAILED_AT_MOST: Final = 10
#: A list that answers so many times in a round that it can't (5xx) is done without.
LIST_FAILED_AT_MOST: Final = 2
_BROKEN: Final = 500
_OF_ALL: Final = frozenset((401, 403, THROTTLED))
_SLOWEST_SECONDS: Final = 10.0
#: The list is read until so many pages in a row held nothing of ours.
BARREN_PAGES: Final = 20
PAGE_SIZE: Final = 1000
#: What was sent so long before the oldest that is asked for is surely none of them: clocks differ.
TOLERANCE_SECONDS: Final = 3600

#: Is told each answer: the message, None where Twilio has no such.
Tell = Callable[["Awaited", "Message | None"], Awaitable[None]]


class Asked(Protocol):
    """What asks Twilio: its REST client, or a recording one."""

    async def fetch(self, sid: str) -> Message:
        """Read one message; raises `TwilioError`, or `TwilioUnreachable`."""
        ...

    def message_pages(
        self, *, sent_after: str | None = None, sent_before: str | None = None, page_size: int = PAGE_SIZE
    ) -> AsyncIterator[MessagePage]:
        """Yield pages of the account's list; raises on the first that can't be read."""
        ...


class Asking:
    """Asks in one round. `refused` is the error for which it stopped; then some were not asked for.

    `rate` is messages a second one by one, `at_once` of them under way together.
    """

    def __init__(self, twilio: Asked, tell: Tell, *, rate: float, at_once: int) -> None:
        self.refused: TwilioError | TwilioUnreachable | None = None
        self._twilio = twilio
        self._tell = tell
        self._at_once = at_once
        self._fastest = self._interval = 1.0 / rate
        self._next = 0.0
        self._throttled = self._failed = 0

    async def one_by_one(self, awaited: Sequence[Awaited]) -> None:
        """Fetch each by its SID; one of which Twilio can't tell is left for its next time."""
        waiting = deque(awaited)

        async def runner() -> None:
            while waiting and self.refused is None:
                one = waiting.popleft()
                await self._turn()
                try:
                    message = await self._twilio.fetch(one.sid)
                except (TwilioError, TwilioUnreachable) as error:
                    if isinstance(error, TwilioError) and error.code == NOT_FOUND:
                        await self._tell(one, None)
                    elif self._of_one(error):
                        log.warning("poll.unanswered", sid=one.sid, error=str(error))
                    elif not self._slower(error):
                        return
                    else:
                        waiting.append(one)
                    continue
                self._throttled = self._failed = 0
                self._interval = max(self._fastest, self._interval * 0.98)
                await self._tell(one, message)

        runners = [asyncio.create_task(runner()) for _ in range(self._at_once)]
        try:
            await asyncio.gather(*runners)
        finally:
            await end(runners)

    async def from_list(self, awaited: Sequence[Awaited], many: int) -> list[Awaited]:
        """Read the account's list for as long as it brings some of them; return those that it did not show.

        The newest come first, so where others have sent much since, it is read once more, for the days on
        which these were sent, if `many` are left. Where it can't be read (5xx), all the rest are left to be
        asked for one by one: should Twilio answer nothing at all, that ends soon.
        """
        wanted = {one.sid: one for one in awaited}
        earliest = min(one.began for one in awaited) - TOLERANCE_SECONDS
        if await self._read(wanted, earliest) or len(wanted) < many:
            return list(wanted.values())
        began = [one.began for one in wanted.values()]
        await self._read(
            wanted,
            min(began) - TOLERANCE_SECONDS,
            sent_after=_day(min(began) - TOLERANCE_SECONDS),
            sent_before=_day(max(began) + 2 * 86_400),
        )
        return list(wanted.values())

    async def _read(self, wanted: dict[str, Awaited], earliest: float, **days: str) -> bool:
        """Read pages; tells whether there is no use in reading more."""
        failed = 0
        while self.refused is None:
            try:
                return await self._pages(wanted, earliest, **days)
            except (TwilioError, TwilioUnreachable) as error:
                if isinstance(error, TwilioError) and error.status >= _BROKEN:
                    failed += 1
                    if failed >= LIST_FAILED_AT_MOST:
                        log.warning("poll.list_unanswered", error=str(error))
                        return True
                    self._rest(error)
                    await self._turn()
                elif self._slower(error):
                    await self._turn()  # then from the first page again: what was found is found
        return True

    async def _pages(self, wanted: dict[str, Awaited], earliest: float, **days: str) -> bool:
        barren = 0
        async for page in self._twilio.message_pages(page_size=PAGE_SIZE, **days):
            self._throttled = 0
            found = [(one, m) for m in page.messages if (one := wanted.pop(m.sid, None)) is not None]
            for one, message in found:
                await self._tell(one, message)
            barren = 0 if found else barren + 1
            past = page.messages and all(_sent_before(m, earliest) for m in page.messages)
            if not wanted or past or page.next_page_uri is None:
                return True
            if barren >= BARREN_PAGES:
                return False
        return True

    async def _turn(self) -> None:
        at = max(self._next, monotonic())
        self._next = at + self._interval
        await asyncio.sleep(at - monotonic())

    def _of_one(self, error: TwilioError | TwilioUnreachable) -> bool:
        """Tell whether an error may be about the message that was asked for, and nothing else."""
        if not isinstance(error, TwilioError) or error.status in _OF_ALL:
            return False
        self._failed += 1
        return self._failed < FAILED_AT_MOST

    def _slower(self, error: TwilioError | TwilioUnreachable) -> bool:
        """Tell whether to go on after an error: slower where Twilio wants it so."""
        self._throttled += 1
        throttled = isinstance(error, TwilioError) and error.status == THROTTLED
        if not throttled or self._throttled > THROTTLED_AT_MOST:
            self.refused = error
            return False
        assert isinstance(error, TwilioError)  # noqa: S101 - for the type checker
        self._interval = min(2 * self._interval, _SLOWEST_SECONDS)
        self._rest(error)
        return True

    def _rest(self, error: TwilioError) -> None:
        """Let the next request wait for as long as Twilio wishes."""
        rest = REST_SECONDS if error.retry_after_seconds is None else error.retry_after_seconds
        self._next = max(self._next, monotonic() + rest)


def _sent_before(message: Message, earliest: float) -> bool:
    sent = message.sent_seconds
    return sent is not None and sent < earliest


def _day(seconds: float) -> str:
    return (datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)).date().isoformat()
