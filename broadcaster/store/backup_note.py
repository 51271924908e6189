"""The second that a snapshot holds as its own, read out of its bytes as they come.

Redis may answer a `SYNC` with a snapshot that it is just writing for somebody else: it was begun earlier, and
says so. Format: a string's key is `00`, its length, itself; a number of up to 32 bits follows as `C2` and four
bytes, the least first (Redis' rdb.c).
"""

from __future__ import annotations

from typing import Final

_NUMBER_BYTES: Final = 4
#: A length up to this is one byte; up to 14 bits it is two, of which the first begins with the bits 01.
_ONE_BYTE: Final = 0x3F
_TWO_BYTES: Final = 0x3FFF


class NoteSought:
    """Looks for one key's number in the pieces of a snapshot, however they are cut.

    A server may hold several databases, each with such a key, and the pieces don't tell whose it is. A key
    longer than 20 bytes that Redis could compress is not found.
    """

    def __init__(self, key: str) -> None:
        name = key.encode()
        size = len(name)
        length = bytes([size]) if size <= _ONE_BYTE else bytes([0x40 | size >> 8, size & 0xFF])
        self._mark = b"\x00" + length + name + b"\xc2" if size <= _TWO_BYTES else b""
        self._kept = b""
        self._seconds: set[int] = set()

    def look_at(self, piece: bytes) -> None:
        """Take the next piece."""
        if not self._mark:
            return
        whole = self._kept + piece
        at = whole.find(self._mark)
        while at >= 0:
            number = whole[at + len(self._mark) :][:_NUMBER_BYTES]
            if len(number) == _NUMBER_BYTES:
                self._seconds.add(int.from_bytes(number, "little", signed=True))
            at = whole.find(self._mark, at + 1)
        self._kept = whole[-(len(self._mark) + _NUMBER_BYTES - 1) :]

    def found(self, written: int) -> int | None:
        """Return `written`, which we wrote last, if it is there, else the earliest; None: none was found."""
        return written if written in self._seconds else min(self._seconds, default=None)
