"""One spelling for all of a word: case, width, accents, punctuation; and lists of words in settings."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

#: Canonical combining classes (Unicode, 4.3): Hebrew's and Arabic's points, marks above, below and across.
_POINTS: Final = range(10, 37)
_ACCENTS: Final = range(200, 241)
#: Letters that no decomposition makes alike: dotless i, Polish l, Scandinavian o; and Arabic's stretch.
_ALIKE: Final = str.maketrans({"\u0131": "i", "\u0142": "l", "\u00f8": "o", "\u0111": "d", "\u0640": None})
#: What makes a picture of the sign before it (emoji end in U+FE0F): no letter of a word.
_PICTURED: Final = re.compile("[\ufe00-\ufe0f\u20dd-\u20e4\U000e0100-\U000e01ef]")
_APOSTROPHES: Final = str.maketrans(dict.fromkeys("'\u2019\u2018\u02bc`"))
#: No reply is longer (WhatsApp takes 4,096); a body is somebody else's, and may be anything.
_LOOKED_AT: Final = 5000


def words_in(text: str) -> list[str]:
    """Return the words of `text` as they are compared: one case and width, no accents, no punctuation."""
    spelled = _PICTURED.sub("", text[:_LOOKED_AT]).translate(_APOSTROPHES)
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", spelled).casefold())
    folded = folded.translate(_ALIKE)
    # invisible marks and joiners part no word; punctuation, signs and space do
    letters = [
        c if unicodedata.category(c)[0] in "LMN" else "" if unicodedata.category(c) == "Cf" else " "
        for c in folded
        if not _is_accent(c)
    ]
    return "".join(letters).split()


def _is_accent(character: str) -> bool:
    """Tell whether it is an accent, or a vowel point of Arabic or Hebrew; Thai's and India's are letters."""
    place = unicodedata.combining(character)
    return place in _POINTS or place in _ACCENTS


def key_of(text: str) -> str:
    """Return what two spellings of one reply share: "Stop!", "S T O P" and full-width "stop" do."""
    return "".join(words_in(text))


_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})?")
_WORDS_MOST: Final = 500
_LONGEST: Final = 40


def parse_words(text: str) -> tuple[str, ...]:
    """Read `es:BAJA,ALTO;de:STOPP`; without languages `BAJA,ALTO`. Raises ValueError("must be …")."""
    found: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        language, colon, words = part.partition(":")
        if colon and not _LANGUAGE.fullmatch(language.strip()):
            raise ValueError("must be words by language, like es:BAJA,ALTO;de:STOPP,ABMELDEN")
        found += [word.strip() for word in (words if colon else part).split(",")]
    for word in found:
        if not key_of(word) or len(word) > _LONGEST:
            raise ValueError(
                f"must be words by language, like es:BAJA,ALTO;de:STOPP: each of 1 to {_LONGEST} "
                "characters with a letter or digit in it"
            )
    if not found or len(found) > _WORDS_MOST:
        raise ValueError(f"must be 1 to {_WORDS_MOST} words")
    return tuple(found)
