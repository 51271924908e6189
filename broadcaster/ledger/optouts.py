"""Who must not be written to, kept near the workers and current by an epoch.

An opt-out is an address in a scope (domain/opt_out_scopes.py). Redis holds them with source and time, those
of forgotten people by a keyed hash (ledger/people_key.py). Every process keeps a compact set (64-bit bitmaps
of the digits, one per scope and channel: 2 bytes an address where numbers lie together, 18 where a million is
spread over a country; tests/bench/opt_outs.py) and learns of changes from a log when the gate tells it that
its epoch is old. The log also says which sender is in the pool of which service.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broadcaster.domain.addresses import Channel, channel_of, digits_of
from broadcaster.domain.opt_out_scopes import EVERYWHERE, MARKETING_OPT_OUTS, scopes_concerning
from broadcaster.domain.purpose import Purpose
from broadcaster.ledger.opt_out_sets import Known, replay
from broadcaster.ledger.people_key import HASHED, digest, hashed, people_key
from broadcaster.store.scripts import Call, packed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyroaring import BitMap64

    from broadcaster.store.connection import Store

__all__ = [
    "EVERYWHERE",
    "OptOut",
    "OptOuts",
    "hash_opt_outs",
    "opt_in",
    "opt_out",
    "opt_out_each",
    "refused_by",
]

_READ_AT_ONCE: Final = 5000
#: So many answers of `scopes` are remembered; about 100 bytes each.
_ANSWERS_KEPT: Final = 20_000
_NOBODY: Final[set[bytes]] = set()


class OptOuts:
    """The local set. `blocks` costs a set look-up; `refresh` reads what changed since the last epoch."""

    def __init__(self) -> None:
        self.epoch = ""
        self._known = Known()
        self._key = b""
        self._scopes: dict[tuple[str, str | None, str], tuple[str, ...]] = {}
        self._refreshing = asyncio.Lock()

    def __bool__(self) -> bool:
        """Whether anybody at all opted out."""
        return bool(self._known.sets or self._known.hashes)

    def __len__(self) -> int:
        return sum(map(len, self._known.sets.values())) + sum(map(len, self._known.hashes.values()))

    @property
    def sets(self) -> dict[tuple[str, str], BitMap64]:
        """The digits by (scope, channel); others' to read."""
        return self._known.sets

    @property
    def hashes(self) -> dict[str, set[bytes]]:
        """The digests of forgotten people by scope; others' to read."""
        return self._known.hashes

    def scopes(self, lane: str, service: str | None, purpose: str) -> tuple[str, ...]:
        """Return the scopes that anybody opted out in and that concern messages of `purpose` on `lane`.

        `service` is the one that the broadcast names. To be asked for a slice or a stream, not a message; the
        answer holds until `refresh`.
        """
        asked, answers = (lane, service, purpose), self._scopes  # a refresh meanwhile begins another
        found = answers.get(asked)
        if found is None:
            known = self._known
            services = [name for name in (service, known.pools.get(lane)) if name]
            pool = list(known.members.get(lane, ()))
            there = {scope for scope, _ in list(known.sets)}.union(list(known.hashes))
            concerning = scopes_concerning(lane, services, pool, purpose)
            if len(answers) >= _ANSWERS_KEPT:
                answers.clear()
            found = answers[asked] = tuple(scope for scope in concerning if scope in there)
        return found

    def scopes_before(self, instead_of: Sequence[str], purpose: str) -> tuple[str, ...]:
        """Return the scopes in which a WhatsApp address forbids the SMS in place of messages from these."""
        some = (self.scopes(name, None, purpose) for name in instead_of)
        return tuple(dict.fromkeys(scope for scopes in some for scope in scopes))

    def blocks(self, address: str, scopes: tuple[str, ...]) -> bool:
        """Whether `address` opted out in one of these scopes (those that `scopes` gave)."""
        if not scopes:
            return False
        channel, digits = channel_of(address), digits_of(address)
        sets = self._known.sets
        for scope in scopes:
            found = sets.get((scope, channel))
            if found is not None and digits in found:
                return True
        forgotten = self._forgotten(scopes)
        return bool(forgotten) and digest(self._key, address) in forgotten

    def blocked(self, addresses: Sequence[str], scopes: tuple[str, ...]) -> list[int]:
        """Return the places of those that `blocks` is true for, in order: many at a fifth of the time.

        "" is nobody.
        """
        if not scopes:
            return []
        try:
            found = self._places(range(len(addresses)), list(map(int, addresses)), Channel.SMS, scopes)
        except ValueError:  # not all of one channel, which is SMS
            found = set()
            for channel in Channel:
                rows = [row for row, a in enumerate(addresses) if a and channel_of(a) is channel]
                found |= self._places(rows, [digits_of(addresses[row]) for row in rows], channel, scopes)
        forgotten = self._forgotten(scopes)
        if forgotten:
            key = self._key
            found.update(row for row, a in enumerate(addresses) if a and digest(key, a) in forgotten)
        return sorted(found)

    def _places(
        self, rows: Sequence[int], digits: list[int], channel: Channel, scopes: tuple[str, ...]
    ) -> set[int]:
        found: set[int] = set()
        for scope in scopes:
            known = self._known.sets.get((scope, channel))
            if known is not None:
                hits = list(map(known.__contains__, digits))
                if True in hits:
                    found.update(row for row, hit in zip(rows, hits, strict=True) if hit)
        return found

    def _forgotten(self, scopes: tuple[str, ...]) -> set[bytes]:
        """Return the digests of these scopes; in most installations nobody was ever forgotten."""
        hashes = self._known.hashes
        if not hashes:
            return _NOBODY
        some = [found for scope in scopes if (found := hashes.get(scope))]
        return some[0] if len(some) == 1 else _NOBODY.union(*some)

    def doubt(self) -> None:
        """Read everything at the next `refresh`: where Redis lost writes, an epoch may be another's."""
        self.epoch = ""

    async def refresh(self, store: Store) -> None:
        """Become current: replay the log where it reaches back far enough, else read everything.

        One at a time, and what is known changes together with its epoch: whoever asks meanwhile must never
        find half a set under an epoch that the gate takes for current. Raises redis' errors and `StoreError`.
        """
        async with self._refreshing:
            epoch, whole, lines = await store.run(tail(self.epoch))
            if epoch == self.epoch:
                return
            if whole:
                await self._read_all(store)
            elif any(_hashes(line) for line in lines) and not self._key:
                self._key = await people_key(store)
            for line in lines:
                replay(self._known, line)
            if self._known.moved:
                self._known.moved, self._scopes = False, {}
            self.epoch = epoch

    async def _read_all(self, store: Store) -> None:
        """Read everything anew. What changes meanwhile has later epochs, and is replayed over it then."""
        read = Known()
        cursor = -1
        while cursor:
            cursor, page = await store.redis.hscan(
                store.keys.plain("optouts"), max(0, cursor), count=_READ_AT_ONCE
            )
            read.add_all(page)
        for sender, service in (await store.redis.hgetall(store.keys.plain("pools"))).items():
            read.move(sender.decode(), service.decode())
        if read.hashes and not self._key:
            self._key = await people_key(store)
        self._known = read


