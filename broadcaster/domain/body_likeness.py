"""Whether a body that Twilio shows may be the plain text that was sent.

Twilio may have put a trial account's prefix before it and replaced look-alikes of GSM-7 characters (smart
encoding, its `SmartEncoded`). Both sides are folded the same way before they are compared, further than
Twilio goes: texts that differ only in what anybody might change count as alike.
"""

from __future__ import annotations

import unicodedata
from typing import Final

TRIAL_PREFIX: Final = "Sent from your Twilio trial account - "

_FOLDED: Final = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u02b9\uff07`\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\uff02\u275d\u275e", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d\u2022\u2043", "-"),
        **dict.fromkeys("\u2044\u2215", "/"),
        **dict.fromkeys("\u2039\u3008", "<"),
        **dict.fromkeys("\u203a\u3009", ">"),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", ""),
        "\u00d7": "x",
        "\u2217": "*",
        "\u02c6": "^",
        "\u02dc": "~",
    }
)
#: Invisible characters and dashes: whether Twilio drops or replaces such a one isn't documented.
_DROPPED: Final = frozenset({"Cf", "Cc", "Pd"})


def fold(text: str) -> str:
    """Return what is left of a text when everything that may be replaced on its way is made the same."""
    normal = unicodedata.normalize("NFKC", text.translate(_FOLDED))
    return "".join([c for c in normal if not c.isspace() and unicodedata.category(c) not in _DROPPED])


def may_be(sent: str, listed: str | None) -> bool:
    """Tell whether `listed` may be `sent` as Twilio has it; an empty body was redacted and says nothing."""
    if not listed or listed == sent:
        return True
    wanted = fold(sent)
    return fold(listed) == wanted or fold(listed.removeprefix(TRIAL_PREFIX)) == wanted
