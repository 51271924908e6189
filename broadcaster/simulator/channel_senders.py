"""`GET /v2/Channels/Senders` of `messaging.twilio.com`: WhatsApp senders with quality and messaging limit.

Shape: Twilio's OpenAPI file of Messaging v2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.simulator.config import WhatsAppSenderConfig
from broadcaster.simulator.forms import parse_form
from broadcaster.simulator.numbers import owned
from broadcaster.simulator.pages import page_of
from broadcaster.simulator.reading import failed, found
from broadcaster.simulator.senders import is_whatsapp

if TYPE_CHECKING:
    from broadcaster.simulator.config import SimulatorConfig
    from broadcaster.simulator.exchange import Answer, Exchange
    from broadcaster.simulator.world import World

PATH = "/v2/Channels/Senders"
_USUAL = WhatsAppSenderConfig()


async def serve(world: World, exchange: Exchange) -> None:
    """Serve the list, or one sender by its sid; only reading."""
    await exchange.read_body()
    await exchange.answer(_answer(world.config, exchange))


def _answer(config: SimulatorConfig, exchange: Exchange) -> Answer:
    path, base = exchange.path, exchange.origin
    query = parse_form(exchange.query).fields
    if exchange.method != "GET":
        return failed(20404, f"{exchange.method} {path} is not simulated")
    names = dict.fromkeys((*config.whatsapp_senders, *filter(is_whatsapp, owned(config))))
    rows = [_row(config, base, name) for name in names]
    if path == PATH:
        if query.get("Channel") not in ("whatsapp", "rcs"):
            return failed(20422, "Channel is whatsapp or rcs")
        return page_of(base + path, query, "senders", rows if query["Channel"] == "whatsapp" else [])
    one = next((row for row in rows if path == f"{PATH}/{row['sid']}"), None)
    return failed(20404, f"{path} was not found") if one is None else found(one)


def _row(config: SimulatorConfig, base: str, sender: str) -> dict[str, object]:
    own = config.whatsapp_senders.get(sender, _USUAL)
    sid = f"XE{sender.encode().hex()[-32:]:0>32}"
    return {
        "sid": sid,
        "status": own.status,
        "sender_id": sender,
        "configuration": {"waba_id": "1" * 15, "verification_method": None, "verification_code": None},
        "webhook": {"callback_url": config.inbound_url, "callback_method": "POST"},
        "profile": {"name": own.name, "about": None},
        "properties": {"quality_rating": own.quality_rating, "messaging_limit": own.messaging_limit},
        "offline_reasons": None,
        "compliance": None,
        "url": f"{base}{PATH}/{sid}",
    }
