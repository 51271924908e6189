"""Reading a form body: `application/x-www-form-urlencoded`, repeated names kept where Twilio has lists."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

REPEATED: Final = frozenset({"MediaUrl", "PersistentAction"})


class Form:
    """A decoded body: the last value of each name, all media URLs, all persistent actions."""

    __slots__ = ("actions", "fields", "media")

    def __init__(self, fields: dict[str, str], media: list[str], actions: list[str] | None = None) -> None:
        self.fields = fields
        self.media = media
        self.actions = actions or []


def parse_form(raw: bytes) -> Form:
    """Decode a body; pairs without `=` are names with an empty value."""
    fields: dict[str, str] = {}
    media: list[str] = []
    actions: list[str] = []
    for pair in raw.decode("utf-8", "replace").split("&"):
        name, _, value = pair.partition("=")
        if "+" in value or "%" in value:
            value = _unquote(value)
        if "%" in name or "+" in name:
            name = _unquote(name)
        if name in REPEATED:
            (media if name == "MediaUrl" else actions).append(value)
        elif name:
            fields[name] = value
    return Form(fields, media, actions)


def _unquote(value: str) -> str:
    """Decode a value; the two common cases, a number and a text without escapes, without a parser."""
    if "%" not in value:
        return value.replace("+", " ")
    if value.startswith("%2B") and "%" not in value[3:] and "+" not in value:
        return "+" + value[3:]
    return unquote_to_bytes(value.replace("+", " ")).decode("utf-8", "replace")


def as_number(text: str) -> str:
    """Return the number with the plus sign that an unencoded query turned into a space."""
    return "+" + text[1:] if text.startswith(" ") else text
