"""The person index: in which batches an address is, over all broadcasts and streams.

512 strings (`who:000` to `who:1ff`, by its CRC-32) hold one entry of ten bytes a recipient, in the
order of intake, big-endian::

    offset  size  field
    0       2     check: the upper half of the CRC-32, which 1 of 65,536 others of the bucket shares
    2       4     serial number of the broadcast: field `serial` of its hash, key of the hash `bcs:serials`
    6       4     place: the batch's number * the broadcast's lanes + its lane

Entries are written in one step with their batch (`lay.lua`, `append.lua`). A serial number is given once;
when its broadcast is removed its entries mean nothing any more, and are cut out when they are found
(`who.lua`).
"""

from __future__ import annotations

import hashlib
import re
import struct
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from broadcaster.store.scripts import Call, packed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

BUCKETS: Final = 512
ENTRY_BYTES: Final = 10
_LOW: Final = BUCKETS - 1
_HIGHEST: Final = 2**32 - 1
_SERIAL_AT: Final = 2
_TAIL: Final = struct.Struct(">II")
_NAMES: Final = tuple(f"{number:03x}" for number in range(BUCKETS))
_RAW_NAMES: Final = tuple(name.encode() for name in _NAMES)


class Entry(NamedTuple):
    """One batch that an address may be in."""

    serial: int
    place: int


def bucket_of(address: str) -> str:
    """Return the name of an address's bucket, three hexadecimal digits."""
    return _NAMES[crc32(address.encode()) & _LOW]


def bucket_names() -> tuple[str, ...]:
    """Return the names of all buckets."""
    return _NAMES


def marks(addresses: Sequence[str]) -> bytes:
    """Return what the scripts make entries of: bucket and check of each address, five bytes."""
    names = _RAW_NAMES
    return b"".join(
        [names[(c := crc32(a.encode())) & _LOW] + (c >> 16).to_bytes(2, "big") for a in addresses]
    )


def grouped(serial: int, batches: Iterable[tuple[int, Sequence[str]]]) -> list[str | bytes]:
    """Return the entries of whole batches, (place, addresses), by bucket: name, its entries, name, …."""
    found: dict[int, list[bytes]] = {}
    for place, addresses in batches:
        tail = _TAIL.pack(serial, place)
        for address in addresses:
            crc = crc32(address.encode())
            entry = (crc >> 16).to_bytes(2, "big") + tail
            bucket = crc & _LOW
            if bucket in found:
                found[bucket].append(entry)
            else:
                found[bucket] = [entry]
    return [part for bucket, some in found.items() for part in (_NAMES[bucket], b"".join(some))]


def entry_of(address: str, serial: int, place: int) -> bytes:
    """Return the entry of one address in the batch at a place."""
    return (crc32(address.encode()) >> 16).to_bytes(2, "big") + _TAIL.pack(serial, place)


def place_of(lane: int, number: int, lanes: int) -> int:
    """Return the place of a lane's batch, of a broadcast with so many lanes. Raises ValueError."""
    place = number * lanes + lane
    if place > _HIGHEST:
        raise ValueError(
            f"a list for {lanes:,} senders can't have {number:,} batches for one of them: split it"
        )
    return place


def batch_at(place: int, lanes: int) -> tuple[int, int]:
    """Return lane and number of the batch at a place: `place_of` backwards."""
    return place % lanes, place // lanes


def entries_of(bucket: bytes, address: str) -> list[Entry]:
    """Return what a bucket holds of an address (and of the few that share its check), oldest first."""
    check = (crc32(address.encode()) >> 16).to_bytes(2, "big")
    found: list[Entry] = []
    at = bucket.find(check)
    while at >= 0:
        if at % ENTRY_BYTES == 0 and at + ENTRY_BYTES <= len(bucket):
            found.append(Entry(*_TAIL.unpack_from(bucket, at + _SERIAL_AT)))
        at = bucket.find(check, at + 1)
    return found


def serials_in(bucket: bytes) -> set[int]:
    """Return the serial numbers of all entries of a bucket."""
    return {int.from_bytes(raw, "big") for raw in _serials(bucket)}


def without(bucket: bytes, gone: Collection[int]) -> bytes:
    """Return a bucket without the entries of these serial numbers.

    One expression passes over all of it: a worker sends meanwhile, and a bucket may have 20,000 entries.
    """
    serials = b"|".join(re.escape(serial.to_bytes(4, "big")) for serial in gone)
    if not serials:
        return bucket
    whole = bucket[: len(bucket) // ENTRY_BYTES * ENTRY_BYTES]  # each match ends where an entry does
    kept = re.compile(b"(?s)(?:..(?:%b)....)*((?:..(?!%b)........)*)" % (serials, serials))
    return b"".join(kept.findall(whole))


def _serials(bucket: bytes) -> list[bytes]:
    return [bucket[at + _SERIAL_AT : at + _SERIAL_AT + 4] for at in range(0, len(bucket), ENTRY_BYTES)]


def cut_out(name: str, seen: bytes, gone: Collection[int]) -> Call[int]:
    """Take the entries of removed broadcasts out of a bucket, as it was `seen`; answers how many went.

    None go if the bucket was cut meanwhile, or one of those broadcasts is there after all.
    """
    digest = hashlib.sha1(seen).hexdigest()  # noqa: S324 - Redis' scripts have no other
    return Call("who", (name, len(seen), digest, without(seen, gone), packed(sorted(gone))), int)
