"""Where a person's messages are, by the index that every intake writes (store/who.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from broadcaster.store.who import (
    Entry,
    batch_at,
    bucket_names,
    bucket_of,
    cut_out,
    entries_of,
    serials_in,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from broadcaster.store.connection import Store

#: Of ten million recipients a bucket has 200 kB: so many are read in about a millisecond.
_BUCKETS_AT_ONCE: Final = 16
#: Cutting one takes this process some milliseconds, and a worker sends meanwhile.
_CUT_AT_ONCE: Final = 2


class Place(NamedTuple):
    """One batch: the `number`-th of the lane with index `lane_index` of a broadcast or stream."""

    broadcast: str
    lane: str
    lane_index: int
    number: int
    serial: int
    place: int

    @property
    def batch(self) -> str:
        """The batch's name."""
        return f"{self.lane_index}.{self.number}"


async def find_places(store: Store, addresses: Collection[str]) -> dict[str, list[Place]]:
    """Return the batches that `addresses` may be in, the newest broadcast and batch first.

    Of 65,536 others of a bucket one shares its entries, so the batch decides. Raises redis' errors.
    """
    found: dict[str, list[Entry]] = {}
    by_bucket: dict[str, list[str]] = {}
    for address in addresses:
        by_bucket.setdefault(bucket_of(address), []).append(address)
    names = sorted(by_bucket)
    for start in range(0, len(names), _BUCKETS_AT_ONCE):
        some = names[start : start + _BUCKETS_AT_ONCE]
        buckets = await store.redis.mget([store.keys.who(name) for name in some])
        for name, raw in zip(some, buckets, strict=True):
            for address in by_bucket[name]:
                found[address] = sorted(set(entries_of(raw or b"", address)), reverse=True)
    owners = await _owners(store, {entry.serial for some in found.values() for entry in some})
    lanes = await _lanes(store, set(owners.values()))
    for name, some in by_bucket.items():
        if any(entry.serial not in owners for address in some for entry in found[address]):
            await _clean(store, name)
    return {address: list(_places(some, owners, lanes)) for address, some in found.items()}


def _places(entries: Iterable[Entry], owners: dict[int, str], lanes: dict[str, list[str]]) -> Iterable[Place]:
    for serial, place in entries:
        broadcast = owners.get(serial, "")
        senders = lanes.get(broadcast)
        if senders:  # an import that isn't whole has none yet
            index, number = batch_at(place, len(senders))
            yield Place(broadcast, senders[index], index, number, serial, place)


async def _owners(store: Store, serials: set[int]) -> dict[int, str]:
    """Return the broadcasts that have these serial numbers; those that are gone are left out."""
    asked = sorted(serials)
    if not asked:
        return {}
    told = await store.redis.hmget(store.keys.plain("bcs:serials"), asked)
    return {serial: raw.decode() for serial, raw in zip(asked, told, strict=True) if raw is not None}


async def _lanes(store: Store, broadcasts: set[str]) -> dict[str, list[str]]:
    names = sorted(broadcasts)
    async with store.redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.lrange(store.keys.broadcast(name, ":lanes"), 0, -1)
        told = await pipe.execute()
    return {name: [raw.decode() for raw in lanes] for name, lanes in zip(names, told, strict=True)}


async def _clean(store: Store, name: str) -> None:
    """Take out of one bucket whatever belongs to no broadcast any more."""
    bucket = await store.redis.get(store.keys.who(name)) or b""
    serials = serials_in(bucket)
    gone = serials - (await _owners(store, serials)).keys()
    if gone:
        await store.run(cut_out(name, bucket, gone))


async def forget(store: Store, serials: Collection[int], buckets: Collection[str] | None = None) -> None:
    """Take removed broadcasts out of the index; `buckets` are all that they can be in, if that is known.

    It may be done twice. What it leaves, should it die on the way, is taken out when somebody finds it.
    Raises redis' errors and `StoreError`.
    """
    if not serials:
        return
    await store.redis.hdel(store.keys.plain("bcs:serials"), *serials)
    raws = [serial.to_bytes(4, "big") for serial in serials]
    names = sorted(buckets) if buckets is not None else list(bucket_names())
    for start in range(0, len(names), _CUT_AT_ONCE):
        some = names[start : start + _CUT_AT_ONCE]
        found = await store.redis.mget([store.keys.who(name) for name in some])
        calls = [
            cut_out(name, raw, serials)
            for name, raw in zip(some, found, strict=True)
            if raw and any(one in raw for one in raws)
        ]
        if calls:
            await store.run_all(calls)
