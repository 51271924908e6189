"""What a log line may show: no number whole, no secret, no text of a message.

Works on values, not on call sites, so that what a library logs or an exception carries is covered too.
It errs towards hiding: a lone run of ten digits is taken for a number wherever it stands.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HIDDEN: Final = "•••"
#: Values under these keys are left out altogether, spelled in any case and with any punctuation.
_DROPPED: Final = (
    *("body", "variables", "mediaurl", "mediaurls", "rendered", "payload"),
    *("token", "secret", "password", "passwd", "authorization", "auth", "apikey", "secretkey"),
    *("credentials", "cookie", "signature"),
)
#: Longer texts are cut: an exception may carry a whole answer.
_LONGEST: Final = 16_384
#: Integers this size are numbers or times; times and sizes have a unit at the end of their name.
_NUMBER_SIZES: Final = range(10**9, 10**15)
_UNITS: Final = (
    "_at",
    "_ms",
    "_us",
    "_ns",
    "_seconds",
    "_bytes",
    "_total",
    "_count",
    "_epoch",
    "_id",
    "timestamp",
)
#: Names that we make ourselves; a host called ip-10-0-12-200 has as many digits as a number.
_NAMES: Final = frozenset({"worker", "host", "broadcast", "batch", "instance"})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_GAP: Final = r"[\s().\-/\u2010-\u2015\u2212\u200b-\u200f\u202a-\u202e\u2060\xad\ufeff]"

_KEYED: Final = re.compile(
    r"""(?ix) (?<![a-z]) (?P<key> (?:[a-z]{1,20}[_-]){0,4} (?:"""
    + "|".join(name for name in _DROPPED if name not in {"payload", "rendered", "signature"})
    + r"""|content_?variables|api_key|media_?urls?) \\? ["']? \s* [:=] \s* )
    (?P<value> (?:basic|bearer)\s+\S+ | \\"(?:(?!\\").)*(?:\\")? | "(?:\\.|[^"\\])*"? | '(?:\\.|[^'\\])*'?
      | \{[^}]*\}? | \[[^]]*\]? | [^&\s,;}]+ )"""
)
#: Event names, states, levels: no digit and nothing that could be a key with a value.
_HARMLESS: Final = re.compile(r"[A-Za-z_.]*")
_SCHEME: Final = re.compile(r"(?i)\b(basic|bearer)\s+[A-Za-z0-9._~+/=-]{6,}")
_USER_INFO: Final = re.compile(r"(?<=://)[^/@\s]*@")
_KEYS: Final = re.compile(r"\b(?:bc|whsec|sk|pk)_[A-Za-z0-9_+/=-]{12,}")
_KEPT_OR_HIDDEN: Final = re.compile(
    r"""(?x)
    (?P<kept> \b[A-Z]{2}[0-9a-f]{32}\b
      | \b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b
      | \b\d{4}-\d\d-\d\d(?:[T\x20]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?
      | (?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])
      | (?<![\w.])\d+\.\d+(?![\w.]) )
    | (?P<token> \b[0-9a-f]{32}\b )
    | (?P<number> (?:\+|\uff0b|%2[Bb]) """
    + _GAP
    + r"""{0,2} \d (?:"""
    + _GAP
    + r"""{0,3}\d){4,}
      | \d (?:"""
    + _GAP
    + r"""{0,2}\d){9,} )"""
)


class Masking:
    """The masking of one process; `secrets` are texts that it knows and that must never appear."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings = {spelling for text in secrets if len(text) > 3 for spelling in _spellings(text)}  # noqa: PLR2004
        ordered = sorted(spellings, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str) -> str:
        """Return `text` with secrets, message texts and the middle of every number hidden."""
        if self._secrets is not None:
            text = self._secrets.sub(HIDDEN, text)
        if len(text) > _LONGEST:
            text = f"{text[:_LONGEST]}… ({len(text)} characters)"
        if _HARMLESS.fullmatch(text):
            return text
        text = _KEYED.sub(rf"\g<key>{HIDDEN}", text)
        text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
        text = _USER_INFO.sub(f"{HIDDEN}@", text)
        return _KEPT_OR_HIDDEN.sub(_hidden, _KEYS.sub(HIDDEN, text))

    def value(self, value: Any, key: str = "") -> Any:
        """Return what may be logged of `value`; what is no plain value or container becomes a masked repr."""
        if isinstance(value, dict):
            return self.mapping(value)
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item, key) for item in value]
        if isinstance(value, bytes | bytearray | memoryview):
            return f"<{len(value)} bytes>"
        if isinstance(value, int) and abs(value) in _NUMBER_SIZES and not key.endswith(_UNITS):
            return _short(str(value))
        if value is None or isinstance(value, int | float) or (key in _NAMES and _NAME.fullmatch(str(value))):
            return value
        return self.text(str(value) if isinstance(value, str) else repr(value))

    def mapping(self, mapping: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return `mapping` without what must not be logged; keys are masked too (counts by number)."""
        return {
            self.value(key): self.value(value, str(key).lower())
            for key, value in mapping.items()
            if not is_dropped(str(key))
        }


def is_dropped(key: str) -> bool:
    """Tell whether a key names something that is never logged: `body`, `X-Twilio-Signature`, `authToken`."""
    return re.sub(r"[^a-z]", "", key.lower()).endswith(tuple(_DROPPED))


def _spellings(secret: str) -> set[str]:
    return {secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}


def _hidden(match: re.Match[str]) -> str:
    if match["kept"]:
        return match["kept"]
    return HIDDEN if match["token"] else _short(match["number"])


def _short(number: str) -> str:
    """Keep four digits at each end of a long number, two of a short one: `+1415•••0100`."""
    digits = "".join(character for character in number if character.isdigit())
    kept = 4 if len(digits) >= 10 else min(2, len(digits) // 3)  # noqa: PLR2004 - shortest with country code
    plus = "" if number[0].isdigit() or number[0] == "-" else "+"
    return f"{plus}{digits[:kept]}{HIDDEN}{digits[-kept:]}"
