"""Secrets that the process knows: hidden in a text however they are written there.

As they are, percent-encoded, as Python or JSON escape them, in any case, in base64 (alone or behind a user's
name, as HTTP's basic authentication has it), broken by spaces, line ends or characters that nobody sees.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Shorter ones would be found in words.
_SHORTEST: Final = 4
#: Looked for in other spellings of a text only from this length on: chance makes shorter ones.
_TELLING: Final = 8
#: What may stand inside a secret that a terminal, a mail program or a `repr` has broken.
BETWEEN: Final = re.compile(
    r"(?:\\[nrt]|[\s\"'+,\\\u00ad\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff])+"
)


class KnownSecrets:
    """Hides these texts. `longest` is the length of their longest spelling."""

    def __init__(self, secrets: Iterable[str]) -> None:
        usable = {text for text in secrets if len(text) >= _SHORTEST}
        plain = {spelling for text in usable for spelling in _spellings(text)}
        coded = {core for text in usable if len(text) >= _TELLING for core in _in_base64(text.encode())}
        self.longest = max(map(len, plain | coded), default=0)
        patterns = [re.escape(one) for one in sorted(plain, key=len, reverse=True)]
        patterns += [f"{re.escape(one)}[A-Za-z0-9+/=_-]*" for one in coded]
        self._plain = re.compile("|".join(patterns)) if patterns else None
        telling = [text for text in plain | coded if len(text) >= _TELLING]
        self._squeezed = {BETWEEN.sub("", text) for text in telling}
        self._folded = {text.casefold() for text in self._squeezed}
        self._shortest = min(map(len, self._squeezed), default=0)

    def hide(self, text: str, hidden: str) -> str:
        """Return `text` without them; the whole of it is hidden where one stands in it in pieces."""
        if self._plain is None:
            return text
        text = self._plain.sub(hidden, text)
        if self._shortest and len(text) >= self._shortest:
            for view in _views(text):
                folded = view.casefold()
                if any(one in view for one in self._squeezed) or any(one in folded for one in self._folded):
                    return hidden
        return text


def _views(text: str) -> Iterator[str]:
    """Yield what a text says when it is read otherwise, each without what may stand between."""
    yield BETWEEN.sub("", text)
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    decoded = unescaped(plain)
    if decoded is not text:
        yield BETWEEN.sub("", decoded)


def unescaped(text: str) -> str:
    r"""Return `text` with `%41`, `%2541`, `\u0041` and `\x41` as the characters that they mean."""
    for _ in range(2):
        if "%" in text:
            text = unquote(text)
    if "\\u00" in text or "\\x" in text:
        text = re.sub(r"\\+(?:u00|x)([2-7][0-9a-fA-F])", lambda m: chr(int(m[1], 16)), text)
    return text


def _spellings(secret: str) -> set[str]:
    return {secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}


def _in_base64(secret: bytes) -> set[str]:
    """Return the characters that a secret makes wherever it stands, without those its neighbours share in."""
    found = set()
    for before in range(3):
        whole = base64.b64encode(bytes(before) + secret).decode().rstrip("=")
        end = len(whole) - (1 if (before + len(secret)) % 3 else 0)
        core = whole[(0, 2, 3)[before] : end]
        found |= {core, core.translate(str.maketrans("+/", "-_"))}
    return found
