"""Who a message comes from: kinds of senders, their rates, and how several share one list."""

from __future__ import annotations

import enum
import re
from bisect import bisect_right
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING, Final
from zlib import crc32

from broadcaster.domain.addresses import AddressError, Channel, channel_of, parse_address

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

MAX_RATE: Final = 100_000.0


class SenderKind(enum.StrEnum):
    """What a sender is; its default rate follows from it."""

    LONG_CODE_US = "long_code_us"
    TOLL_FREE = "toll_free"
    SHORT_CODE = "short_code"
    ALPHANUMERIC = "alphanumeric"
    LONG_CODE = "long_code"
    WHATSAPP = "whatsapp"
    WHATSAPP_SANDBOX = "whatsapp_sandbox"
    SERVICE = "service"


#: Segments a second, from Twilio's throughput pages; a service's is the sum of its pool, 1 if unreadable.
_DEFAULT_RATES: Final[dict[SenderKind, float]] = {
    SenderKind.LONG_CODE_US: 1.0,
    SenderKind.TOLL_FREE: 3.0,
    SenderKind.SHORT_CODE: 100.0,
    SenderKind.ALPHANUMERIC: 10.0,
    SenderKind.LONG_CODE: 10.0,
    SenderKind.WHATSAPP: 80.0,
    SenderKind.WHATSAPP_SANDBOX: 1 / 3,
    SenderKind.SERVICE: 1.0,
}
_SANDBOX: Final = "whatsapp:+14155238886"
_SERVICE: Final = re.compile(r"MG[0-9a-fA-F]{32}")
_SHORT_CODE: Final = re.compile(r"[0-9]{3,6}")
_TOLL_FREE: Final = re.compile(r"\+18(?:00|33|44|55|66|77|88)[0-9]{7}")
_ALPHANUMERIC: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 &+\-_]{1,11}")
_RATE: Final = re.compile(
    r"(?P<count>\d+(?:\.\d+)?|\.\d+)\s*(?:(?:/|per)\s*(?P<per>\d+(?:\.\d+)?)?\s*(?P<unit>[a-z]+)?)?",
    re.IGNORECASE | re.ASCII,
)
_UNIT_SECONDS: Final = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}


class NoSenderError(ValueError):
    """Nothing that may send to these recipients; the message says what to name or set."""


@dataclass(frozen=True, slots=True)
class Sender:
    """One lane's sender. `name` is as Twilio wants it; `channel` None is a service, which may serve any."""

    name: str
    kind: SenderKind
    channel: Channel | None


def parse_sender(text: str) -> Sender:
    """Return the sender that `text` names: a number, short code, alphanumeric ID, `whatsapp:…` or `MG…`.

    Raises AddressError for anything else.
    """
    name = text.strip()
    if _SERVICE.fullmatch(name):
        return Sender(name, SenderKind.SERVICE, None)
    if _SHORT_CODE.fullmatch(name):
        return Sender(name, SenderKind.SHORT_CODE, Channel.SMS)
    if name.startswith("+") or name[:9].lower() == "whatsapp:" or name[:4].lower() == "tel:":
        return _numbered(parse_address(name))
    if _ALPHANUMERIC.fullmatch(name):
        return Sender(name, SenderKind.ALPHANUMERIC, Channel.SMS)
    raise AddressError(
        f"{text!r} is no sender: give a number like +14155550100, whatsapp:+14155550100, a short code, "
        "a name of at most 11 letters and digits, or a service MG…"
    )


def _numbered(address: str) -> Sender:
    if address == _SANDBOX:
        kind = SenderKind.WHATSAPP_SANDBOX
    elif channel_of(address) is Channel.WHATSAPP:
        kind = SenderKind.WHATSAPP
    elif _TOLL_FREE.fullmatch(address):
        kind = SenderKind.TOLL_FREE
    elif address.startswith("+1"):
        kind = SenderKind.LONG_CODE_US
    else:
        kind = SenderKind.LONG_CODE
    return Sender(address, kind, channel_of(address))


def default_rate(kind: SenderKind) -> float:
    """Return the segments a second that Twilio lets a sender of this kind send unless it agreed otherwise."""
    return _DEFAULT_RATES[kind]


def pace_warning(name: str, rate: float) -> str | None:
    """Return what to know of a sender at `rate` segments a second; None if there is nothing.

    The sandbox sends one message in three seconds (Twilio's page on it); others' rates may have been raised.
    """
    most = default_rate(SenderKind.WHATSAPP_SANDBOX)
    if name != _SANDBOX or rate <= most * (1 + 1e-9):
        return None
    return (
        f"Twilio takes {format_rate(most)} from the WhatsApp sandbox: at {format_rate(rate)} messages fail "
        "with 63018"
    )


def parse_rate(text: str) -> float:
    """Return segments a second from `50`, `50/s`, `1/3s`, `100/min`, `0.5`; above 0, at most MAX_RATE.

    Raises ValueError.
    """
    match = _RATE.fullmatch(text.strip())
    unit = (match["unit"] or "s").lower() if match else ""
    if match is None or unit not in _UNIT_SECONDS or (text.rstrip().endswith("/")):
        raise ValueError(f"{text!r} is no rate: write segments a second like 50, 0.5, 1/3s or 100/min")
    span = float(match["per"] or 1) * _UNIT_SECONDS[unit]
    rate = float(match["count"]) / span if span else 0.0
    if not 0 < rate <= MAX_RATE:
        raise ValueError(
            f"{text!r} is no usable rate: it must be above 0 and at most {MAX_RATE:.0f} a second"
        )
    return rate


