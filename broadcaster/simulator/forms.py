"""Reading a form body: `application/x-www-form-urlencoded`, repeated names kept where Twilio has lists."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_plus

REPEATED: Final = frozenset({"MediaUrl", "PersistentAction"})


class Form:
    """A decoded body: the last value of each name, and all media URLs."""

    __slots__ = ("fields", "media")

    def __init__(self, fields: dict[str, str], media: list[str]) -> None:
        self.fields = fields
        self.media = media


def parse_form(raw: bytes) -> Form:
    """Decode a body; pairs without `=` are names with an empty value."""
    fields: dict[str, str] = {}
    media: list[str] = []
    for pair in raw.decode("utf-8", "replace").split("&"):
        name, _, value = pair.partition("=")
        if "%" in value or "+" in value:
            value = unquote_plus(value)
        if "%" in name or "+" in name:
            name = unquote_plus(name)
        if name in REPEATED:
            if name == "MediaUrl":
                media.append(value)
        elif name:
            fields[name] = value
    return Form(fields, media)
