"""Opt-in links of the senders that are known: those of the settings, and whatever has sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.domain.addresses import AddressError
from broadcaster.domain.opt_in_links import OptInLinks, opt_in_links
from broadcaster.domain.parties import read_opted_into
from broadcaster.domain.qr_codes import qr_svg
from broadcaster.operations.errors import Fault, Invalid
from broadcaster.reporting.lanes import lane_names

if TYPE_CHECKING:
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store

_WHATSAPP = "whatsapp:"


def links_of(sender: str, text: str, region: str | None = None) -> OptInLinks:
    """Return one sender's links; a national number needs `region`. Raises Invalid."""
    try:
        return opt_in_links(read_opted_into(sender, region), text)
    except AddressError as error:
        raise Invalid(Fault(str(error), "/sender")) from None
    except ValueError as error:
        raise Invalid(Fault(str(error), "/text")) from None


async def every(store: Store, settings: Settings, text: str) -> list[OptInLinks]:
    """Return the links of every WhatsApp sender that is known, by name. Raises Invalid or redis' errors."""
    names = {name for name in await lane_names(store) if name.startswith(_WHATSAPP)}
    if settings.twilio_whatsapp_from:
        names.add(settings.twilio_whatsapp_from)
    return [links_of(name, text) for name in sorted(names)]


def qr_of(sender: str, text: str, region: str | None = None) -> bytes:
    """Return an SVG document: the QR code of one sender's link. Raises Invalid.

    A new one takes up to a tenth of a second of CPU: nothing for an event loop.
    """
    try:
        return qr_svg(links_of(sender, text, region).web)
    except ValueError as error:
        raise Invalid(Fault(str(error), "/text")) from None