def format_rate(rate: float) -> str:
    """Return `rate`, in segments a second, as a person would write it; `parse_rate` reads it back."""
    if rate >= 1:
        return f"{_plain(rate)}/s"
    every = 1 / rate
    if abs(every - round(every)) < every * 1e-6:
        return f"1/{round(every)}s"
    if abs(rate * 60 - round(rate * 60)) < rate * 60 * 1e-6:
        return f"{round(rate * 60)}/min"
    return f"{_plain(rate)}/s"


def _plain(number: float) -> str:
    return format(Decimal(f"{number:.6g}"), "f")


def choose_senders(
    given: Sequence[str],
    service: str | None,
    *,
    default_service: str | None = None,
    default_phone: str | None = None,
    default_whatsapp: str | None = None,
    channels_needed: Collection[Channel] = (),
) -> tuple[Sender, ...]:
    """Return the senders of a broadcast, at least one for each of `channels_needed`.

    `given` and `service` are what the caller named, the defaults what the environment holds. Senders
    named beside a service are members of its pool, so they are the lanes, not the service. With no
    channel known yet (an empty collection) every default is returned.
    Raises AddressError for a name that is no sender, NoSenderError if a channel has none.
    """
    if given:
        chosen = tuple(dict.fromkeys(parse_sender(name) for name in given))
        services = [sender.name for sender in chosen if sender.kind is SenderKind.SERVICE]
        if services and (len(chosen) > 1 or service not in (None, services[0])):
            raise NoSenderError(
                "a messaging service stands alone: name it once, and its pool's senders beside it"
            )
    elif service or default_service:
        chosen = (
            _service(service, "--messaging-service") if service else _service(default_service, _ENV_SERVICE),
        )
    else:
        chosen = _defaults(default_phone, default_whatsapp, channels_needed)
    _check_covered(chosen, channels_needed)
    return chosen


_ENV_SERVICE: Final = "TWILIO_MESSAGING_SERVICE_SID"
_ENV_OF: Final = {Channel.SMS: "TWILIO_PHONE_NUMBER", Channel.WHATSAPP: "TWILIO_WHATSAPP_FROM"}


def _service(name: str | None, origin: str) -> Sender:
    sender = _named(name or "", origin)
    if sender.kind is not SenderKind.SERVICE:
        raise AddressError(f"{origin} is {name!r}, but a messaging service is MG and 32 hexadecimal digits")
    return sender


def _named(name: str, origin: str) -> Sender:
    try:
        return parse_sender(name)
    except AddressError as error:
        raise AddressError(f"{origin}: {error}") from None


def _defaults(phone: str | None, whatsapp: str | None, needed: Collection[Channel]) -> tuple[Sender, ...]:
    chosen = []
    for channel, name in ((Channel.SMS, phone), (Channel.WHATSAPP, whatsapp)):
        if not name or (needed and channel not in needed):
            continue
        # Twilio's examples hold the bare number in both variables.
        written = f"whatsapp:{name}" if channel is Channel.WHATSAPP and name[0] == "+" else name
        sender = _named(written, _ENV_OF[channel])
        if sender.channel is not channel:
            raise AddressError(f"{_ENV_OF[channel]} is {name!r}, which does not send {channel}")
        chosen.append(sender)
    return tuple(chosen)


def _check_covered(chosen: Sequence[Sender], needed: Collection[Channel]) -> None:
    if not chosen and not needed:
        raise NoSenderError(
            f"no sender: name one with --from, or set {_ENV_SERVICE}, "
            f"{_ENV_OF[Channel.SMS]} or {_ENV_OF[Channel.WHATSAPP]}"
        )
    for channel in sorted(needed):
        if not any(sender.channel in (None, channel) for sender in chosen):
            raise NoSenderError(
                f"no sender for {channel} recipients: name one with --from, or set {_ENV_OF[channel]}"
            )


class SenderShare:
    """Shares a list over senders in proportion to their rates; the same recipient always gets the same one.

    The choice depends on the address, names and rates alone, not on the order of `senders`, the
    process or the machine. `senders` are (name, segments a second).
    """

    __slots__ = ("_sms", "_whatsapp")

    def __init__(self, senders: Sequence[tuple[str, float]]) -> None:
        self._sms = _shares(senders, Channel.SMS)
        self._whatsapp = _shares(senders, Channel.WHATSAPP)

    def pick(self, address: str) -> int:
        """Return the index in `senders` of the one for this address. Raises NoSenderError if none fits."""
        indices, bounds = self._whatsapp if address[0] == "w" else self._sms
        if len(indices) == 1:
            return indices[0]
        if not indices:
            channel = channel_of(address)
            raise NoSenderError(
                f"no sender for {channel} recipients: name one with --from, or set {_ENV_OF[channel]}"
            )
        return indices[bisect_right(bounds, crc32(address.encode()))]


def _shares(senders: Sequence[tuple[str, float]], channel: Channel) -> tuple[list[int], list[int]]:
    """Return the indices that serve `channel`, by name, and the upper ends of their shares of 32 bits.

    The last end is left out: whatever lies above the others is the last sender's.
    """
    fitting = sorted(
        (name, rate, index)
        for index, (name, rate) in enumerate(senders)
        if parse_sender(name).channel in (None, channel)
    )
    sums = list(accumulate(rate for _, rate, _ in fitting))
    return [index for _, _, index in fitting], [int(part / sums[-1] * 2**32) for part in sums[:-1]]
