"""Loading: packed batches and their first records go to Redis, then one step makes the list whole.

Until `seal` nothing can be sent of it, and a process that dies on the way leaves an import that somebody else
abandons: its lease runs out, its data is removed.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from broadcaster.domain.broadcast import BroadcastSpec, Priority
from broadcaster.domain.message_ids import ID_ALPHABET, ID_LETTERS
from broadcaster.domain.openings import openings_text
from broadcaster.ledger.people import forget
from broadcaster.store.batches import Recipients, first_records, pack_batch
from broadcaster.store.errors import StoreError, Unreachable
from broadcaster.store.scripts import Call, packed, text
from broadcaster.store.who import grouped, place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.intake.batches import BatchRows
    from broadcaster.store.connection import Store

IMPORT_LEASE_SECONDS: Final = 15.0
SEAL_TRIES: Final = 3
CLASS_OF: Final = {Priority.URGENT: "u", Priority.NORMAL: "n", Priority.BULK: "b"}
#: Rows that are written in one step, with which Redis is busy for three or four milliseconds.
ROWS_AT_ONCE: Final = 4000
_REMOVED_AT_ONCE: Final = 500
#: A broadcast has it if somebody in its list, which a Messaging Service sends to, is on WhatsApp.
WHATSAPP_FACT: Final = "whatsapp"
#: What is kept of a list beside its batches.
LIST_PARTS: Final = (":rejects", ":seen", ":chunks")


class ImportLostError(StoreError):
    """The import's lease ran out before the list was whole; nothing of it will be sent."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """The answer to a reservation: 'new', 'importing', 'abandoned' or 'known', and for which broadcast."""

    verdict: str
    broadcast: str
    fingerprint: str


def new_broadcast_id() -> str:
    """Return an id that sorts by time: 9 characters of milliseconds, 5 of chance."""
    number = int(time.time() * 1000) << 25 | secrets.randbits(25)
    letters = []
    for _ in range(ID_LETTERS):
        number, low = number >> 5, number & 31
        letters.append(ID_ALPHABET[low])
    return "".join(reversed(letters))


def reserve(broadcast: str, spec: BroadcastSpec, idempotency_key: str = "") -> Call[Reservation]:
    """Begin an import, once per idempotency key."""
    who = f"{socket.gethostname()}:{os.getpid()}"
    arguments = (
        broadcast,
        idempotency_key,
        int(IMPORT_LEASE_SECONDS * 1000),
        who,
        msgspec.msgpack.encode(spec),
        CLASS_OF[spec.priority],
        spec.name,
    )
    return Call("reserve", arguments, lambda r: Reservation(r[0].decode(), r[1].decode(), r[2].decode()))


def abandon(broadcast: str, reason: str, *, by_its_importer: bool = False) -> Call[str]:
    """End an import that will not become whole; 'ok', 'alive', or the state it is in."""
    return Call("abandon", (broadcast, reason, int(by_its_importer)), text)


class Laid(NamedTuple):
    """One batch to write: its name, its place (store/who.py), who is in it, and their records."""

    batch: str
    place: int
    recipients: Recipients
    records: bytes


def lay(
    broadcast: str, serial: int, batches: Sequence[Laid], entries: Sequence[str | bytes] | None = None
) -> Call[str]:
    """Write batches of an import and their `entries` in the person index; 'ok' or what forbids it."""
    written = [part for b in batches for part in (b.batch, pack_batch(b.recipients), b.records)]
    if entries is None:
        entries = entries_of(serial, batches)
    return Call("lay", (broadcast, serial, packed(written), packed(entries)), text)


def entries_of(serial: int, batches: Sequence[Laid]) -> list[str | bytes]:
    """Return the entries of batches in the person index, by bucket."""
    return grouped(serial, [(b.place, b.recipients.to) for b in batches])


def states_of(rows: BatchRows) -> dict[int, int]:
    """Return how many of a batch are in each state."""
    return {state: rows.states.count(state) for state in set(rows.states)}


def codes_of(rows: BatchRows) -> dict[str, int]:
    """Return how many of a batch there are of each `state:code` with a code."""
    found: dict[str, int] = {}
    for state, code in zip(rows.states, rows.codes, strict=True):
        if code:
            found[f"{state}:{code}"] = found.get(f"{state}:{code}", 0) + 1
    return found


def to_send(rows: BatchRows) -> tuple[int, int]:
    """Return how many of a batch are to be sent, and their segments."""
    if not any(rows.states):
        return len(rows), sum(rows.segments)
    costs = [cost for state, cost in zip(rows.states, rows.segments, strict=True) if not state]
    return len(costs), sum(costs)


