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
from broadcaster.domain.segments import segments, segments_of
from broadcaster.domain.speech import Speech
from broadcaster.domain.template_values import first_fault
from broadcaster.domain.templates import ContentError, RenderError, Text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from broadcaster.domain.templates import RenderColumns

__all__ = [
    "MAX_BODY_CHARACTERS",
    "Content",
    "ContentError",
    "RenderError",
    "Rendered",
    "Renderer",
    "SmsFallback",
    "Template",
    "compile_content",
]

#: Twilio refuses more with 21617.
MAX_BODY_CHARACTERS: Final = 1600
_encode_json: Final = msgspec.json.Encoder().encode


class Template(msgspec.Struct, frozen=True):
    """A Content template (HX…) with its variables, which are Jinja text over the list's columns."""

    sid: str
    variables: dict[str, str] = {}


class SmsFallback(msgspec.Struct, frozen=True):
    """The SMS for whom WhatsApp can't reach: who sends it, and its text (None: the broadcast's own)."""

    sender: str
    body: str | None = None


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a broadcast says.

    `body` and the values of `content_variables` (keys: the template's placeholders) are Jinja text over
    the list's columns. `options` are further Create Message parameters by Twilio's name; one that may be
    repeated has each on a line of its own (`create_message.option_pairs`). `languages` are
    templates by language, of which each recipient gets the one that `language_column` names; `content_sid`
    is for all others. `fallback` goes in place of free text where WhatsApp's 24-hour window is closed.
    """

    body: str | None = None
    media_urls: tuple[str, ...] = ()
    content_sid: str | None = None
    content_variables: dict[str, str] = {}
    options: dict[str, str] = {}
    languages: dict[str, str] = {}
    language_column: str | None = None
    fallback: Template | None = None
    sms: SmsFallback | None = None

    @property
    def whatsapp_only(self) -> bool:
        """Whether only WhatsApp can show it: it is a place."""
        return "PersistentAction" in self.options

    @property
    def is_template(self) -> bool:
        """Whether it is a template, which WhatsApp takes at any time, and no free text."""
        return bool(self.content_sid or self.languages)


class Rendered(msgspec.Struct, frozen=True, gc=False):
    """One recipient's text; `content_variables` is the JSON object that Twilio wants as a string.

    `content_sid` is the template in the recipient's language, None where the content names no languages.
    """

    body: str | None
    content_variables: str | None
    content_sid: str | None = None


def compile_content(content: Content) -> Renderer:
    """Return what renders `content`. Raises ContentError, with line and column for a syntax error."""
    return Renderer(content)


class Renderer:
    """Compiled content. `variables` are the columns it uses; none means that everybody gets the same.

    `fallback` renders the template that stands in for free text, `sms` the SMS for whom WhatsApp can't reach;
    `variables` are theirs, too.
    """

    __slots__ = (
        "_body",
        "_constant",
        "_parts",
        "_render",
        "_single",
        "_speech",
        "fallback",
        "sms",
        "variables",
        "whatsapp_only",
    )

    def __init__(self, content: Content) -> None:
        _check(content)
        self.whatsapp_only = content.whatsapp_only
        self._body = None if content.body is None else Text(content.body, "body")
        self._parts = {
            key: Text(text, f"content variable {key}") for key, text in content.content_variables.items()
        }
        self._speech = Speech(content) if content.language_column else None
        self.fallback, self.sms = _stand_ins(content)
        texts = [*([self._body] if self._body else []), *self._parts.values()]
        names = {name for text in texts for name in text.variables}
        names.update(*(other.variables for other in (self.fallback, self.sms) if other))
        if content.language_column:
            names.add(content.language_column)
        self.variables: frozenset[str] = frozenset(names)
        # An MMS, a WhatsApp message and a template are one message each, whatever their text's length.
        self._single = bool(content.media_urls or content.is_template) or _is_true(
            content.options.get("SendAsMms")
        )
        self._render = self._assemble(lambda text: text.over_mapping(), _by_name)
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
        return self._assemble(lambda text: text.over_rows(columns), lambda name: _by_place(columns, name))

    def over_columns(self, columns: Sequence[str]) -> RenderColumns | None:
        """Return what renders the bodies of many rows at once, None for contents of which it can't be had."""
        if self._body is None or self._parts or self._speech or self.fallback or self.sms:
            return None
        if (render := self._body.over_columns(columns)) is None:
            return None

        def within_limit(values: Sequence[Sequence[str]]) -> list[str] | None:
            texts = render(values)
            return texts if texts and max(map(len, texts)) <= MAX_BODY_CHARACTERS else None

        return within_limit

    def costs(self, texts: Sequence[str]) -> tuple[list[int], list[int]]:
        """Return the segments of SMS with these texts, and the places of those in UCS-2."""
        costs, others = segments_of(texts)
        return [1] * len(texts) if self._single else costs, others

    def cost(self, rendered: Rendered, channel: Channel = Channel.SMS) -> int:
        """Return the segments that sending it takes, at least 1."""
        if self._single or rendered.body is None or channel is Channel.WHATSAPP:
            return 1
        return segments(rendered.body)

    def check_values(self, rendered: Rendered, channel: Channel) -> None:
        """Raise RenderError where a variable's value may not be sent on this channel."""
        fault = first_fault(rendered.content_variables, whatsapp=channel is Channel.WHATSAPP)
        if fault is not None:
            columns = self._parts[fault.key].variables
            raise RenderError(columns[0] if len(columns) == 1 else None, fault.detail)

    def _assemble(
        self, bind: Callable[[Text], Callable[[Any], str]], column: Callable[[str], Callable[[Any], str]]
    ) -> Callable[[Any], Rendered]:
        if not self._parts and self._speech is None:
            return _render_nothing if self._body is None else _body_renderer(bind(self._body))
        body = None if self._body is None else bind(self._body)
        parts = {key: bind(text) for key, text in self._parts.items()}
        speech = None if self._speech is None else self._speech.over(column)

        def render(row: Any) -> Rendered:
            text = None if body is None else _within_limit(body(row))
            values = _encode_json({key: part(row) for key, part in parts.items()}).decode() if parts else None
            return Rendered(text, values, None if speech is None else speech(row))

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


def _by_name(name: str) -> Callable[[Mapping[str, str]], str]:
    return lambda variables: variables.get(name) or ""


def _by_place(columns: Sequence[str], name: str) -> Callable[[Sequence[str]], str]:
    if name not in columns:
        return lambda _: ""
    place = len(columns) - 1 - columns[::-1].index(name)
    return lambda row: row[place]


def _check(content: Content) -> None:
    """Raise ContentError for what fits nobody."""
    if content.body is None and not content.media_urls and not content.is_template:
        raise ContentError("nothing to send: give a body, a media URL or a content template (HX…)")
    if content.body is not None and not content.body.strip():
        raise ContentError("the body is empty")
    if content.content_variables and not content.is_template:
        raise ContentError("content variables belong to a content template: give its content sid (HX…) too")
    for key, text in content.content_variables.items():
        if not text.strip():  # Twilio refuses it (21656)
            raise ContentError(
                f"content variable {key} is empty: give it a value, or leave it out to take the default"
            )
    if bool(content.languages) != bool(content.language_column):
        raise ContentError(
            "templates by language need the column that says each recipient's language, and it needs them: "
            "give --content-sid de=HX… and --language-column COLUMN"
        )
    if content.fallback and content.is_template:
        raise ContentError("a fallback template stands in for free text; this is a template already")


def _stand_ins(content: Content) -> tuple[Renderer | None, Renderer | None]:
    """Return what renders the fallback template and the SMS."""
    template, sms = content.fallback, content.sms
    fallback = (
        None
        if template is None
        else _named("fallback", Content(content_sid=template.sid, content_variables=template.variables))
    )
    if sms is None:
        return fallback, None
    text = sms.body if sms.body is not None else content.body
    if text is None:
        raise ContentError("a fallback SMS needs a text of its own: this content has no body")
    return fallback, _named("SMS fallback", Content(body=text))


def _named(what: str, content: Content) -> Renderer:
    try:
        return Renderer(content)
    except ContentError as error:
        raise ContentError(f"{what}: {error}") from None
