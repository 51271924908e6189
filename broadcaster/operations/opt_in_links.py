"""Opt-in links of the senders that are known: those of the settings, and whatever has sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.domain.addresses import AddressError, with_plus
from broadcaster.domain.opt_in_links import OptInLinks, opt_in_links
from broadcaster.domain.qr_codes import qr_svg
from broadcaster.operations.errors import Fault, Invalid
from broadcaster.reporting.lanes import lane_names

if TYPE_CHECKING:
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store

_WHATSAPP = "whatsapp:"


def links_of(sender: str, text: str) -> OptInLinks:
    """Return one sender's links. Raises Invalid."""
    try:
        return opt_in_links(with_plus(sender), text)
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


def qr_of(sender: str, text: str) -> bytes:
    """Return an SVG document: the QR code of one sender's link. Raises Invalid."""
    try:
        return qr_svg(links_of(sender, text).web)
    except ValueError as error:
        raise Invalid(Fault(str(error), "/text")) from None
