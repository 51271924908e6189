"""What looks like a number, a token, or a key with its value, inside a text. Every search is linear in it.

It errs towards hiding: a lone run of ten digits is taken for a number wherever it stands.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Final

from broadcaster.telemetry.known_secrets import unescaped

HIDDEN: Final = "•••"
#: Values under these keys are left out altogether, spelled in any case and with any punctuation.
_TEXTS: Final = ("body", "variables", "mediaurl", "mediaurls", "rendered", "payload")
_DROPPED: Final = (
    *_TEXTS,
    *("token", "secret", "password", "passwd", "authorization", "auth", "apikey", "secretkey"),
    *("credentials", "cookie", "signature"),
)
#: Digits' neighbours: a number is written with at most three of these between two digits.
_GAP: Final = (
    r"(?:[\s().\-/_|*~\u00b7\u2022\u2010-\u2015\u2212\u200b-\u200f\u202a-\u202e\u2060-\u2064\xad\u180e"
    r"\ufeff\ufe0f\u20e3]{0,3}|,)"
)

_KEY: Final = re.compile(r"(?<![A-Za-z0-9_-])([A-Za-z0-9_-]++)(\\*[\"']?\]?\s{0,8}(?:=>?|:)\s{0,8})")
_QUOTED: Final = re.compile(r"[A-Za-z]{0,2}(\\*)([\"'])")
_BRACKET: Final = re.compile(r"[A-Za-z0-9_.]{0,80}[({\[]")
_TO_LINE_END: Final = re.compile(r"[^&\r\n]*")
_WORD: Final = re.compile(r"(?i:(?:basic|bearer|digest)\s+)?[^&\s,;}]*")
_NEXT: Final = re.compile(r"[\"'()\[\]{}\\]")
_SCHEME: Final = re.compile(
    r"(?i)\b(basic|bearer)\s+(?:[a-z0-9._~+/=-]{60,}(?:(?:\\[rn]|\s){1,4}[a-z0-9+/=]+)*|[a-z0-9._~+/=-]{6,})"
)
_USER_INFO: Final = re.compile(r"(?<=://)[^@\s\"'<>]{0,300}@")
_KEYS: Final = re.compile(r"\b(?:(?:bc|whsec|sk|pk)_[A-Za-z0-9_+/=-]{12,}|eyJ[\w-]{6,}(?:\.[\w=-]*){1,2})")
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_KEPT_OR_HIDDEN: Final = re.compile(
    rf"""(?x)
    (?P<kept> \b[A-Z]{{2}}[0-9a-f]{{32}}\b
      | \b[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}\b
      | (?<!\d)(?:19|20)\d\d-(?:0[1-9]|1[0-2])-[0-3]\d(?:[T\x20]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?![-.]?\d)
      | (?<![\d.]){_OCTET}(?:\.{_OCTET}){{3}}(?![\d.])
      | (?<![\d+])\+?\d{{1,4}}{HIDDEN}\d{{1,4}}(?!\d)
      | (?<![\w.+])(?:0\.\d+|\d{{1,3}}\.\d{{1,6}}|1\d{{9}}\.\d+)(?![\w.]) )
    | (?P<token> \b[0-9a-fA-F]{{32}}\b )
    | (?P<number> [+\uff0b\ufe62] {_GAP} \d (?:{_GAP}\d){{4,}} | \d (?:{_GAP}\d){{9,}} )"""
)
#: Digits that `\d` does not know: superscripts, circled and the like.
_OTHER_DIGITS: Final = {
    code: str(unicodedata.digit(chr(code)))
    for code in (*range(0xB2, 0xBA), *range(0x2070, 0x2090), *range(0x2460, 0x2800), *range(0x1F100, 0x1F10B))
    if unicodedata.digit(chr(code), None) is not None
}
_ESCAPED: Final = re.compile(r"%(?:[2-7][0-9a-fA-F])|\\+(?:u00|x)[2-7][0-9a-fA-F]")


def is_dropped(key: str) -> bool:
    """Tell whether a key names something that is never logged: `body`, `X-Twilio-Signature`, `authToken`."""
    return re.sub(r"[^a-z]", "", key.lower()).endswith(_DROPPED)


def without_secrets(text: str) -> str:
    """Return `text` with values of telling keys, credentials and the middle of every number hidden."""
    if _ESCAPED.search(text):
        text = unescaped(text)
    if "&#" in text:
        text = html.unescape(text)
    if not text.isascii():
        text = text.translate(_OTHER_DIGITS)
    text = _SCHEME.sub(rf"\1 {HIDDEN}", _without_values(text))
    text = _USER_INFO.sub(f"{HIDDEN}@", text).replace(HIDDEN + HIDDEN, HIDDEN)
    return _KEPT_OR_HIDDEN.sub(_hidden, _KEYS.sub(HIDDEN, text))


def shortened(number: str) -> str:
    """Keep four digits at each end of a long number, two of a short one: `+1415•••0100`."""
    digits = "".join(character for character in number if character.isdigit())
    kept = 4 if len(digits) >= 10 else min(2, len(digits) // 3)  # noqa: PLR2004 - shortest with country code
    plus = "" if number[0].isdigit() or number[0] == "-" else "+"
    return f"{plus}{digits[:kept]}{HIDDEN}{digits[-kept:]}"


def _hidden(match: re.Match[str]) -> str:
    if match["kept"]:
        return match["kept"]
    return HIDDEN if match["token"] else shortened(match["number"])


def _without_values(text: str) -> str:
    """Hide what stands behind a telling key: a quoted text, a bracket with all in it, a word, a line."""
    parts: list[str] = []
    done = 0
    found = _KEY.search(text)
    while found:
        if not is_dropped(found[1]):
            found = _KEY.search(text, found.end(1))
            continue
        end = _value_end(text, found.end(), found[1])
        parts += (text[done : found.end()], HIDDEN)
        done = end
        found = _KEY.search(text, max(end, found.end()))
    return "".join((*parts, text[done:])) if parts else text


def _value_end(text: str, start: int, key: str) -> int:
    if quoted := _QUOTED.match(text, start):
        return _quote_end(text, quoted.end(), quoted[2], len(quoted[1]))
    if bracket := _BRACKET.match(text, start):
        return _bracket_end(text, bracket.end())
    is_text = re.sub(r"[^a-z]", "", key.lower()).endswith(_TEXTS)
    rest = (_TO_LINE_END if is_text else _WORD).match(text, start)
    return rest.end() if rest else start


def _quote_end(text: str, start: int, mark: str, slashes: int) -> int:
    """Return where a quoted text ends; `slashes` stand before its marks (JSON inside of JSON)."""
    at = start
    while (at := text.find(mark, at)) >= 0:
        before = at - len(text[start:at].rstrip("\\")) - start if text[at - 1] == "\\" else 0
        if before == slashes or (not slashes and before % 2 == 0):
            return at + 1
        at += 1
    return len(text)


def _bracket_end(text: str, start: int) -> int:
    """Return where an open bracket is closed; brackets inside of quotes do not count."""
    depth, at = 1, start
    while found := _NEXT.search(text, at):
        at = found.end()
        mark = found[0]
        if mark == "\\":
            if text[at : at + 1] not in {'"', "'"}:
                at += 1
                continue
            mark, at = text[at], at + 1
            at = _quote_end(text, at, mark, 1)
        elif mark in "\"'":
            at = _quote_end(text, at, mark, 0)
        elif mark in "([{":
            depth += 1
        else:
            depth -= 1
            if not depth:
                return at
    return len(text)
