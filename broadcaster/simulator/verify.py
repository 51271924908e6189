"""`verify.twilio.com` on the same host: services, starting and checking verifications.

Shapes and parameters: Twilio's OpenAPI file of Verify v2; codes: its error dictionary.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import msgspec

from broadcaster.simulator.exchange import Answer
from broadcaster.simulator.forms import parse_form
from broadcaster.simulator.messages import iso8601
from broadcaster.simulator.pages import page_of
from broadcaster.simulator.reading import failed, found
from broadcaster.simulator.senders import is_number
from broadcaster.simulator.verifications import LimitReached, check_resource, resource
from broadcaster.simulator.verify_settings import (
    MAX_NAME,
    BadParameterError,
    VerifyServiceConfig,
    given_settings,
    service_resource,
    sid_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.simulator.exchange import Exchange
    from broadcaster.simulator.verifications import Verification
    from broadcaster.simulator.world import World

CONCURRENT: Final = 60212
NOT_ENABLED: Final = 60204
INVALID: Final = 60200
TEMPLATE_CHANNEL: Final = 60408
_PATH: Final = re.compile(
    r"/v2/Services/(VA[0-9a-fA-F]{32})(?:/(Verifications|VerificationCheck)(?:/([^/]+))?)?"
)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_LOCALE: Final = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,4})?")
_CHANNELS: Final = ("sms", "call", "email", "whatsapp", "sna", "auto")
_TAGS: Final = (10, 128)


async def serve(world: World, exchange: Exchange) -> None:
    """Serve one request of Verify v2."""
    fields = parse_form(await exchange.read_body() or b"").fields
    try:
        answer = await _route(world, exchange, fields)
    except BadParameterError as bad:
        answer = failed(INVALID, str(bad))
    except LimitReached as reached:
        plain = failed(reached.code)
        extra = ((b"retry-after", b"%d" % reached.seconds),
                 (b"twilio-reached-rate-limit", reached.limit.encode()))  # fmt: skip
        answer = Answer(plain.status, plain.body, extra=extra)
    world.answers[f"{exchange.method} {answer.status}"] += 1
    await exchange.answer(answer)


async def _route(world: World, exchange: Exchange, fields: dict[str, str]) -> Answer:
    path, method, services = exchange.path, exchange.method, world.config.verify_services
    if path == "/v2/Services" and method == "POST":
        return _create_service(world, exchange.origin, fields)
    if path == "/v2/Services" and method == "GET":
        account, base = world.config.account_sid, exchange.origin
        rows = [service_resource(account, base, sid, service) for sid, service in services.items()]
        return page_of(base + path, parse_form(exchange.query).fields, "services", rows)
    matched = _PATH.fullmatch(path)
    if matched is None or matched[1] not in services:
        return failed(20404, f"{path} was not found")
    return await _of_service(world, exchange, (matched[1], matched[2] or "", matched[3] or ""), fields)


async def _of_service(
    world: World, exchange: Exchange, asked: tuple[str, str, str], fields: dict[str, str]
) -> Answer:
    """Serve what belongs to one service; `asked` is its sid, the collection and the key in that."""
    sid, part, key = asked
    match exchange.method, part:
        case _, "":
            return _service(world, exchange, sid, fields)
        case "POST", "Verifications" if not key:
            return await _start(world, exchange.origin, sid, fields)
        case "POST", "VerificationCheck" if not key:
            return _check(world, sid, fields)
        case "GET" | "POST", "Verifications" if key:
            return _one(world, exchange, sid, key, fields)
        case _:
            return failed(20404, f"{exchange.method} {exchange.path} was not found")


def _create_service(world: World, base: str, fields: dict[str, str]) -> Answer:
    if "FriendlyName" not in fields:
        raise BadParameterError("FriendlyName")
    now = iso8601(world.now())
    service = VerifyServiceConfig(date_created=now, date_updated=now)
    service = msgspec.structs.replace(service, **given_settings(fields, service))
    seed = f"{world.prefix}{len(world.config.verify_services)}{world.requests}"
    sid = f"VA{blake2b(seed.encode(), digest_size=16).hexdigest()}"
    _keep(world, world.config.verify_services | {sid: service})
    return found(service_resource(world.config.account_sid, base, sid, service), 201)


def _service(world: World, exchange: Exchange, sid: str, fields: dict[str, str]) -> Answer:
    """Fetch, update or delete a service."""
    services = world.config.verify_services
    service = services[sid]
    if exchange.method == "DELETE":
        _keep(world, {other: kept for other, kept in services.items() if other != sid})
        world.verifications.forget_service(sid)
        return Answer(204, b"")
    if exchange.method == "POST":
        changes = given_settings(fields, service) | {"date_updated": iso8601(world.now())}
        service = msgspec.structs.replace(service, **changes)
        _keep(world, services | {sid: service})
    return found(service_resource(world.config.account_sid, exchange.origin, sid, service))


def _keep(world: World, services: dict[str, VerifyServiceConfig]) -> None:
    world.configure(msgspec.structs.replace(world.config, verify_services=services))


async def _start(world: World, base: str, service: str, fields: dict[str, str]) -> Answer:
    config = world.config
    code = _refusal(fields, config.verify_services[service], config.verify_recipients)
    if code:
        return failed(code)
    starting, whose = world.verifications.starting, (service, fields["To"])
    if whose in starting:
        raise LimitReached(CONCURRENT, 1, "concurrent_requests")
    starting.add(whose)
    try:
        if config.latency_ms:
            await world.pause(config.latency_ms / 1000)
        limits = _object("RateLimits", fields)
        world.verifications.count(service, limits, config, world.now())
        one = world.verifications.start(service, fields, config, world.now())
    finally:
        starting.discard(whose)
    return found(_shown(world, base, one), 201)


def _shown(world: World, base: str, one: Verification) -> dict[str, object]:
    lookup = world.config.verify_services[one.service].lookup_enabled
    return resource(one, world.config.account_sid, base, lookup=lookup)


def _one(world: World, exchange: Exchange, service: str, key: str, fields: dict[str, str]) -> Answer:
    """Fetch a verification that is open, or end it, by sid or address."""
    one = world.verifications.pending(service, key, world.config, world.now())
    if one is None:
        return failed(20404, f"{exchange.path} was not found")
    if exchange.method == "POST":
        if fields.get("Status") not in ("approved", "canceled"):
            raise BadParameterError("Status")
        world.verifications.close(one, fields["Status"], world.now())
    else:
        world.verifications.poll(one, world.now())
    return found(_shown(world, exchange.origin, one))


def _check(world: World, service: str, fields: dict[str, str]) -> Answer:
    key = fields.get("VerificationSid") or fields.get("To")
    if not key:
        raise BadParameterError("To")
    one = world.verifications.pending(service, key, world.config, world.now())
    asked = one is None or one.channel != "sna" or "Code" in fields
    if asked and not 4 <= len(fields.get("Code", "")) <= 10:  # noqa: PLR2004  the shortest and longest code
        raise BadParameterError("Code")
    if one is None:
        return failed(20404, f"/v2/Services/{service}/VerificationCheck was not found")
    world.verifications.check(one, fields, world.config, world.now())
    return found(check_resource(one, world.config.account_sid), 201)


# -- what a start may say ------------------------------------------------------------------------------


def _refusal(fields: dict[str, str], service: VerifyServiceConfig, refused: dict[str, int]) -> int:
    """Return the code to refuse a start with, 0 for none. Raises BadParameterError."""
    channel, to = fields.get("Channel"), fields.get("To", "")
    if not (_EMAIL.fullmatch(to) if channel == "email" else is_number(to)):
        raise BadParameterError("To")
    if channel not in _CHANNELS:
        raise BadParameterError("Channel")
    for name, rule in _RULES.items():
        if name in fields and not rule(fields[name], fields):
            raise BadParameterError(name)
    for name in ("ChannelConfiguration", "TemplateCustomSubstitutions"):
        _object(name, fields)
    tags, (most, longest) = _object("Tags", fields), _TAGS
    if len(tags) > most or any(len(text) > longest for pair in tags.items() for text in pair):
        raise BadParameterError("Tags")
    if _object("RateLimits", fields).keys() - service.rate_limits.keys():
        raise BadParameterError("RateLimits")
    if "TemplateSid" in fields and channel not in ("sms", "call", "auto"):
        return TEMPLATE_CHANNEL
    payment = "Amount" in fields or "Payee" in fields
    if (payment and not service.psd2_enabled) or ("CustomCode" in fields and not service.custom_code_enabled):
        return NOT_ENABLED
    return refused.get(to, 0)


def _object(name: str, fields: dict[str, str]) -> dict[str, str]:
    """Return a parameter that is a JSON object, its values as text."""
    if not fields.get(name):
        return {}
    try:
        given = msgspec.json.decode(fields[name], type=dict[str, Any])
    except msgspec.MsgspecError:
        raise BadParameterError(name) from None
    return {key: str(value) for key, value in given.items()}


def _is_sid(prefix: str) -> Callable[[str, dict[str, str]], bool]:
    read = sid_of(prefix)

    def rule(value: str, _fields: dict[str, str]) -> bool:
        try:
            return bool(read("", value))
        except BadParameterError:
            return False

    return rule


def _is_address(value: str, _fields: dict[str, str]) -> bool:
    try:
        return bool(ip_address(value))
    except ValueError:
        return False


_RULES: Final[dict[str, Callable[[str, dict[str, str]], bool]]] = {
    "CustomFriendlyName": lambda value, _: 0 < len(value) <= MAX_NAME,
    "Locale": lambda value, _: _LOCALE.fullmatch(value) is not None,
    "CustomCode": lambda value, _: 4 <= len(value) <= 10,  # noqa: PLR2004  the shortest and longest code
    "Amount": lambda _, fields: "Payee" in fields,
    "Payee": lambda _, fields: "Amount" in fields,
    "SendDigits": lambda value, fields: fields["Channel"] == "call" and set(value) <= set("0123456789wW*#"),
    "AppHash": lambda value, fields: fields["Channel"] in ("sms", "auto") and len(value) == 11,  # noqa: PLR2004
    "TemplateSid": _is_sid("HJ"),
    "DeviceIp": _is_address,
    "EnableSnaClientToken": lambda value, _: value.lower() in ("true", "false"),
    "RiskCheck": lambda value, _: value in ("enable", "disable"),
}
