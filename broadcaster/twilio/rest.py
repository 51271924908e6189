"""Everything on Twilio's API but the send path: few calls, each answered or raised."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Final, Unpack

import msgspec

from broadcaster.twilio.caller_ids import TrialAccount
from broadcaster.twilio.content import Templates
from broadcaster.twilio.messages import PAGE_SIZE, list_query, list_url, message_url, remove
from broadcaster.twilio.resources import (
    Account,
    IncomingNumber,
    Message,
    MessagePage,
    Service,
    unix_seconds,
)
from broadcaster.twilio.wire import TwilioError, TwilioUnreachable, Wire, decode, follow, rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from broadcaster.twilio.messages import Filters

__all__ = ["PAGE_SIZE", "TwilioError", "TwilioRest", "TwilioUnreachable"]

#: Where numbers are listed, those with a + and short codes: path, parameter, the list's name, the field.
_NUMBERS: Final = {
    True: ("IncomingPhoneNumbers", "PhoneNumber", "incoming_phone_numbers", "phone_number"),
    False: ("SMS/ShortCodes", "ShortCode", "short_codes", "short_code"),
}
#: Where a service's senders are listed: (path, the list's name, the sender's field).
_POOLS: Final = (
    ("PhoneNumbers", "phone_numbers", "phone_number"),
    ("ShortCodes", "short_codes", "short_code"),
    ("AlphaSenders", "alpha_senders", "alpha_sender"),
    ("ChannelSenders", "senders", "sender"),
)


class TwilioRest(Wire):
    """Reads and changes messages, and reads what an account and its services have.

    Every method raises `TwilioError` or `TwilioUnreachable`; none retries.
    """

    @cached_property
    def templates(self) -> Templates:
        """The account's templates; what is read of them is kept for some seconds."""
        return Templates(self)

    @cached_property
    def trial(self) -> TrialAccount:
        """Whether the account is a trial, and whom that may write to."""
        return TrialAccount(self)

    async def __aexit__(self, *_: object) -> None:
        await self.templates.close()
        await self.trial.close()
        await super().__aexit__()

    # ---- messages

    async def fetch(self, sid: str) -> Message:
        """Read one message. Code 20404: there is none."""
        return decode(await self.get(message_url(self, sid)), Message)

    async def list_messages(self, **filters: Unpack[Filters]) -> AsyncIterator[Message]:
        """Yield the messages that fit, page after page, in Twilio's order (by `date_sent`, newest first)."""
        async for page in self.message_pages(**filters):
            for message in page.messages:
                yield message

    async def message_pages(self, **filters: Unpack[Filters]) -> AsyncIterator[MessagePage]:
        """Yield whole pages, each with Twilio's clock; raises on the first that can't be read."""
        url: str | None = list_url(self)
        parameters: Mapping[str, str] | None = list_query(**filters)
        while url is not None:
            answer = await self.get(url, parameters)
            page = decode(answer, MessagePage)
            yield msgspec.structs.replace(page, server_seconds=unix_seconds(answer.headers.get("date")))
            url, parameters = follow(url, page.next_page_uri), None

    async def redact(self, sid: str) -> Message:
        """Empty a message's body at Twilio."""
        return await self._update(sid, {"Body": ""})

    async def cancel(self, sid: str) -> Message:
        """Cancel a message that Twilio has scheduled. Code 30409: too late."""
        return await self._update(sid, {"Status": "canceled"})

    async def delete(self, sid: str) -> None:
        """Delete a message at Twilio. Code 20009: it is not finished yet."""
        await remove(self, sid)

    # ---- account and senders

    async def check_credentials(self) -> float | None:
        """Prove that the credentials may read messages (`TwilioError` 401 or 403 if not).

        Returns how far Twilio's clock is ahead of ours in seconds, to about a second; None if it did not say.
        """
        before = time.time()
        answer = await self.get(list_url(self), list_query(page_size=1))
        decode(answer, MessagePage)
        theirs = unix_seconds(answer.headers.get("date"))
        # The header's seconds are cut off, so half a second is missing on average.
        return None if theirs is None else theirs + 0.5 - (before + time.time()) / 2

    async def account(self) -> Account:
        """Read the account. Standard API keys may not (HTTP 401 or 403)."""
        return decode(await self.get(f"{self.account_url}.json"), Account)

    async def owns_number(self, name: str) -> bool | None:
        """Tell whether a number or short code is the account's; None for senders this can't be asked of."""
        if not name.startswith("+") and not name.isdecimal():
            return None
        return await self.number(name) is not None

    async def number(self, name: str) -> IncomingNumber | None:
        """Read a number or short code of the account; None where it has no such."""
        path, key, listed, field = _NUMBERS[name.startswith("+")]
        answer = await self.get(f"{self.account_url}/{path}.json", {key: name, "PageSize": "20"})
        for row in rows(answer, listed):
            if row.get(field) == name:
                return msgspec.convert(row, IncomingNumber, strict=False)
        return None

    async def service(self, sid: str) -> Service:
        """Read a messaging service."""
        return decode(await self.get(f"{self.messaging_url}/v1/Services/{sid}"), Service)

    async def service_pool(self, sid: str) -> list[str]:
        """Return the names of all senders in a messaging service's pool, of every kind and channel."""
        names: list[str] = []
        for path, listed, field in _POOLS:
            url: str | None = f"{self.messaging_url}/v1/Services/{sid}/{path}"
            parameters: Mapping[str, str] | None = {"PageSize": str(PAGE_SIZE)}
            while url is not None:
                answer = await self.get(url, parameters)
                names += [row[field] for row in rows(answer, listed) if isinstance(row.get(field), str)]
                url, parameters = follow(url, decode(answer, _Paged).meta.next_page_url), None
        return list(dict.fromkeys(names))

    async def _update(self, sid: str, form: Mapping[str, str]) -> Message:
        return decode(await self.call("POST", message_url(self, sid), form=form), Message)


class _Meta(msgspec.Struct):
    next_page_url: str | None = None


class _Paged(msgspec.Struct):
    meta: _Meta = msgspec.field(default_factory=_Meta)
