"""A list's bytes unpacked as they come: never more than a block of them, however small the file was."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from broadcaster.intake.faults import TooLongListError, UnreadableListError

if TYPE_CHECKING:
    from collections.abc import Callable

#: What every gzip member begins with (RFC 1952 §2.3.1).
MAGIC: Final = b"\x1f\x8b"
#: Lists shrink to a tenth or so; what unpacks to more than this many times its size, and to more than this
#: many bytes, was made to keep us busy. (A sheet's million empty rows at its end are less.)
_MOST_TIMES: Final = 100
_FREE_BYTES: Final = 4 * 1024 * 1024
_BLOCK_BYTES: Final = 64 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS


class Gunzip:
    """The plain bytes of a gzip stream: all its members one after the other, zero bytes behind them left out.

    `read` gives packed bytes, b"" at the end. `most` bounds the plain bytes, and how many times the packed
    ones they may be; None, for a file of whoever runs this, does not.
    """

    def __init__(self, read: Callable[[int], bytes], name: str, most: int | None = None) -> None:
        self._read = read
        self._name = name
        self._most = most
        self._given = self._taken = 0
        self._packed = b""
        self._more_inside = False
        self._inflate = zlib.decompressobj(_GZIP)

    def read(self, limit: int) -> bytes:
        """Return up to `limit` plain bytes, b"" at the end.

        Raises `UnreadableListError` where the stream is cut off or damaged, `TooLongListError` beyond `most`.
        """
        while True:
            if self._inflate.eof and not self._next_member():
                return b""
            if part := self._unpack(limit):
                self._given += len(part)
                if self._most is not None:
                    self._check(self._most)
                return part

    def _check(self, most: int) -> None:
        if self._given > most:
            raise TooLongListError(f"{self._name} is more than {most:,} bytes when it is unpacked; split it.")
        if self._given > max(_FREE_BYTES, _MOST_TIMES * self._taken):
            raise TooLongListError(
                f"{self._name} unpacks to more than {_MOST_TIMES} times its size: send it unpacked."
            )

    def _unpack(self, limit: int) -> bytes:
        if not (self._packed or self._more_inside):
            self._packed = self._more()
            if not self._packed:
                raise UnreadableListError(
                    f"{self._name} ends in the middle of its gzip: it was not copied whole. Copy it again."
                )
        try:
            part = self._inflate.decompress(self._packed, limit)
        except zlib.error as error:
            raise self._damaged(str(error)) from None
        # a full answer may leave something inside even where all that was packed has been taken
        self._more_inside = len(part) == limit
        self._packed = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        return part

    def _more(self) -> bytes:
        more = self._read(_BLOCK_BYTES)
        self._taken += len(more)
        return more

    def _next_member(self) -> bool:
        """Begin the next member; False if there is none."""
        self._more_inside = False
        self._packed = self._packed.lstrip(b"\0")
        while len(self._packed) < len(MAGIC) and (more := self._more()):
            self._packed = (self._packed + more).lstrip(b"\0")
        if not self._packed:
            return False
        if not self._packed.startswith(MAGIC):
            raise self._damaged("something that is no gzip follows it")
        self._inflate = zlib.decompressobj(_GZIP)
        return True

    def _damaged(self, why: str) -> UnreadableListError:
        return UnreadableListError(f"{self._name} is damaged gzip ({why}): pack it again.")
