"""Whether a body that Twilio shows may be the plain text that was sent.

Twilio may have put a trial account's prefix before it and replaced characters by ones of GSM-7 (smart
encoding: `SmartEncoded`, or its Messaging Service's setting). What it replaces, and by what, is told twice
and not alike (its page "Smart Encoding", the table of its own segment calculator), and changes without
notice: U+00BD becomes 1/2, U+02BB an apostrophe, a combining mark a character of its own. All of it lies
outside GSM-7, so only a text that is GSM-7 throughout is told from another by its body (`may_be`). `alike`
only chooses between several.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from broadcaster.domain.segments import is_gsm

TRIAL_PREFIX: Final = "Sent from your Twilio trial account - "

#: What word processors write, and both of Twilio's tables replace alike.
_FOLDED: Final = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201b\u02bb\u02bc\u02b9`\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2013\u2014\u2015\u2022\u2043", "-"),
        **dict.fromkeys("\u2044\u2215", "/"),
    }
)
#: Invisible characters: whether Twilio drops such a one isn't documented.
_DROPPED: Final = frozenset({"Cf", "Cc"})


def fold(text: str) -> str:
    """Return what is left of a text when blanks, quotes and ways to write an accent don't count."""
    normal = unicodedata.normalize("NFKC", text.translate(_FOLDED))
    return "".join([c for c in normal if not c.isspace() and unicodedata.category(c) not in _DROPPED])


def alike(sent: str, listed: str | None) -> bool:
    """Tell whether `listed` is `sent`, but for what `fold` levels and a trial account's prefix."""
    if not listed:
        return False
    if listed == sent:
        return True
    wanted = fold(sent)
    return fold(listed) == wanted or fold(listed.removeprefix(TRIAL_PREFIX)) == wanted


def may_be(sent: str, listed: str | None) -> bool:
    """Tell whether `listed` may be `sent` as Twilio has it; an empty body was redacted and says nothing.

    False only where Twilio surely has not made the one of the other.
    """
    return not listed or not is_gsm(sent) or alike(sent, listed)
