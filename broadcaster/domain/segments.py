"""How many segments a text costs, exactly.

GSM 03.38: 160 septets in one part, 153 in each of several (the concatenation header takes 6 octets);
characters of the extension table take two septets and stay in one part. Any character outside both
tables turns the whole text into UCS-2: 70 and 67 UTF-16 units, surrogate pairs stay in one part.
"""

from __future__ import annotations

import codecs
from typing import Final, Literal

import msgspec

_GSM_SINGLE: Final = 160
_GSM_PART: Final = 153
_UCS_SINGLE: Final = 70
_UCS_PART: Final = 67

# Position is the septet (3GPP TS 23.038, 6.2.1); 0x1B is the escape to the extension table, no character.
_BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\ufffeÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION: Final = "\f^{}\\[~]|€"
# One C call checks and translates a text: basic characters become bytes below 0x80, extension ones above.
_TABLE: Final = codecs.charmap_build(_BASIC + _EXTENSION + "\ufffe" * (128 - len(_EXTENSION)))
_ESCAPE: Final = 0x1B
_EXTENDED_BYTES: Final = bytes(range(0x80, 0x80 + len(_EXTENSION)))
_BASIC_BYTES: Final = bytes(range(0x80))
_BASIC_LATIN: Final = _BASIC.encode("latin-1", "ignore")

Encoding = Literal["GSM-7", "UCS-2"]


class Measure(msgspec.Struct, frozen=True):
    """What a text costs: `count` segments of `units` septets (GSM-7) or UTF-16 units (UCS-2) in all.

    `culprit` is the first character that forced UCS-2, `position` its index in the text; None for GSM-7.
    """

    count: int
    encoding: Encoding
    units: int
    culprit: str | None = None
    position: int | None = None


def segments(text: str) -> int:
    """Return the number of segments of `text`; an empty text still costs one."""
    # Most texts are Latin letters of the basic table; asking only that is seven times as fast.
    try:
        basic = not text.encode("latin-1").translate(None, _BASIC_LATIN)
    except UnicodeEncodeError:
        basic = False
    if basic:
        length = len(text)
        return 1 if length <= _GSM_SINGLE else -(-length // _GSM_PART)
    try:
        septets = codecs.charmap_encode(text, "strict", _TABLE)[0]
    except UnicodeEncodeError:
        return _ucs_parts(text)
    return _gsm_parts(septets)


def measure(text: str) -> Measure:
    """Return the segments of `text` with what they consist of and why."""
    try:
        septets = codecs.charmap_encode(text, "strict", _TABLE)[0]
    except UnicodeEncodeError as error:
        units = len(text.encode("utf-16-le", "surrogatepass")) // 2
        return Measure(_ucs_parts(text), "UCS-2", units, text[error.start], error.start)
    units = len(septets) + len(septets.translate(None, _BASIC_BYTES))
    return Measure(segments(text), "GSM-7", units)


def _gsm_parts(septets: bytes) -> int:
    extended = len(septets.translate(None, _BASIC_BYTES))
    units = len(septets) + extended
    if units <= _GSM_SINGLE:
        return 1
    if not extended:
        return -(-units // _GSM_PART)
    escaped = septets
    for byte in _EXTENDED_BYTES:
        escaped = escaped.replace(bytes((byte,)), bytes((_ESCAPE, byte)))
    count = start = 0
    while start < units:
        count += 1
        start += _GSM_PART
        if start < units and escaped[start - 1] == _ESCAPE:
            start -= 1
    return count


def _ucs_parts(text: str) -> int:
    raw = text.encode("utf-16-le", "surrogatepass")
    units = len(raw) // 2
    if units <= _UCS_SINGLE:
        return 1
    if units == len(text):
        return -(-units // _UCS_PART)
    count = start = 0
    while start < units:
        count += 1
        start += _UCS_PART
        if start < units and 0xD8 <= raw[2 * start - 1] <= 0xDB:  # noqa: PLR2004 -- a high surrogate's top byte
            start -= 1
    return count
