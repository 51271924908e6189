"""Which way messages go, as metrics tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from broadcaster.domain.addresses import Channel, channel_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.domain.broadcast import BroadcastSpec

_AS_MMS: Final = "SendAsMms"


class Route(NamedTuple):
    """A lane's name, and `sms`, `mms` or `whatsapp`."""

    sender: str
    channel: str


class Routes(NamedTuple):
    """A batch's routes: of those whose address is a number, and of those who are on WhatsApp."""

    sms: Route
    whatsapp: Route

    @classmethod
    def of(cls, spec: BroadcastSpec, lane: str) -> Routes:
        """Return the routes on a lane. What a template holds Twilio alone knows: it counts as text."""
        pictures = spec.content.media_urls or spec.content.options.get(_AS_MMS, "").lower() == "true"
        return cls(Route(lane, "mms" if pictures else "sms"), Route(lane, "whatsapp"))

    def to(self, address: str) -> Route:
        """Return the route to somebody."""
        return self.whatsapp if channel_of(address) is Channel.WHATSAPP else self.sms

    def shared(self, addresses: Sequence[str]) -> Route | None:
        """Return the route of all of them; None if there are two."""
        if not self.sms.sender.startswith("MG"):
            return self.to(self.sms.sender)
        found = {self.to(address) for address in addresses}
        return found.pop() if len(found) == 1 else None
