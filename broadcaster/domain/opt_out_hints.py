"""Does a text tell its readers how to get no more of them? Marketing should, and in many countries must.

The United States' carriers ask for it (CTIA Messaging Principles 5.1.2), as does Meta of marketing templates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broadcaster.domain.purpose import Purpose
from broadcaster.domain.spelling import words_in
from broadcaster.domain.words import STOP_ABROAD

if TYPE_CHECKING:
    from broadcaster.domain.content import Content

#: Words that stand in a text for little else.
_HINTS: Final = ("stop", "stopall", "unsubscribe", "optout", "opt out", "opt-out", "no more messages")
#: A shorter one of another language is in too many a text to say anything.
_SHORTEST: Final = 4
NO_HINT: Final = (
    "the text says nowhere how to opt out, as marketing should: add something like 'Reply STOP to opt out'"
)


def _spaced(text: str) -> str:
    return f" {' '.join(words_in(text))} "


_ABROAD: Final = [word for words in STOP_ABROAD.values() for word in words]
_SPACED: Final = frozenset(
    _spaced(word) for word in (*_HINTS, *_ABROAD) if not word.isascii() or len(word) >= _SHORTEST
)
#: In writing without spaces a word may stand anywhere.
_ANYWHERE: Final = frozenset(word for word in _ABROAD if min(word) >= "\u0e00")


def has_opt_out_hint(text: str) -> bool:
    """Whether a text (a template's, too) holds a word that people can opt out by, in any big language."""
    spaced = _spaced(text)
    return any(hint in spaced for hint in _SPACED) or any(word in text for word in _ANYWHERE)


def warnings_about(purpose: Purpose, content: Content) -> tuple[str, ...]:
    """Return what the sender should know of an order that is taken all the same.

    A content template's text is Twilio's, and isn't looked at.
    """
    if purpose is Purpose.MARKETING and content.body is not None and not has_opt_out_hint(content.body):
        return (NO_HINT,)
    return ()
