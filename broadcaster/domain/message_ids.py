"""A message's id as a SID: `SM` and 32 hexadecimal digits that lead back to it without any look-up.

From the highest bit down: the broadcast's id (14 letters of five bits), lane (14), batch (25), index (9),
and ten check bits over the rest. A SID that Twilio made passes for one of ours once in 1,024 times or less
(the first letters of an id are a time); whether there is such a message decides then.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

#: The letters of a broadcast's id, each worth five bits: in the order of their codes, so that ids sort by
#: time.
ID_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
ID_LETTERS: Final = 14
_WORTH: Final = {letter: number for number, letter in enumerate(ID_ALPHABET)}
_LANE_BITS: Final = 14
_BATCH_BITS: Final = 25
_INDEX_BITS: Final = 9
_CHECK_BITS: Final = 10
_PARTS: Final = 4
_SID_LENGTH: Final = 34
_HEX: Final = frozenset("0123456789abcdef")


def sid_like(message: str) -> str:
    """Return the SID of a message's id (`BROADCAST.LANE.BATCH.INDEX`).

    Raises ValueError for what is no such id, and for one that doesn't fit: lane, batch and index must be
    below 16,384, 33,554,432 and 512.
    """
    parts = message.split(".")
    if len(parts) != _PARTS or len(parts[0]) != ID_LETTERS or not set(parts[0]) <= _WORTH.keys():
        raise ValueError(f"{message!r} is no message's id")
    number = 0
    for letter in parts[0]:
        number = number << 5 | _WORTH[letter]
    for part, bits in zip(parts[1:], (_LANE_BITS, _BATCH_BITS, _INDEX_BITS), strict=True):
        if not (part.isascii() and part.isdigit()) or (len(part) > 1 and part[0] == "0"):
            raise ValueError(f"{message!r} is no message's id")
        value = int(part)
        if value >> bits:
            raise ValueError(f"{message!r} has no SID: {value:,} is too high a number")
        number = number << bits | value
    return f"SM{number << _CHECK_BITS | _check(number):032x}"


def id_of(sid: str) -> str | None:
    """Return the message's id that `sid_like` made this SID of; None for one that it didn't make."""
    if len(sid) != _SID_LENGTH or sid[:2] != "SM" or not set(sid[2:]) <= _HEX:
        return None
    whole = int.from_bytes(bytes.fromhex(sid[2:]), "big")
    number = whole >> _CHECK_BITS
    if whole & ((1 << _CHECK_BITS) - 1) != _check(number):
        return None
    parts = []
    rest = number
    for bits in (_INDEX_BITS, _BATCH_BITS, _LANE_BITS):
        parts.append(str(rest & ((1 << bits) - 1)))
        rest >>= bits
    letters = []
    for _ in range(ID_LETTERS):
        letters.append(ID_ALPHABET[rest & 31])
        rest >>= 5
    return ".".join(["".join(reversed(letters)), *reversed(parts)])


def _check(number: int) -> int:
    return crc32(number.to_bytes(15, "big")) & ((1 << _CHECK_BITS) - 1)
