"""An account's WhatsApp senders: whether they are online, their quality, how many people they may write to.

By Twilio's description of Messaging v2: `GET /v2/Channels/Senders?Channel=whatsapp`, in pages. It is a
public beta, so everything in it may be missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from broadcaster.domain.messaging_limits import read_limit
from broadcaster.twilio.wire import decode, follow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.domain.messaging_limits import Limit
    from broadcaster.twilio.wire import Wire

_PAGE_SIZE: Final = 1000
_MOST_PAGES: Final = 50
#: It sends, also while its profile is being changed.
_ONLINE: Final = frozenset(("ONLINE", "ONLINE:UPDATING"))


class WhatsAppSender(msgspec.Struct, frozen=True, kw_only=True):
    """One sender, `whatsapp:+…`; `status`, `quality` and `limit` are Twilio's words, "" where it has none."""

    name: str
    status: str = ""
    quality: str = ""
    limit: str = ""

    @property
    def online(self) -> bool:
        """Whether it can send, as far as is told."""
        return not self.status or self.status in _ONLINE

    @property
    def people(self) -> Limit:
        """How many people it may begin to write to in 24 hours."""
        return read_limit(self.limit)


class _Properties(msgspec.Struct):
    quality_rating: str | None = None
    messaging_limit: str | None = None


class _Row(msgspec.Struct):
    sender_id: str = ""
    status: str | None = None
    properties: _Properties | None = None


class _Meta(msgspec.Struct):
    next_page_url: str | None = None


class _Page(msgspec.Struct):
    senders: list[_Row] = []
    meta: _Meta = msgspec.field(default_factory=_Meta)


async def whatsapp_senders(wire: Wire) -> dict[str, WhatsAppSender]:
    """Return the account's WhatsApp senders by name. Raises `TwilioError` or `TwilioUnreachable`."""
    found: dict[str, WhatsAppSender] = {}
    url: str | None = f"{wire.messaging_url}/v2/Channels/Senders"
    query: Mapping[str, str] | None = {"Channel": "whatsapp", "PageSize": str(_PAGE_SIZE)}
    for _ in range(_MOST_PAGES):
        if url is None:
            break
        page = decode(await wire.get(url, query), _Page)
        for row in page.senders:
            told = row.properties or _Properties()
            found[row.sender_id] = WhatsAppSender(
                name=row.sender_id,
                status=row.status or "",
                quality=told.quality_rating or "",
                limit=told.messaging_limit or "",
            )
        url, query = follow(url, page.meta.next_page_url), None
    return found
