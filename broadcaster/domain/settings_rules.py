"""What one setting's text must be: a rule returns the text to keep, or raises `ValueError("must be …")`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from broadcaster.domain.resending import parse_codes
from broadcaster.domain.send_window import parse_window
from broadcaster.domain.sentinel_url import parse as parse_sentinel_url
from broadcaster.domain.sentinel_url import under_sentinel
from broadcaster.domain.spelling import key_of, parse_words
from broadcaster.domain.times import TimeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_E164: Final = re.compile(r"\+[1-9]\d{6,14}")
_SHORT_CODE: Final = re.compile(r"\d{3,8}")
_SENDER_ID: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 &+_-]{1,11}")
_WHATSAPP: Final = "whatsapp:"
_SHORTEST_KEY: Final = 16
#: Twilio's longest body (DOC:messaging/api/message-resource).
_LONGEST_TEXT: Final = 1600
_MUST: Final = {"int": "a whole number", "float": "a number", "bool": "true or false"}
_LIMITS: Final = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


def sid(start: str) -> Callable[[str], str]:
    """Make the rule for one kind of Twilio identifier: its two letters and 32 hexadecimal digits."""

    def rule(value: str) -> str:
        if not re.fullmatch(start + "[0-9a-fA-F]{32}", value):
            raise ValueError(f"must be {start} and 32 hexadecimal digits, as the Twilio console shows it")
        return value

    return rule


def pattern(expression: str, what: str) -> Callable[[str], str]:
    """Make a rule out of a regular expression for the whole text and the words for it."""

    def rule(value: str) -> str:
        if not re.fullmatch(expression, value):
            raise ValueError(f"must be {what}")
        return value

    return rule


def sms_from(value: str) -> str:
    """Take a number (spaces and punctuation are dropped), a short code or an alphanumeric sender ID."""
    if value.startswith(_WHATSAPP):
        raise ValueError("must be an SMS sender: give a whatsapp: sender as TWILIO_WHATSAPP_FROM")
    number = _bare(value)
    if not any(kind.fullmatch(number) for kind in (_E164, _SHORT_CODE, _SENDER_ID)):
        raise ValueError("must be a number like +14155550100, a short code, or a sender ID of 11 characters")
    return number


def whatsapp_from(value: str) -> str:
    """Take `whatsapp:+…`; the prefix is added to a bare number."""
    number = _bare(value.removeprefix(_WHATSAPP))
    if not _E164.fullmatch(number):
        raise ValueError("must be a WhatsApp sender like whatsapp:+14155550100")
    return _WHATSAPP + number


def _bare(number: str) -> str:
    return re.sub(r"[ ().-]", "", number) if number.startswith("+") else number


def url(*schemes: str) -> Callable[[str], str]:
    """Make the rule for a URL of one of these schemes with a host (`unix`: with a path)."""

    def rule(value: str) -> str:
        try:
            parts = urlsplit(value)
            _ = parts.port
            usable = parts.scheme in schemes and bool(
                parts.path if parts.scheme == "unix" else parts.hostname
            )
        except ValueError:
            usable = False
        if not usable:
            raise ValueError(
                "must be a URL with a host, starting with " + ", ".join(f"{s}://" for s in schemes)
            )
        return value.rstrip("/")

    return rule


def public_url(value: str) -> str:
    """Take the address below which others call us: its scheme and host in small letters, as Twilio signs it.

    Paths are added to it, so a query or a fragment would swallow them.
    """
    usable = url("https", "http")(value)
    if "?" in usable or "#" in usable or any(c.isspace() for c in usable):
        raise ValueError(
            "must be an address without ?, # and spaces, like https://sms.example.com: paths follow"
        )
    parts = urlsplit(usable)
    user, at, host = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{user}{at}{host.lower()}{parts.path}"


def redis_url(value: str) -> str:
    """Take a Redis server's URL, or that of a primary under Sentinel."""
    if not under_sentinel(value):
        return url("redis", "rediss", "unix")(value)
    parse_sentinel_url(value)
    return value


def signing_keys(value: str) -> str:
    """Take one key, or `NEW,OLD` while it is being changed."""
    keys = value.split(",")
    if len(keys) > 2 or any(len(key.strip()) < _SHORTEST_KEY for key in keys):  # noqa: PLR2004 - new and old
        raise ValueError(
            f"must be one key, or NEW,OLD, each of at least {_SHORTEST_KEY} characters "
            '(python3 -c "import secrets; print(secrets.token_urlsafe(32))" makes one)'
        )
    return value


def lasting_key(value: str) -> str:
    """Take one key that never changes."""
    if len(value) < _SHORTEST_KEY:
        raise ValueError(f"must have at least {_SHORTEST_KEY} characters")
    return value


def send_window(value: str) -> str:
    """Take hours and their zone: `09:00-20:00 America/Lima`."""
    try:
        return str(parse_window(value))
    except TimeError as error:
        raise ValueError(f"can't be used: {error}") from None


def resend_codes(value: str) -> str:
    """Take delivery codes that may be sent again by themselves, `30001,30003`."""
    return ",".join(str(code) for code in parse_codes(value))


def reply_words(value: str) -> str:
    """Take words by language, `es:BAJA,ALTO;de:STOPP`."""
    parse_words(value)
    return value


def reply_text(value: str) -> str:
    """Take what fits into one message."""
    if not value.strip() or len(value) > _LONGEST_TEXT:
        raise ValueError(f"must be a text of at most {_LONGEST_TEXT:,} characters")
    return value


def words_apart(stop: str | None, start: str | None, helping: str | None) -> None:
    """Raise ValueError where a word would mean two things."""
    seen: dict[str, str] = {}
    for name, value in (("STOP", stop), ("START", start), ("HELP", helping)):
        for word in parse_words(value) if value else ():
            if seen.setdefault(key_of(word), name) != name:
                other = seen[key_of(word)]
                raise ValueError(
                    f"{word!r} stands in BROADCASTER_{other}_WORDS and BROADCASTER_{name}_WORDS: keep one"
                )


def explain(kind: str, context: Mapping[str, object], message: str) -> str:
    """Turn pydantic's error type, its context and its message into "must be …"."""
    bounds = [f"{words} {context[key]:g}" for key, words in _LIMITS.items() if key in context]
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return "must be one of " + str(context["expected"]).replace("'", "").replace(" or ", ", ")
    if bounds:
        return f"must be {bounds[0]}"
    must = _MUST.get(kind.partition("_")[0])
    return f"must be {must}" if must else f"cannot be used: {message}"