def _hashes(line: str) -> bool:
    return f"|{HASHED}" in line


def tail(epoch: str) -> Call[tuple[str, bool, list[str]]]:
    """Read (epoch of now, whether all has to be read, else the log's lines since `epoch`)."""
    return Call("optout_tail", (epoch,), _read_tail)


def _read_tail(reply: list[Any]) -> tuple[str, bool, list[str]]:
    epoch, whole, lines = reply
    return epoch.decode(), bool(whole), [line.decode() for line in lines]


class OptOut(NamedTuple):
    """One opt-out as it is added. `since` is in unix seconds, 0 for now; the address may be hashed."""

    address: str
    scope: str = EVERYWHERE
    source: str = ""
    since: int = 0


def opt_out(addresses: Iterable[str], source: str, scope: str = EVERYWHERE, *, key: bytes = b"") -> Call[int]:
    """Remember opt-outs (E.164 or `whatsapp:` addresses); answers how many are new. See `opt_out_each`."""
    return opt_out_each((OptOut(address, scope, source) for address in addresses), key)


def opt_out_each(entries: Iterable[OptOut], key: bytes = b"", about: str = "hand") -> Call[int]:
    """Remember opt-outs; answers how many are new. Who is there keeps the first source and time.

    With the people's `key` nobody is added again who is there as a forgotten person. `about`: "list" if they
    come from one, for the metric.
    """
    listed = [[f"{s}|{a}", source, at, _hash(s, a, key)] for a, s, source, at in entries]
    return _change("add", listed, about)


def refused_by(lane: str, address: str, code: int, *, key: bytes = b"") -> Call[int]:
    """Remember what Twilio's error `code` says: this person takes no messages from `lane`, or no marketing.

    The opt-out is from the service whose pool the lane's number is in, as Twilio's own; else from the lane.
    """
    purpose = Purpose.MARKETING.value if code in MARKETING_OPT_OUTS else ""
    known = hashed(key, address) if key else ""
    return _change("refuse", [[lane, address, f"twilio:{code}", purpose, known]], "twilio")


def opt_in(addresses: Iterable[str], scope: str = EVERYWHERE, *, key: bytes = b"") -> Call[int]:
    """Forget opt-outs; answers how many there were. With the people's `key` forgotten people's, too."""
    return _change("remove", [[f"{scope}|{a}", "", 0, _hash(scope, a, key)] for a in addresses])


def hash_opt_outs(key: bytes, addresses: Iterable[str]) -> Call[int]:
    """Keep only a hash of whom these addresses' opt-outs are about, in all scopes; answers how many.

    The log keeps no line that names one of them.
    """
    return _change("hash", [[address, hashed(key, address)] for address in addresses])


def _hash(scope: str, address: str, key: bytes) -> str:
    return f"{scope}|{hashed(key, address)}" if key and address[0] != HASHED else ""


def _change(verb: str, entries: list[list[Any]], about: str = "") -> Call[int]:
    arguments = (verb, packed(entries))
    return Call("optout", arguments, lambda reply: int(reply[0]), lasting=True, about=about)
