"""A message's text as its recipient will see it: on a terminal WhatsApp's marks are drawn."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import click

from broadcaster.cli.output import harmless
from broadcaster.domain.whatsapp_text import Style, spans_of

_DRAWN: Final[dict[Style, dict[str, Any]]] = {
    Style.BOLD: {"bold": True},
    Style.ITALIC: {"italic": True},
    Style.STRIKE: {"strikethrough": True},
    Style.CODE: {"fg": "cyan"},
}


def shown_text(text: str, to: str, *, err: bool = False) -> str:
    """Return a text for a screen: standard output, or with `err` standard error.

    Without a terminal that draws (or where NO_COLOR asks not to) it is as it is sent.
    """
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty():
        return text
    draws = not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in (None, "dumb")
    if not draws or not to.startswith("whatsapp:"):
        return harmless(text)
    return "".join(_drawn(span.text, span.styles) for span in spans_of(text))


def _drawn(text: str, styles: tuple[Style, ...]) -> str:
    how = {name: value for style in styles for name, value in _DRAWN[style].items()}
    return click.style(harmless(text), **how) if how else harmless(text)
