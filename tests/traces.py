"""What is left of a person in Redis' files: every byte of them, packed or not."""

from __future__ import annotations

import contextlib
import zlib
from typing import TYPE_CHECKING

from broadcaster.intake.addressing import Seen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broadcaster.store.connection import Store

#: Server options under which a snapshot hides nothing: its strings are not compressed.
PLAIN = {"rdbcompression": "no", "save": "3600 1000000"}
#: How zlib's streams begin, by their level.
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


def needles(number: str, *texts: str) -> list[bytes]:
    """Return what must not be found of a person: the digits as text and as integers, and texts of theirs."""
    digits = int(number.removeprefix("+"))
    packed = [digits.to_bytes(8, order) for order in ("big", "little")]
    # nine digits are most of a number, however it is written: without its country's code, say
    return [str(digits).encode(), str(digits)[-9:].encode(), *packed, *(text.encode() for text in texts)]


def traces(folder: Path, wanted: list[bytes]) -> list[str]:
    """Return where something of it is found: files that Redis reads back, and what is packed in them."""
    found = []
    for path in sorted([*folder.glob("appendonlydir/*"), *folder.glob("*.rdb")]):
        raw = path.read_bytes()
        found += [f"{path.name}: {one!r}" for one in wanted if one in raw]
        for at, inner in _inflated(raw):
            found += [f"{path.name} at {at}, packed: {one!r}" for one in wanted if one in inner]
    return found


def _inflated(raw: bytes) -> Iterator[tuple[int, bytes]]:
    for mark in _ZLIB:
        at = raw.find(mark)
        while at >= 0:
            with contextlib.suppress(zlib.error):
                yield at, zlib.decompressobj().decompress(raw[at : at + 1_000_000])
            at = raw.find(mark, at + 1)


async def seen_by_drafts(store: Store, number: str) -> bool:
    """Whether a draft's list of addresses has a number: it is in bitmaps, which no search for bytes finds."""
    digits = int(number.removeprefix("+"))
    async for key in store.redis.scan_iter(f"{store.keys.prefix}bc:*:seen"):
        for raw in await store.redis.lrange(key, 0, -1):
            seen = Seen()
            seen.add(raw)
            if digits in seen._sms or digits in seen._whatsapp:
                return True
    return False