@dataclass(slots=True)
class Loader:
    """Writes batches of one broadcast and counts what it wrote. Use: `add` each, then `seal`."""

    store: Store
    broadcast: str
    spec: BroadcastSpec
    rates: dict[str, float]
    counts: dict[int, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    _batches: dict[str, int] = field(default_factory=dict)
    _pending: list[Laid] = field(default_factory=list)
    _pending_rows: int = 0
    _serial: int = 0
    _whatsapp: bool = False
    _renewed: float = 0.0
    _lanes: dict[str, int] = field(init=False, default_factory=dict)
    _shares: dict[str, list[int]] = field(init=False, default_factory=dict)
    _buckets: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._lanes = {lane: i for i, lane in enumerate(self.spec.senders)}

    async def add(self, rows: BatchRows) -> None:
        """Take one batch; writes go out several batches at a time."""
        number = self._batches.get(rows.lane, 0)
        self._batches[rows.lane] = number + 1
        batch = f"{self._lanes[rows.lane]}.{number}"
        for state, count in states_of(rows).items():
            self.counts[state] = self.counts.get(state, 0) + count
        for code, count in codes_of(rows).items():
            self.codes[code] = self.codes.get(code, 0) + count
        share = self._shares.setdefault(rows.lane, [0, 0])
        for place, more in enumerate(to_send(rows)):
            share[place] += more
        if rows.lane.startswith("MG") and not self._whatsapp:
            self._whatsapp = any(to.startswith("whatsapp:") for to in rows.to)
        spot = place_of(self._lanes[rows.lane], number, len(self._lanes))
        recipients = rows.recipients
        records = first_records(rows.states, rows.codes, rows.segments, int(time.time()))
        self._pending.append(Laid(batch, spot, recipients, records))
        self._pending_rows += len(rows)
        if self._pending_rows >= ROWS_AT_ONCE:
            await self.flush()

    async def flush(self) -> None:
        """Write what is pending and renew the import's lease. Raises `ImportLostError`."""
        renew = time.monotonic() - self._renewed > IMPORT_LEASE_SECONDS / 5
        if not self._pending and not renew:
            return
        keys = self.store.keys
        if self._pending:
            if not self._serial:
                self._serial = int(await self.store.redis.hget(keys.broadcast(self.broadcast), "serial") or 0)
            entries = entries_of(self._serial, self._pending)
            self._buckets.update(str(name) for name in entries[::2])
            verdict = await self.store.run(lay(self.broadcast, self._serial, self._pending, entries))
            if verdict != "ok":
                raise ImportLostError(f"The import was ended: it is {verdict}. Send the list again.")
            self._pending, self._pending_rows = [], 0
        if renew:
            importer = keys.broadcast(self.broadcast, ":importer")
            if not await self.store.redis.pexpire(importer, int(IMPORT_LEASE_SECONDS * 1000)):
                raise ImportLostError(
                    "The import was given up: its process did not report for too long. Send the list again."
                )
            self._renewed = time.monotonic()

    async def seal(
        self, *, fingerprint: str, facts: dict[str, str], batches_of: dict[str, int] | None = None
    ) -> None:
        """Make the list whole: `scheduled` if the spec names a time, else `draft`; or `ImportLostError`."""
        await self.flush()
        spec = self.spec
        if spec.hours is not None:
            facts = facts | {"windows": openings_text(spec.hours, time.time())}
        if spec.content.sms is not None:
            facts = facts | {"sms": "1"}
        if self._whatsapp:
            facts = facts | {WHATSAPP_FACT: "1"}
        made = batches_of or self._batches
        body = (
            [
                (lane, repr(self.rates[lane]), made.get(lane, 0), *self._shares.get(lane, (0, 0)))
                for lane in spec.senders
            ],
            {str(int(s)): n for s, n in self.counts.items()},
            self.codes,
            facts,
        )
        if spec.send_at:  # before anything of it can leave (workers/recalling.py)
            await self.store.redis.zadd(self.store.keys.plain("handed"), {self.broadcast: spec.send_at})
        starts = spec.starts_at
        call: Call[str] = Call(
            "seal",
            (
                self.broadcast,
                "draft" if starts is None else "scheduled",
                "" if starts is None else repr(starts),
                "" if spec.expires_at is None else repr(spec.expires_at),
                "" if spec.rate is None else repr(spec.rate),
                fingerprint,
                packed(body),
            ),
            text,
            lasting=True,
        )
        for _ in range(SEAL_TRIES - 1):
            try:
                verdict = await self.store.run(call)
                break
            except Unreachable:  # it may be done, and what is scheduled may be sending: ask until it is known
                await asyncio.sleep(1.0)
        else:
            verdict = await self.store.run(call)
        if verdict != "ok":
            raise ImportLostError(f"The import can't be finished: it is {verdict}. Send the list again.")

    @property
    def total(self) -> int:
        """Recipients written so far."""
        return sum(self.counts.values())

    async def remove(self) -> None:
        """Remove what was written, which is known here: no key is looked for. The import must be ended."""
        store, keys, bid = self.store, self.store.keys, self.broadcast
        serial = await store.redis.hget(keys.broadcast(bid), "serial")
        if serial is not None:
            await forget(store, [int(serial)], self._buckets)
        if self._buckets:
            for lane, count in self._batches.items():
                names = (f"{self._lanes[lane]}.{number}" for number in range(count))
                while some := list(islice(names, _REMOVED_AT_ONCE)):
                    await store.redis.unlink(
                        *(key(bid, name) for name in some for key in (keys.batch, keys.ledger))
                    )
        await _remove_rest(store, bid)


async def remove_data(store: Store, broadcast: str) -> int:
    """Remove the batches and ledgers of a failed import, and who was in them; answers how many keys went."""
    removed: int = 0
    serial = await store.redis.hget(store.keys.broadcast(broadcast), "serial")
    if serial is not None:
        await forget(store, [int(serial)])
    for kind in ("bat", "led", "flow", "hist"):
        async for key in store.redis.scan_iter(f"{store.keys.prefix}{kind}:{broadcast}:*", count=2000):
            removed += await store.redis.unlink(key)
    return removed + await _remove_rest(store, broadcast)


async def _remove_rest(store: Store, broadcast: str) -> int:
    names = (store.keys.broadcast(broadcast, part) for part in (":lanes", ":run", *LIST_PARTS))
    removed: int = await store.redis.unlink(*names)
    await store.redis.srem(store.keys.plain("importing"), broadcast)  # last: until then it is found again
    return removed
