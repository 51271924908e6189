"""Bad rows of a list that was taken without them, kept in Redis for whoever sent it."""

from __future__ import annotations

import re
import zlib
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from broadcaster.intake.faults import RejectOrder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from broadcaster.store.connection import Store

#: So many rows are kept, and so many bytes of them; the rest is only counted.
ROWS_KEPT: Final = 100_000
BYTES_KEPT: Final = 32 * 1024 * 1024
_BLOCK_ROWS: Final = 500
_BLOCK_BYTES: Final = 256 * 1024
_BLOCKS_AT_ONCE: Final = 8
_NO_DIGITS: Final = re.compile(r"\D+")
#: Fewer digits at a number's end mean too many others.
_TELLING: Final = 8
_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(tuple[tuple[str, ...], list[tuple[int, str, list[str]]]])


def pack_block(columns: Sequence[str], rows: Sequence[tuple[int, str, Sequence[str]]]) -> bytes:
    """Pack some rows: each its line, the reason, and its values in the order of `columns`."""
    return zlib.compress(_encode((columns, rows)), 1)


def unpack_block(raw: bytes) -> tuple[tuple[str, ...], list[tuple[int, str, list[str]]]]:
    """Unpack what `pack_block` made."""
    return _decoder.decode(zlib.decompress(raw))


def names_person(number: str, texts: Sequence[str]) -> bool:
    """Whether one of these may mean a number, however it is written: by its digits, or its last ones."""
    digits = number.removeprefix("+")
    for text in texts:
        found = _NO_DIGITS.sub("", text)
        if digits in found or (len(tail := found.lstrip("0")) >= _TELLING and digits.endswith(tail)):
            return True
    return False


class StoredRejects:
    """Takes bad rows beside the reading of a list, and gives them away in packed blocks.

    `header` and `kept` are those of earlier parts of the same list.
    """

    def __init__(self, header: tuple[str, ...] | None = None, *, kept: int = 0) -> None:
        self.count = 0
        self._order = RejectOrder(header)
        self._rows: list[tuple[int, str, Sequence[str]]] = []
        self._room = ROWS_KEPT - kept
        self._bytes = BYTES_KEPT
        self._block = 0
        self._packed: deque[bytes] = deque()

    def add(self, line: int, reason: str, columns: tuple[str, ...], values: Sequence[str]) -> None:
        """Take one bad row as it came."""
        self.count += 1
        arranged = self._order.arranged(columns, values)
        size = sum(map(len, arranged))
        if self._room <= 0 or size > self._bytes:
            return
        self._room -= 1
        self._bytes -= size
        self._block += size
        self._rows.append((line, reason, list(arranged)))
        if len(self._rows) >= _BLOCK_ROWS or self._block >= _BLOCK_BYTES:
            self._pack()

    def _pack(self) -> None:
        if self._rows:
            self._packed.append(pack_block(self._order.header or (), self._rows))
        self._rows, self._block = [], 0

    def take(self, *, ended: bool = False) -> list[bytes]:
        """Return the blocks that are full, all once the list has `ended`; each is given once."""
        if ended:
            self._pack()
        return [self._packed.popleft() for _ in range(len(self._packed))]


async def store_rejects(store: Store, broadcast: str, blocks: Sequence[bytes]) -> None:
    """Add blocks to what is kept for a broadcast. Raises redis' errors."""
    if blocks:
        await store.redis.rpush(store.keys.broadcast(broadcast, ":rejects"), *blocks)


async def read_rejects(store: Store, broadcast: str) -> AsyncIterator[tuple[str, ...] | list[str]]:
    """Yield the header, then every row that is kept: line, reason, and the list's own columns."""
    header = False
    async for columns, (line, reason, values) in read_reject_rows(store, broadcast):
        if not header:
            header = True
            yield ("line", "reason", *columns)
        yield [str(line), reason, *values]
    if not header:
        yield ("line", "reason")


async def read_reject_rows(
    store: Store, broadcast: str
) -> AsyncIterator[tuple[tuple[str, ...], tuple[int, str, list[str]]]]:
    """Yield every row that is kept, with its block's columns: line, reason, values."""
    key, start = store.keys.broadcast(broadcast, ":rejects"), 0
    while blocks := await store.redis.lrange(key, start, start + _BLOCKS_AT_ONCE - 1):
        start += len(blocks)
        for raw in blocks:
            columns, rows = unpack_block(raw)
            for row in rows:
                yield columns, row
