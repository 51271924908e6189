"""What a message says: text with `{{ variables }}`, media, or a Content template.

A variable is a column of the list. One that is missing or blank where the text needs it is a fault of
that row, never "Hi ,". Text may say itself what to do instead: `{{ nick or "friend" }}`,
`{{ nick | default("friend") }}`, `{% if nick %}…{% endif %}`.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from broadcaster.domain.addresses import Channel
from broadcaster.domain.segments import segments
from broadcaster.domain.templates import ContentError, RenderError, Text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

__all__ = [
    "MAX_BODY_CHARACTERS",
    "Content",
    "ContentError",
    "RenderError",
    "Rendered",
    "Renderer",
    "compile_content",
]

#: Twilio refuses more with 21617.
MAX_BODY_CHARACTERS: Final = 1600
_encode_json: Final = msgspec.json.Encoder().encode


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a broadcast says.

    `body` and the values of `content_variables` (keys: the template's placeholders) are Jinja text over
    the list's columns. `options` are further Create Message parameters by Twilio's name.
    """

    body: str | None = None
    media_urls: tuple[str, ...] = ()
    content_sid: str | None = None
    content_variables: dict[str, str] = {}
    options: dict[str, str] = {}


class Rendered(msgspec.Struct, frozen=True, gc=False):
    """One recipient's text; `content_variables` is the JSON object that Twilio wants as a string."""

    body: str | None
    content_variables: str | None


def compile_content(content: Content) -> Renderer:
    """Return what renders `content`. Raises ContentError, with line and column for a syntax error."""
    return Renderer(content)


class Renderer:
    """Compiled content. `variables` are the columns it uses; none means that everybody gets the same."""

    __slots__ = ("_body", "_constant", "_parts", "_render", "_single", "variables")

    def __init__(self, content: Content) -> None:
        if content.body is None and not content.media_urls and content.content_sid is None:
            raise ContentError("nothing to send: give a body, a media URL or a content template (HX…)")
        if content.body is not None and not content.body.strip():
            raise ContentError("the body is empty")
        if content.content_variables and content.content_sid is None:
            raise ContentError(
                "content variables belong to a content template: give its content sid (HX…) too"
            )
        self._body = None if content.body is None else Text(content.body, "body")
        self._parts = {
            key: Text(text, f"content variable {key}") for key, text in content.content_variables.items()
        }
        texts = [*([self._body] if self._body else []), *self._parts.values()]
        self.variables: frozenset[str] = frozenset(name for text in texts for name in text.variables)
        # An MMS, a WhatsApp message and a template are one message each, whatever their text's length.
        self._single = bool(content.media_urls or content.content_sid) or _is_true(
            content.options.get("SendAsMms")
        )
        self._render = self._assemble(lambda text: text.over_mapping())
        self._constant: Rendered | None = None
        if not self.variables:
            try:
                self._constant = self._render({})
            except RenderError as error:
                raise ContentError(str(error)) from None

    def check_columns(self, columns: Collection[str]) -> None:
        """Raise ContentError naming the variables that are no columns, and the columns that there are."""
        absent = sorted(self.variables.difference(columns))
        if not absent:
            return
        near = difflib.get_close_matches(absent[0], list(columns), n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        there = ", ".join(columns) or "none"
        raise ContentError(f"no such column: {', '.join(absent)}{hint}; the list has: {there}")

    def render(self, variables: Mapping[str, str]) -> Rendered:
        """Return one recipient's text. Raises RenderError where a variable it needs is missing or blank."""
        return self._constant or self._render(variables)

    def over_rows(self, columns: Sequence[str]) -> Callable[[Sequence[str]], Rendered]:
        """Return `render` for values in the order of `columns`, which spares a mapping per row."""
        constant = self._constant
        if constant is not None:
            return lambda _: constant
        return self._assemble(lambda text: text.over_rows(columns))

    def cost(self, rendered: Rendered, channel: Channel = Channel.SMS) -> int:
        """Return the segments that sending it takes, at least 1."""
        if self._single or rendered.body is None or channel is Channel.WHATSAPP:
            return 1
        return segments(rendered.body)

    def _assemble(self, bind: Callable[[Text], Callable[[Any], str]]) -> Callable[[Any], Rendered]:
        if not self._parts:
            return _render_nothing if self._body is None else _body_renderer(bind(self._body))
        body = None if self._body is None else bind(self._body)
        parts = {key: bind(text) for key, text in self._parts.items()}

        def render(row: Any) -> Rendered:
            text = None if body is None else _within_limit(body(row))
            return Rendered(text, _encode_json({key: part(row) for key, part in parts.items()}).decode())

        return render


def _render_nothing(_: Any) -> Rendered:
    return Rendered(None, None)


def _body_renderer(body: Callable[[Any], str]) -> Callable[[Any], Rendered]:
    def render(row: Any) -> Rendered:
        text = body(row)
        if len(text) > MAX_BODY_CHARACTERS:
            _within_limit(text)
        return Rendered(text, None)

    return render


def _within_limit(text: str) -> str:
    if len(text) > MAX_BODY_CHARACTERS:
        raise RenderError(
            None, f"the body has {len(text):,} characters, Twilio takes {MAX_BODY_CHARACTERS:,}: shorten it"
        )
    return text


def _is_true(option: str | None) -> bool:
    return option is not None and option.strip().lower() == "true"
