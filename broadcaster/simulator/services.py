"""`messaging.twilio.com` on the same host: Messaging Services and the senders in their pools."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from broadcaster.simulator.forms import parse_form
from broadcaster.simulator.pages import page_of
from broadcaster.simulator.reading import failed, found
from broadcaster.simulator.senders import is_short_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.simulator.config import ServiceConfig, SimulatorConfig
    from broadcaster.simulator.exchange import Answer, Exchange
    from broadcaster.simulator.world import World

_PATH: Final = re.compile(r"/v1/Services/(MG[0-9a-fA-F]{32})(?:/(\w+(?:/\w+)?))?")
_DATE: Final = "2020-01-01T00:00:00Z"


async def serve(world: World, exchange: Exchange) -> None:
    """Serve one request of the Messaging API v1; only reading."""
    await exchange.read_body()
    await exchange.answer(_route(world, exchange))


def _route(world: World, exchange: Exchange) -> Answer:
    services, path = world.config.services, exchange.path
    query = parse_form(exchange.query).fields
    base = exchange.origin
    account = world.config.account_sid
    if exchange.method != "GET":
        return failed(20404, f"{exchange.method} {path} is not simulated")
    if path == "/v1/Services":
        rows = [_service(world.config, base, sid, service) for sid, service in services.items()]
        return page_of(base + path, query, "services", rows)
    matched = _PATH.fullmatch(path)
    service = services.get(matched[1]) if matched else None
    if matched is None or service is None or (matched[2] and matched[2] not in _POOLS):
        return failed(20404, f"{path} was not found")
    if matched[2] is None:
        return found(_service(world.config, base, matched[1], service))
    key, row = _POOLS[matched[2]]
    common = {"account_sid": account, "service_sid": matched[1], "date_created": _DATE, "date_updated": _DATE}
    rows = [common | part for part in (row(sender) for sender in service.senders) if part]
    return page_of(base + path, query, key, [part | {"url": f"{base}{path}/{part['sid']}"} for part in rows])


def _sid(prefix: str, sender: str) -> str:
    return f"{prefix}{sender.encode().hex()[-32:]:0>32}"


def _phone_number(sender: str) -> dict[str, object]:
    if not sender.startswith("+"):
        return {}
    country = "US" if sender.startswith("+1") else ""
    sid = _sid("PN", sender)
    return {"sid": sid, "phone_number": sender, "country_code": country, "capabilities": ["MMS", "SMS"]}


def _short_code(sender: str) -> dict[str, object]:
    if not is_short_code(sender):
        return {}
    return {"sid": _sid("SC", sender), "short_code": sender, "country_code": "US", "capabilities": ["SMS"]}


def _alpha(sender: str) -> dict[str, object]:
    if sender.startswith(("+", "whatsapp:")) or is_short_code(sender):
        return {}
    return {"sid": _sid("AI", sender), "alpha_sender": sender, "capabilities": ["SMS"]}


def _channel(sender: str) -> dict[str, object]:
    if not sender.startswith("whatsapp:"):
        return {}
    return {"sid": _sid("XE", sender), "sender": sender, "sender_type": "WhatsApp", "country_code": "US"}


_POOLS: Final[dict[str, tuple[str, Callable[[str], dict[str, object]]]]] = {
    "PhoneNumbers": ("phone_numbers", _phone_number),
    "ShortCodes": ("short_codes", _short_code),
    "AlphaSenders": ("alpha_senders", _alpha),
    "ChannelSenders": ("senders", _channel),
    "Compliance/Usa2p": ("compliance", lambda _sender: {}),  # no campaign is registered
}


def _service(config: SimulatorConfig, base: str, sid: str, service: ServiceConfig) -> dict[str, object]:
    url = f"{base}/v1/Services/{sid}"
    return {
        "sid": sid,
        "account_sid": config.account_sid,
        "friendly_name": service.friendly_name,
        "date_created": _DATE,
        "date_updated": _DATE,
        "inbound_request_url": service.inbound_request_url or config.inbound_url,
        "inbound_method": "POST",
        "fallback_url": None,
        "fallback_method": "POST",
        "status_callback": service.status_callback,
        "sticky_sender": True,
        "mms_converter": True,
        "smart_encoding": service.smart_encoding,
        "scan_message_content": "inherit",
        "fallback_to_long_code": True,
        "area_code_geomatch": True,
        "synchronous_validation": False,
        "validity_period": service.validity_period,
        "usecase": "undeclared",
        "us_app_to_person_registered": False,
        "use_inbound_webhook_on_number": service.use_inbound_webhook_on_number,
        "url": url,
        "links": {
            "phone_numbers": f"{url}/PhoneNumbers",
            "short_codes": f"{url}/ShortCodes",
            "alpha_senders": f"{url}/AlphaSenders",
            "channel_senders": f"{url}/ChannelSenders",
        },
    }
