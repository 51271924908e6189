"""Characters on the air: GSM-7 or UCS-2, how many segments, and smart encoding.

Deliberately not shared with the sending side: the simulator is the second opinion.
"""

from __future__ import annotations

from math import ceil
from typing import Final

# GSM 03.38, basic table and extension table (the latter cost two septets).
_BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED: Final = "\f^{}\\[~]|€"
_COST: Final[dict[str, int]] = dict.fromkeys(_BASIC, 1) | dict.fromkeys(_EXTENDED, 2)
_SIMPLE: Final = frozenset(_BASIC)

_GSM_SINGLE, _GSM_PART = 160, 153
_UCS_SINGLE, _UCS_PART = 70, 67
_LAST_OF_ONE_UNIT: Final = "\uffff"

# Look-alikes that smart encoding replaces; the kinds of characters that word processors put in.
_SMART: Final = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u02b9\uff07`\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\uff02\u275d\u275e", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u00ad\ufe58\uff0d", "-"),
        **dict.fromkeys(
            "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u3000", " "
        ),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", ""),
        "\u2026": "...",
        "\u2022": "-",
        "\u2039": "<",
        "\u203a": ">",
        "\u2044": "/",
        "\u2215": "/",
        "\u00d7": "x",
        "\u2217": "*",
        "\u2028": "\n",
        "\u2029": "\n",
        "\u2122": "TM",
        "\uff01": "!",
        "\uff1f": "?",
        "\uff0c": ",",
        "\uff0e": ".",
    }
)


def smart(text: str) -> str:
    """Return the text with look-alikes of GSM-7 characters replaced."""
    return text.translate(_SMART)


def count_segments(text: str) -> int:
    """Return how many segments the text takes; an empty text takes one."""
    size = len(text)
    if _SIMPLE.issuperset(text):
        return 1 if size <= _GSM_SINGLE else ceil(size / _GSM_PART)
    costs = [_COST.get(character, 0) for character in text]
    if all(costs):
        return _parts(costs, _GSM_SINGLE, _GSM_PART)
    return _parts([1 if character <= _LAST_OF_ONE_UNIT else 2 for character in text], _UCS_SINGLE, _UCS_PART)


def _parts(costs: list[int], single: int, part: int) -> int:
    """Fill parts of `part` units, never splitting a character over two of them."""
    if sum(costs) <= single:
        return 1
    parts, room = 1, part
    for cost in costs:
        if cost > room:
            parts, room = parts + 1, part
        room -= cost
    return parts
