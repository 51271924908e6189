"""How many segments a text costs, exactly.

GSM 03.38: 160 septets in one part, 153 in each of several (the concatenation header takes 6 octets);
characters of the extension table take two septets and stay in one part. Any character outside both
tables turns the whole text into UCS-2: 70 and 67 UTF-16 units, surrogate pairs stay in one part.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

_GSM_SINGLE: Final = 160
_GSM_PART: Final = 153
_UCS_SINGLE: Final = 70
_UCS_PART: Final = 67

# In the order of their septets (3GPP TS 23.038, 6.2.1), without 0x1B, the escape to the extension table.
_BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION: Final = "\f^{}\\[~]|€"
_BASIC_LATIN: Final = _BASIC.encode("latin-1", "ignore")
_OUTSIDE_GSM: Final = re.compile(f"[^{re.escape(_BASIC + _EXTENSION)}]")
_EXTENDED: Final = re.compile(f"[{re.escape(_EXTENSION)}]")
_ESCAPE: Final = "\x1b"

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
    # Most texts are Latin letters of the basic table: ask only that first, it is the fastest question.
    latin = text.encode("latin-1", "ignore")
    if len(latin) == len(text) and not latin.translate(None, _BASIC_LATIN):
        length = len(text)
        return 1 if length <= _GSM_SINGLE else -(-length // _GSM_PART)
    return _ucs_parts(text) if _OUTSIDE_GSM.search(text) else _gsm_parts(text)


def segments_of(texts: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return the number of segments of each text, and which are in UCS-2 (their places, ascending).

    It asks all of them at once first: where all are as most texts are, that is all there is to ask.
    """
    whole = "".join(texts)
    latin = whole.encode("latin-1", "ignore")
    if len(latin) == len(whole) and not latin.translate(None, _BASIC_LATIN):
        if len(whole) <= _GSM_SINGLE or max(map(len, texts)) <= _GSM_SINGLE:
            return [1] * len(texts), []
        return [1 if len(text) <= _GSM_SINGLE else -(-len(text) // _GSM_PART) for text in texts], []
    outside = _OUTSIDE_GSM.search
    others = [place for place, text in enumerate(texts) if outside(text)]
    costs = list(map(segments, texts))
    return costs, others


def is_gsm(text: str) -> bool:
    """Tell whether every character of `text` is in GSM-7's basic or extension table."""
    return _OUTSIDE_GSM.search(text) is None


def measure(text: str) -> Measure:
    """Return the segments of `text` with what they consist of and why."""
    culprit = _OUTSIDE_GSM.search(text)
    if culprit is None:
        return Measure(_gsm_parts(text), "GSM-7", _septets(text))
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    return Measure(_ucs_parts(text), "UCS-2", units, culprit[0], culprit.start())


def _septets(text: str) -> int:
    return len(text) + len(_EXTENDED.findall(text))


def _gsm_parts(text: str) -> int:
    units = _septets(text)
    if units <= _GSM_SINGLE:
        return 1
    if units == len(text):
        return -(-units // _GSM_PART)
    septets = _EXTENDED.sub(_ESCAPE + "x", text)
    count = start = 0
    while start < units:
        count += 1
        start += _GSM_PART
        if start < units and septets[start - 1] == _ESCAPE:
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
