"""From what a list calls a number to an address, a lane, and whether it was there before."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from pyroaring import BitMap64

from broadcaster.domain.addresses import AddressError, Channel, channel_of, digits_of, parse_address
from broadcaster.domain.senders import NoSenderError, SenderShare, parse_sender

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broadcaster.intake.table import Chunk

#: One expression over a whole column at once: twenty times faster than a match per row.
_ALL_NUMBERS: Final = re.compile(r"(?:\+[1-9][0-9]{6,14}\n)*+")
_ALL_WHATSAPP: Final = re.compile(r"(?:whatsapp:\+[1-9][0-9]{6,14}\n)*+")
_NO_CONSENT: Final = "nothing says where and when this person agreed to be written to"

#: What is wrong with rows, by their index in the chunk: the column ("" for none) and the reason.
Problems = dict[int, tuple[str, str]]


class OptOuts(Protocol):
    """Who must not be sent to."""

    def scopes(self, lane: str, service: str | None, purpose: str) -> tuple[str, ...]:
        """Return the scopes of opt-outs that concern messages of `purpose` on `lane`."""

    def blocked(self, addresses: Sequence[str], scopes: tuple[str, ...]) -> list[int]:
        """Return the places of those who have opted out in one of them; "" is nobody."""


class Windows(Protocol):
    """Whose 24 hours with a WhatsApp sender are over. `refuses`: that is a fault of their rows."""

    @property
    def refuses(self) -> bool:
        """Whether a row whose window is closed is faulty; else something else goes to it."""

    def closed(self, lane: str, addresses: Sequence[str]) -> dict[int, str]:
        """Return why windows are closed, by place; addresses of other channels have none."""


def uniform_channel(addresses: Sequence[str]) -> Channel | None:
    """Return the channel of `addresses` if each is a strict address of that one channel, else None."""
    column = "\n".join(addresses) + "\n"
    for pattern, channel in ((_ALL_NUMBERS, Channel.SMS), (_ALL_WHATSAPP, Channel.WHATSAPP)):
        # A cell that holds a line end would look like two rows.
        if pattern.fullmatch(column) and column.count("\n") == len(addresses):
            return channel
    return None


def parse_column(texts: Sequence[str], column: str, region: str | None) -> tuple[list[str], Problems]:
    """Return the addresses that `texts` of `column` mean, "" where one means none, and why."""
    addresses: list[str] = []
    problems: Problems = {}
    for index, text in enumerate(texts):
        try:
            addresses.append(parse_address(text, region))
        except AddressError as error:
            addresses.append("")
            problems[index] = (column, str(error))
    return addresses, problems


class Seen:
    """Which addresses a list had so far: a bitmap of digits per channel, 2 to 8 bytes a recipient.

    `before` are those of earlier parts of the list, which are only looked at.
    """

    def __init__(self, before: Seen | None = None) -> None:
        self._sms = BitMap64()
        self._whatsapp = BitMap64()
        self._before = before

    def of(self, channel: Channel) -> BitMap64:
        """Return the digits of one channel's addresses."""
        return self._sms if channel is Channel.SMS else self._whatsapp

    def dumped(self) -> bytes:
        """Return its own addresses, those of `before` left out, for `add`."""
        return msgspec.msgpack.encode((self._sms.serialize(), self._whatsapp.serialize()))

    def add(self, dumped: bytes) -> None:
        """Add what `dumped` gave."""
        sms, whatsapp = msgspec.msgpack.decode(dumped, type=tuple[bytes, bytes])
        self._sms |= BitMap64.deserialize(sms)
        self._whatsapp |= BitMap64.deserialize(whatsapp)

    @staticmethod
    def has(dumped: bytes, channel: Channel) -> bool:
        """Tell whether there are any addresses of a channel in what `dumped` gave."""
        sms, whatsapp = msgspec.msgpack.decode(dumped, type=tuple[bytes, bytes])
        return bool(BitMap64.deserialize(sms if channel is Channel.SMS else whatsapp))

    def take_new(self, addresses: Sequence[str], channel: Channel) -> bool:
        """Add `addresses`, all of one channel, if none of them was there and no two are the same.

        Returns whether they were added; if not, nothing has changed.
        """
        keys = [int(address) for address in addresses] if channel is Channel.SMS else _keys(addresses)
        bitmap = self.of(channel)
        if len(set(keys)) < len(keys) or any(map(bitmap.__contains__, keys)):
            return False
        if self._before is not None and any(map(self._before.of(channel).__contains__, keys)):
            return False
        bitmap.update(keys)
        return True

    def take(self, address: str) -> bool:
        """Add one address; return whether it is new."""
        bitmap, key = self.of(channel_of(address)), digits_of(address)
        if key in bitmap or (self._before is not None and key in self._before.of(channel_of(address))):
            return False
        bitmap.add(key)
        return True

    def forget(self, address: str) -> None:
        """Take back an address whose row turned out to be faulty, so that a later good row counts."""
        self.of(channel_of(address)).discard(digits_of(address))


def _keys(addresses: Sequence[str]) -> list[int]:
    return [digits_of(address) for address in addresses]


class LanePicker:
    """Which lane sends to an address: `SenderShare`, asked only where there is a choice."""

    def __init__(self, senders: Sequence[tuple[str, float]]) -> None:
        self._pick: Callable[[str], int] = SenderShare(senders).pick
        channels = [parse_sender(name).channel for name, _ in senders]
        self._fitting = {
            channel: [index for index, own in enumerate(channels) if own in (None, channel)]
            for channel in Channel
        }

    def only(self, channel: Channel) -> int | None:
        """Return the one lane for `channel`, None if there are several or none."""
        fitting = self._fitting[channel]
        return fitting[0] if len(fitting) == 1 else None

    def lanes(self, addresses: Sequence[str], channel: Channel | None) -> tuple[list[int], dict[int, str]]:
        """Return the lane of each address, -1 for "" and where none fits, with the reason for the latter."""
        only = None if channel is None else self.only(channel)
        if only is not None:
            return [only] * len(addresses), {}
        lanes: list[int] = []
        unfit: dict[int, str] = {}
        for index, address in enumerate(addresses):
            try:
                lanes.append(self._pick(address) if address else -1)
            except NoSenderError as error:
                lanes.append(-1)
                unfit[index] = str(error)
        return lanes, unfit


def by_lane(lanes: Sequence[int], kept: Sequence[int]) -> dict[int, Sequence[int]]:
    """Group the row numbers `kept` by lane."""
    if not kept:
        return {}
    first = lanes[kept[0]]
    if lanes.count(first) == len(lanes):
        return {first: kept}
    groups: dict[int, list[int]] = {}
    for index in kept:
        groups.setdefault(lanes[index], []).append(index)
    return dict(groups)


#: Returns the numbers that a trial account may write to, None for any, and where that isn't known.
Verified = Callable[[], Awaitable[Collection[str] | None]]


def unverified(addresses: Sequence[str], verified: Collection[str]) -> Iterator[int]:
    """Yield the rows of numbers that are not `verified`; people on WhatsApp aren't asked about."""
    for row, address in enumerate(addresses):
        if address[:1] == "+" and address not in verified:
            yield row


def without_consent(chunk: Chunk, column: str, problems: Problems) -> Problems:
    """Return the rows in whose `column` nothing says when this person agreed to be written to."""
    there = dict(zip(chunk.columns, chunk.values, strict=True)).get(column) or [""] * len(chunk)
    return {
        index: (column, _NO_CONSENT)
        for index, text in enumerate(there)
        if index not in problems and not text.strip()
    }
