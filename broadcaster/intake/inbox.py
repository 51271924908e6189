"""What people wrote to our WhatsApp senders, as Twilio's own list has it: where no reply was reported to us.

The list is asked for what was sent to a sender (List API: `To`, `DateSent>`), newest first, until a page is
older than a day, or for one person's last message if there are few. What it says only ever raises our marks
(ledger/inbound.py).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from broadcaster.domain.whatsapp_numbers import forms_of
from broadcaster.domain.whatsapp_window import WINDOW_SECONDS
from broadcaster.ledger import inbound
from broadcaster.twilio.rest import PAGE_SIZE, TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from broadcaster.store.connection import Store
    from broadcaster.twilio.resources import Message, MessagePage
    from broadcaster.twilio.rest import TwilioRest

#: Up to so many people are asked for one by one, a page of one message each.
FEW: Final = 20
#: Of one sender at most so many pages are read: 50,000 messages in a day.
PAGES_AT_MOST: Final = 50
#: What the list said holds for so long, of one person for less; what could not be asked is left alone.
FRESH_SECONDS: Final = 60
_FRESH_OF_ONE_SECONDS: Final = 10.0
_LEFT_ALONE_SECONDS: Final = 10.0
#: Twilio's list may show a message some time after it came; what was read is read again so far back.
_LAG_SECONDS: Final = 300
_AT_ONCE: Final = 4
_REMEMBERED: Final = 10_000


class Inbox:
    """Reads Twilio's list into the marks; what it has just asked for it does not ask for again.

    Without `twilio` (no credentials) nothing can be asked.
    """

    def __init__(self, store: Store, twilio: TwilioRest | None) -> None:
        self._store = store
        self._twilio = twilio
        self._asked: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._failed: dict[str, tuple[float, str]] = {}
        self._beyond: dict[str, tuple[float, str]] = {}
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._reading: dict[str, asyncio.Lock] = {}

    async def read(self, sender: str, people: Sequence[str], patience_seconds: float) -> str:
        """Raise the marks of people with a sender. Returns why that is not known of all, "" if it is.

        Raises redis' errors and `StoreError`.
        """
        if len(people) > FEW:
            return await self.refresh(sender, patience_seconds)

        async def few(twilio: TwilioRest) -> str:
            await asyncio.gather(*(self._one(twilio, sender, person) for person in people))
            return ""

        return await self._patiently(sender, patience_seconds, few)

    async def refresh(self, sender: str, patience_seconds: float) -> str:
        """Raise the marks of all who wrote to a sender since that was last done. As `read` otherwise."""

        async def whole(twilio: TwilioRest) -> str:
            return await self._all(twilio, sender)

        return await self._patiently(sender, patience_seconds, whole)

    async def _patiently(
        self, sender: str, seconds: float, ask: Callable[[TwilioRest], Awaitable[str]]
    ) -> str:
        """Ask, unless that just failed; return why it could not be done, "" if it was."""
        if self._twilio is None:
            return "Twilio's list can't be asked without its credentials"
        until, why = self._failed.get(sender, (0.0, ""))
        if time.monotonic() < until:
            return why
        try:
            async with asyncio.timeout(seconds):
                return await ask(self._twilio)
        except (TwilioError, TwilioUnreachable) as error:
            why = f"Twilio's list of what was written to {sender} could not be read: {error}"
        except TimeoutError:
            why = f"Twilio's list of what was written to {sender} took too long to read"
        self._failed[sender] = (time.monotonic() + _LEFT_ALONE_SECONDS, why)
        return why

    async def _one(self, twilio: TwilioRest, sender: str, person: str) -> None:
        asked = self._asked.get((sender, person))
        if asked is not None and time.monotonic() - asked < _FRESH_OF_ONE_SECONDS:
            return
        async with self._at_once:
            for form in forms_of(person):
                pages = twilio.message_pages(to=sender, from_=form, sent_after=_long_ago(), page_size=1)
                async for page in pages:
                    await self._note(sender, page)
                    break
        self._asked[sender, person] = time.monotonic()
        while len(self._asked) > _REMEMBERED:
            self._asked.popitem(last=False)

    async def _all(self, twilio: TwilioRest, sender: str) -> str:
        """Read all that was written to a sender since the list was last read."""
        async with self._reading.setdefault(sender, asyncio.Lock()):
            now = time.time()
            until, beyond = self._beyond.get(sender, (0.0, ""))
            if now < until:
                return beyond
            read = await inbound.list_read_at(self._store, sender)
            if now - read < FRESH_SECONDS:
                return ""
            oldest = max(read, now - WINDOW_SECONDS) - _LAG_SECONDS
            number = 0
            async for page in twilio.message_pages(to=sender, sent_after=_long_ago(), page_size=PAGE_SIZE):
                await self._note(sender, page)
                number += 1
                if page.messages and all(_at(message) < oldest for message in page.messages):
                    break
                if number >= PAGES_AT_MOST and page.next_page_uri:
                    beyond = (
                        f"more than {PAGES_AT_MOST * PAGE_SIZE:,} messages were written to {sender} since "
                        "yesterday, and only the last of them were read"
                    )
                    self._beyond[sender] = (now + FRESH_SECONDS, beyond)
                    return beyond
            await self._store.run_all(inbound.list_read(sender, now))
            return ""

    async def _note(self, sender: str, page: MessagePage) -> None:
        last: dict[str, int] = {}
        for message in page.messages:
            if message.direction == "inbound" and message.from_:
                last[message.from_] = max(last.get(message.from_, 0), _at(message))
        if last:
            await self._store.run_all(inbound.wrote(sender, last))


def _at(message: Message) -> int:
    return message.sent_seconds or message.created_seconds or 0


def _long_ago() -> str:
    """Return the day, in GMT, before the one in which a window that is open now can have opened.

    Whether `DateSent>` holds that day itself need not be known so: what is older is at the list's end.
    """
    return datetime.fromtimestamp(time.time() - 2 * WINDOW_SECONDS, UTC).strftime("%Y-%m-%d")
