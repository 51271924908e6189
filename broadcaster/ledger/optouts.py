"""Who must not be written to, kept near the workers and current by an epoch.

An opt-out is an address in a scope: `*` for everywhere, or one sender's name. Redis holds them with source
and time; every process keeps a compact set (64-bit bitmaps of the digits, one per scope and channel: about
two bytes an address) and learns of changes from a log when the gate tells it that its epoch is old.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pyroaring import BitMap64

from broadcaster.domain.addresses import channel_of, digits_of
from broadcaster.store.scripts import Call, packed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.store.connection import Store

EVERYWHERE: Final = "*"


class OptOuts:
    """The local set. `blocks` costs a set look-up; `refresh` reads what changed since the last epoch.

    `sets` holds the digits by (scope, channel); it is others' to read.
    """

    def __init__(self) -> None:
        self.epoch = ""
        self.sets: dict[tuple[str, str], BitMap64] = {}
        self._refreshing = asyncio.Lock()

    def __len__(self) -> int:
        return sum(len(s) for s in self.sets.values())

    def blocks(self, address: str, lane: str) -> bool:
        """Whether `address` opted out of everything, or of this sender."""
        if not self.sets:
            return False
        channel, digits = str(channel_of(address)), digits_of(address)
        for scope in (EVERYWHERE, lane):
            known = self.sets.get((scope, channel))
            if known is not None and digits in known:
                return True
        return False

    def doubt(self) -> None:
        """Read everything at the next `refresh`: where Redis lost writes, an epoch may be another's."""
        self.epoch = ""

    async def refresh(self, store: Store) -> None:
        """Become current: replay the log where it reaches back far enough, else read everything.

        One at a time, and what is known changes together with its epoch: whoever asks meanwhile must never
        find half a set under an epoch that the gate takes for current.
        """
        async with self._refreshing:
            await self._refresh(store)

    async def _refresh(self, store: Store) -> None:
        current = ((await store.redis.get(store.keys.plain("optouts:epoch"))) or b"0").decode()
        if current == self.epoch:
            return
        log = [] if not self.epoch else await store.redis.lrange(store.keys.plain("optouts:log"), 0, -1)
        missed = [line.decode().split("|", 1) for line in log]
        since = [(int(n), change) for n, change in missed if int(n) > int(self.epoch or 0)]
        if self.epoch and since and since[0][0] == int(self.epoch) + 1:
            for _, change in since:
                _apply(self.sets, change[0], change[1:])
            self.epoch = str(since[-1][0])
            return
        read: dict[tuple[str, str], BitMap64] = {}
        async for field, _ in store.redis.hscan_iter(store.keys.plain("optouts"), count=5000):
            _apply(read, "+", field.decode())
        self.sets, self.epoch = read, current


def _apply(sets: dict[tuple[str, str], BitMap64], sign: str, scoped: str) -> None:
    scope, address = scoped.split("|", 1)
    known = sets.setdefault((scope, str(channel_of(address))), BitMap64())
    if sign == "+":
        known.add(digits_of(address))
    else:
        known.discard(digits_of(address))


def opt_out(addresses: Iterable[str], source: str, scope: str = EVERYWHERE) -> Call[int]:
    """Remember opt-outs (E.164 or `whatsapp:` addresses); answers how many are new."""
    entries = [[f"{scope}|{address}", source] for address in addresses]
    return Call("optout", ("add", packed(entries)), lambda reply: int(reply[0]), lasting=True)


def opt_in(addresses: Iterable[str], scope: str = EVERYWHERE) -> Call[int]:
    """Forget opt-outs; answers how many there were."""
    entries = [[f"{scope}|{address}", ""] for address in addresses]
    return Call("optout", ("remove", packed(entries)), lambda reply: int(reply[0]), lasting=True)
