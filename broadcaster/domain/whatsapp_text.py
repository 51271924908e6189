"""How WhatsApp shows a text: *bold*, _italic_, ~struck through~, ```code``` and `code`.

The marks travel as they are; phones draw them (WhatsApp's help pages, "How to format your messages"). A mark
counts where a word begins or ends, around something that neither begins nor ends with white space; it does
not reach over a line end, but for ```; one may stand in another, but none in code.
"""

from __future__ import annotations

import enum
import html
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Style(enum.StrEnum):
    """How a piece of text is drawn; the value is HTML's element for it."""

    BOLD = "b"
    ITALIC = "i"
    STRIKE = "s"
    CODE = "code"


class Span(NamedTuple):
    """A piece of text that is drawn in one way: its styles from the outermost in."""

    text: str
    styles: tuple[Style, ...] = ()


_MARKS: Final = {"*": Style.BOLD, "_": Style.ITALIC, "~": Style.STRIKE}
#: Code is found first: what is in it is no mark. ``` may hold lines, ` may not.
_CODE: Final = re.compile(
    r"(?<![^\W_])(?<!`)(?:```(?=[^`])(?=\S|\n)(.+?)(?<=\S|\n)```|`(?=[^\s`])([^`\n]*?)(?<=\S)`)(?![^\W_]|`)",
    re.DOTALL,
)


def spans_of(text: str) -> list[Span]:
    """Return what WhatsApp shows of a text, in its order, without the marks that it draws."""
    return list(_joined(_Reader(text).read(0, len(text), ())))


def as_html(text: str, *, formatted: bool = True) -> str:
    """Return a text as HTML (escaped, line ends kept), with what WhatsApp draws if it is `formatted`."""
    if not formatted:
        return html.escape(text)
    parts = []
    for span in spans_of(text):
        opened = "".join(f"<{style}>" for style in span.styles)
        closed = "".join(f"</{style}>" for style in reversed(span.styles))
        parts.append(f"{opened}{html.escape(span.text)}{closed}")
    return "".join(parts)


class _Reader:
    """Reads a text from left to right; `read` is asked again for what stands between two marks."""

    def __init__(self, text: str) -> None:
        self._text = text
        #: By mark and end: how far it is known that nothing closes it.
        self._open: dict[tuple[str, int], int] = {}
        self._code = {match.start(): match for match in _CODE.finditer(text)}

    def read(self, at: int, end: int, styles: tuple[Style, ...]) -> Iterator[Span]:
        """Yield the pieces from `at` to `end`, all of them in `styles`."""
        plain = at
        while at < end:
            if (code := self._code.get(at)) is not None and code.end() <= end:
                yield Span(self._text[plain:at], styles)
                yield Span(code[1] or code[2], (*styles, Style.CODE))
                at = plain = code.end()
                continue
            style = _MARKS.get(self._text[at])
            close = None if style is None or style in styles else self._close(at, end)
            if style is not None and close is not None:
                yield Span(self._text[plain:at], styles)
                yield from self.read(at + 1, close, (*styles, style))
                at = plain = close + 1
                continue
            at += 1
        yield Span(self._text[plain:end], styles)

    def _close(self, at: int, end: int) -> int | None:
        """Return where the mark at `at` is closed; None where it opens nothing."""
        text, mark = self._text, self._text[at]
        if (at and text[at - 1].isalnum()) or at + 1 >= end or text[at + 1].isspace() or text[at + 1] == mark:
            return None
        if at < self._open.get((mark, end), -1):
            return None
        place = at + 1
        while place < end and text[place] != "\n":
            if (code := self._code.get(place)) is not None and "\n" not in code[0]:
                place = code.end()
                continue
            ends_word = not text[place - 1].isspace() and not text[place + 1 : place + 2].isalnum()
            if text[place] == mark and place > at + 1 and ends_word:
                return place
            place += 1
        self._open[mark, end] = place
        return None


def _joined(spans: Iterator[Span]) -> Iterator[Span]:
    """Leave out what is empty, and join neighbours of one style."""
    held = Span("")
    for span in spans:
        if not span.text:
            continue
        if span.styles == held.styles:
            held = Span(held.text + span.text, held.styles)
            continue
        if held.text:
            yield held
        held = span
    if held.text:
        yield held
