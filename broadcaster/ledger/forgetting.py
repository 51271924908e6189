"""A person replaced by a tombstone in every batch, and taken out of the person index.

Address, reference and variables go; the record stays, so that counts add up, with a mark that keeps it from
ever being tried again. Each batch is one step of Redis; the index entry that leads to it goes after it, so a
death in between leaves what the next call finds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from broadcaster.domain.forgotten import FORGOTTEN
from broadcaster.domain.record import RECORD_BYTES, Record, State
from broadcaster.ledger.people import find_places
from broadcaster.store.batches import Recipients, pack_batch, unpack_batch
from broadcaster.store.errors import StoreError
from broadcaster.store.scripts import Call, packed
from broadcaster.store.who import bucket_of, entry_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from broadcaster.ledger.people import Place
    from broadcaster.store.connection import Store

#: Others may forget somebody of the same batch at the same moment.
_TRIES: Final = 20


class Replaced(NamedTuple):
    """What one step did: 'ok', 'changed' or 'gone' (`forget.lua`), and how many records it ended, and how."""

    verdict: str
    skipped: int
    dead: int
    sending: int


@dataclass(slots=True)
class Forgotten:
    """Messages whose person was replaced; of them `skipped` unsent, `dead` in doubt.

    `sending` were on their way at that moment: their outcome will be recorded, and nothing sent again.
    `handed` wait at Twilio for their hour, and nobody here can tell any more whose they are.
    """

    messages: int = 0
    handed: int = 0
    skipped: int = 0
    dead: int = 0
    sending: int = 0


def replace(place: Place, seen: bytes, new: Recipients, rows: Sequence[int]) -> Call[Replaced]:
    """Put `new` in the place of the packed recipients that were `seen`; `rows` are the person's."""
    digest = hashlib.sha1(seen).hexdigest()  # noqa: S324 - Redis' scripts have no other
    arguments = (place.broadcast, place.lane, place.batch, digest, pack_batch(new), packed(list(rows)))
    return Call("forget", arguments, _replaced, lasting=True)


def _replaced(reply: list[bytes | int]) -> Replaced:
    verdict, *counts = reply
    return Replaced(bytes(verdict).decode(), *(int(n) for n in counts))


def drop_entry(bucket: str, entry: bytes) -> Call[int]:
    """Take an entry out of the person index; answers how often it stood there."""
    return Call("who_drop", (bucket, entry), int)


async def forget_in_batches(store: Store, addresses: Collection[str]) -> Forgotten:
    """Replace a person in all batches. Raises redis' errors and `StoreError`; it may be done again.

    An SMS in place of a WhatsApp message may be queued until that has its tombstone: so whoever found new
    batches looks once more.
    """
    done = Forgotten()
    places = await find_places(store, addresses)
    handed = await _handed(store)
    seen: set[Place] = set()
    for _ in range(_TRIES):
        fresh = dict.fromkeys(place for some in places.values() for place in some if place not in seen)
        if not fresh:
            break
        for place in fresh:
            await _replace_in(store, place, addresses, done, handed=place.broadcast in handed)
        seen.update(fresh)
        places = await find_places(store, addresses)
    for address, some in places.items():
        for place in some:
            if not await _still_there(store, place, address):
                entry = entry_of(address, place.serial, place.place)
                await store.run(drop_entry(bucket_of(address), entry))
    return done


async def _handed(store: Store) -> set[str]:
    """Return the broadcasts and streams that Twilio keeps back until later than now."""
    now, _ = await store.redis.time()
    return {raw.decode() for raw in await store.redis.zrangebyscore(store.keys.plain("handed"), now, "inf")}


async def _accepted(store: Store, place: Place, rows: Sequence[int]) -> int:
    """Return how many of these messages Twilio has taken."""
    ledger = await store.redis.get(store.keys.ledger(place.broadcast, place.batch)) or b""
    there = (row for row in rows if (row + 1) * RECORD_BYTES <= len(ledger))
    return sum(Record.unpack(ledger, row * RECORD_BYTES).state is State.ACCEPTED for row in there)


async def _replace_in(
    store: Store, place: Place, addresses: Collection[str], done: Forgotten, *, handed: bool
) -> None:
    for _ in range(_TRIES):
        raw = await store.redis.get(store.keys.batch(place.broadcast, place.batch))
        if raw is None:
            return
        recipients = unpack_batch(raw)
        rows = [row for row, to in enumerate(recipients.to) if to in addresses]
        if not rows:
            return
        told = await store.run(replace(place, raw, tombstoned(recipients, rows), rows))
        if told.verdict == "ok":
            done.messages += len(rows)
            done.skipped += told.skipped
            done.dead += told.dead
            done.sending += told.sending
            if handed:
                done.handed += await _accepted(store, place, rows)
        if told.verdict != "changed":
            return
    raise StoreError(f"batch {place.broadcast}.{place.batch} keeps changing: try again")


def tombstoned(recipients: Recipients, rows: Collection[int]) -> Recipients:
    """Return recipients with tombstones at `rows`: no address, no reference, no variables."""

    def without(values: list[str], nothing: str) -> list[str]:
        return [nothing if row in rows else value for row, value in enumerate(values)]

    references = recipients.references
    if references is not None:
        references = [None if row in rows else value for row, value in enumerate(references)]
    return Recipients(
        without(recipients.to, FORGOTTEN),
        references,
        recipients.columns,
        [without(column, "") for column in recipients.values],
    )


async def _still_there(store: Store, place: Place, address: str) -> bool:
    """Whether somebody in a batch has the same entry: the person, or one of 65,536 others of the bucket."""
    raw = await store.redis.get(store.keys.batch(place.broadcast, place.batch))
    if raw is None:
        return False
    bucket, check = bucket_of(address), crc32(address.encode()) >> 16
    return any(
        crc32(to.encode()) >> 16 == check and bucket_of(to) == bucket
        for to in unpack_batch(raw).to
        if to != FORGOTTEN
    )
