"""What a Content template says: its types as the Content API shows them, its text once it is filled.

Source: Twilio's pages on content types; of several types a message takes the richest its channel knows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from broadcaster.simulator.config import SimulatorConfig, TemplateConfig

PLACEHOLDER: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
SESSION_ONLY: Final = ("twilio/location", "twilio/list-picker")
"""Types that WhatsApp takes inside the 24-hour window alone, and never approves."""
_TEXT: Final = "twilio/text"
_ON_SMS: Final = ("twilio/media", _TEXT)


def types_of(template: TemplateConfig) -> dict[str, dict[str, Any]]:
    """Return the template's types, those that `body` and `media` stand for where it names none."""
    if template.types:
        return template.types
    if template.media:
        return {"twilio/media": {"body": template.body, "media": list(template.media)}}
    return {_TEXT: {"body": template.body}}


def richest(template: TemplateConfig, *, whatsapp: bool) -> str:
    """Return the name of the type that a message of this channel is made of."""
    types = types_of(template)
    if whatsapp:
        return next((name for name in types if name != _TEXT), _TEXT)
    return next((name for name in _ON_SMS if name in types), next(iter(types)))


def placeholders(template: TemplateConfig) -> frozenset[str]:
    """Return the names of all placeholders, those in buttons and media URLs too."""
    return frozenset(PLACEHOLDER.findall(msgspec.json.encode(types_of(template)).decode()))


def rendered(
    sid: str, variables: str | None, config: SimulatorConfig, *, whatsapp: bool
) -> tuple[str, tuple[str, ...]]:
    """Return text and media URLs of a filled template.

    A placeholder without a value takes the template's default, else nothing.
    """
    template = config.templates[sid]
    values = template.variables | given(variables)
    content = types_of(template)[richest(template, whatsapp=whatsapp)]

    def filled(text: object) -> str:
        return PLACEHOLDER.sub(lambda found: values.get(found[1], ""), str(text))

    media = content.get("media") or ()
    body = content.get("body") or content.get("title") or content.get("label") or ""
    return filled(body), tuple(filled(url) for url in ([media] if isinstance(media, str) else media))


def given(variables: str | None) -> dict[str, str]:
    """Return `ContentVariables`, which was checked before."""
    return msgspec.json.decode(variables, type=dict[str, str]) if variables else {}
