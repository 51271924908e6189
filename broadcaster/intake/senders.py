"""Which lanes a broadcast uses, and at which pace: what was set for a lane wins over its kind's default."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from broadcaster.domain.addresses import AddressError, Channel
from broadcaster.domain.senders import NoSenderError, SenderKind, choose_senders, default_rate, parse_sender
from broadcaster.ledger.pools import Pool, pool_of
from broadcaster.twilio.rest import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from broadcaster.domain.senders import Sender
    from broadcaster.ledger.pools import PoolReader
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store

#: Workers read pools anew every few minutes; where none has for so long, whoever wants to send does.
POOL_OLD_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class Lane:
    """One sender of a broadcast. `rate` is in segments a second, `origin` says where it comes from.

    `pool` holds the senders of a service, as Twilio listed them at the unix second `pool_read`; `shares` is
    the service whose permits this sender spends too.
    """

    name: str
    kind: SenderKind
    rate: float
    origin: str
    pool: tuple[str, ...] = ()
    shares: str = ""
    pool_read: int = field(default=0, compare=False)


def senders_for(
    settings: Settings, given: Sequence[str], service: str | None, channels: Collection[Channel] = ()
) -> tuple[Sender, ...]:
    """Return the senders that were named, else the environment's. Raises AddressError or NoSenderError."""
    return choose_senders(
        given,
        service,
        default_service=settings.twilio_messaging_service_sid,
        default_phone=settings.twilio_phone_number,
        default_whatsapp=settings.twilio_whatsapp_from,
        channels_needed=channels,
    )


def from_sandbox(settings: Settings, given: Sequence[str], service: str | None) -> bool:
    """Tell whether WhatsApp's sandbox sends; not where the senders can't be read, which is told elsewhere."""
    try:
        senders = senders_for(settings, given, service, {Channel.WHATSAPP})
    except (AddressError, NoSenderError):
        return False
    return any(sender.kind is SenderKind.WHATSAPP_SANDBOX for sender in senders)


def lanes_offline(senders: Sequence[Sender]) -> list[Lane]:
    """Return lanes at their kinds' default rates: what can be known without Redis and Twilio."""
    unread = "its pool is not read in a dry run"
    return [
        Lane(s.name, s.kind, default_rate(s.kind), unread if _is_service(s) else "default") for s in senders
    ]


async def resolve_lanes(
    senders: Sequence[Sender], store: Store, read_pool: PoolReader, service: str | None = None
) -> list[Lane]:
    """Return the lanes with the rates that will hold. `service`: the one whose pool the senders are from.

    A service's pool is read when its lane is first used, and where that was long ago; if it can't be, the
    rate is 1/s, or what it was. Raises NoSenderError for a service that is not there, and redis' errors.
    """
    return [
        await (_service_lane(s, store, read_pool) if _is_service(s) else _plain_lane(s, store, service))
        for s in senders
    ]


def _is_service(sender: Sender) -> bool:
    return sender.kind is SenderKind.SERVICE


async def _plain_lane(sender: Sender, store: Store, service: str | None) -> Lane:
    rate = await store.redis.hget(store.keys.lane(sender.name), "rate")
    shares = service or await _service_of(sender.name, store)
    if rate:
        return Lane(sender.name, sender.kind, float(rate), "set", shares=shares)
    return Lane(sender.name, sender.kind, default_rate(sender.kind), "default", shares=shares)


async def _service_of(name: str, store: Store) -> str:
    """Return the service, among those that are lanes here, whose pool `name` is in; "" if none is."""
    known: list[str] = sorted(raw.decode() for raw in await store.redis.smembers(store.keys.plain("lanes")))
    for service in known:
        if service.startswith("MG") and name in (await pool_of(store, service)).names:
            return service
    return ""


async def _service_lane(sender: Sender, store: Store, read_pool: PoolReader) -> Lane:
    rate = await store.redis.hget(store.keys.lane(sender.name), "rate")
    seconds, _ = await store.redis.time()
    known = await pool_of(store, sender.name) if rate else Pool()
    unread = ""
    if not rate or seconds - known.read > POOL_OLD_SECONDS:
        try:
            known = Pool(tuple(await read_pool(sender.name)), seconds)
        except (TwilioError, TwilioUnreachable) as error:
            if isinstance(error, TwilioError) and error.status == HTTPStatus.NOT_FOUND:
                raise NoSenderError(
                    f"this account has no Messaging Service {sender.name}: copy its SID from Twilio's console"
                ) from None
            unread = f"its pool can't be read: {error}"
    lane = functools.partial(Lane, sender.name, sender.kind, pool=known.names, pool_read=known.read)
    if rate:
        return lane(float(rate), "set")
    sum_of_rates = sum(_rate_of(name) for name in known.names)
    if not sum_of_rates:
        return lane(default_rate(sender.kind), unread or "its pool is empty")
    return lane(sum_of_rates, f"sum of its pool of {len(known.names)}")


def _rate_of(name: str) -> float:
    try:
        return default_rate(parse_sender(name).kind)
    except AddressError:
        return 0.0  # a kind of sender that we do not know adds nothing
