"""What single messages say, parted: the shape that many have in common, and the values of each.

The shape is a content whose texts are columns (`{{ body }}`, `{{ v_1 }}`), so that a worker puts values in
and never reads them as templates. Callers' own templates are rendered here, once for each recipient.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from broadcaster.domain.addresses import Channel
from broadcaster.domain.content import (
    MAX_BODY_CHARACTERS,
    Content,
    ContentError,
    RenderError,
    compile_content,
)
from broadcaster.domain.create_message import check_content
from broadcaster.domain.segments import segments
from broadcaster.domain.template_values import faults_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.domain.content import Renderer

_KEPT: Final = 1000
_MAX_SEGMENTS: Final = 255
#: A text without these is no template.
_TAGS: Final = ("{{", "{%", "{#")
#: Where each of Create Message's parameters is in a request; others are its `options`.
POINTERS: Final = {
    "Body": "/body",
    "MediaUrl": "/media_urls",
    "ContentSid": "/content_sid",
    "ContentVariables": "/content_variables",
    "From": "/from",
    "MessagingServiceSid": "/messaging_service_sid",
    "Fallback.ContentSid": "/fallback/content_sid",
    "Sms.From": "/sms_fallback/from",
}
_NO_TEXT: Final = "an SMS needs a text of its own: this message has none that it could have"


class RequestFault(NamedTuple):
    """One thing that is wrong with a request: where (a JSON pointer), what, and Twilio's code for it or 0."""

    pointer: str
    detail: str
    twilio_code: int = 0


class FaultError(Exception):
    """Something is wrong with one recipient's text; `fault` says what."""

    def __init__(self, fault: RequestFault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Shape:
    """What messages have in common. `name` tells shapes apart; `single`: one segment whatever it says."""

    name: str
    content: Content
    columns: tuple[str, ...]
    single: bool


class Shapes:
    """Shapes, and callers' templates compiled, kept awhile."""

    def __init__(self) -> None:
        self._shapes: OrderedDict[tuple[object, ...], Shape] = OrderedDict()
        self._renderers: OrderedDict[bytes, Renderer] = OrderedDict()
        self._sound: OrderedDict[tuple[str, str, str | None], list[RequestFault]] = OrderedDict()

    def shape(self, content: Content) -> Shape:
        """Return the shape of a content."""
        key = (
            content.body is None,
            content.media_urls,
            content.content_sid,
            tuple(content.content_variables),
            tuple(content.options.items()),
            content.fallback and (content.fallback.sid, tuple(content.fallback.variables)),
            content.sms and (content.sms.sender, content.sms.body is None),
        )
        known = self._shapes.get(key)
        if known is None:
            known = self._shapes[key] = _shape(content)
            _bound(self._shapes)
        return known

    def faults(self, shape: Shape, lane: str, service: str | None, now: float) -> list[RequestFault]:
        """Return what Twilio would refuse of every message of this shape from this lane."""
        key = (shape.name, lane, service)
        known = self._sound.get(key)
        if known is None or "SendAt" in shape.content.options:
            as_service = lane if lane.startswith("MG") else service
            sender = None if lane.startswith("MG") else lane
            found = check_content(shape.content, from_=sender, messaging_service_sid=as_service, now=now)
            known = [
                RequestFault(POINTERS.get(f.parameter, f"/options/{f.parameter}"), f.rule, f.twilio_code)
                for f in found
            ]
            if shape.content.sms and shape.content.sms.body is None and shape.content.body is None:
                known.append(RequestFault("/sms_fallback/body", _NO_TEXT))
            self._sound[key] = known
            _bound(self._sound)
        return known

    def values(self, content: Content, variables: Mapping[str, str], *, literal: bool) -> tuple[str, ...]:
        """Return one recipient's values in the order of the shape's columns.

        `literal` texts are no templates. Raises `FaultError`, and ContentError for a template that is none.
        """
        texts = tuple(text for _, text in _texts(content))
        if not literal and any(tag in text for text in texts for tag in _TAGS):
            texts = self._rendered(content, variables)
        for text in texts:
            if not text.strip():
                raise FaultError(_empty(content, texts))
        if content.body is not None:
            _check_length("/body", texts[0])
        if content.sms is not None and content.sms.body is not None:
            _check_length("/sms_fallback/body", texts[-1])
        return texts

    def _rendered(self, content: Content, variables: Mapping[str, str]) -> tuple[str, ...]:
        key = msgspec.msgpack.encode(
            (
                *(content.body, content.content_sid, content.content_variables),
                *(content.fallback, content.sms, bool(content.media_urls)),
            )
        )
        renderer = self._renderers.get(key)
        if renderer is None:
            renderer = self._renderers[key] = compile_content(content)
            _bound(self._renderers)
        try:
            rendered = renderer.render(variables)
            instead = renderer.fallback.render(variables) if renderer.fallback else None
            own_sms = content.sms is not None and content.sms.body is not None
            sms = renderer.sms.render(variables) if renderer.sms and own_sms else None
        except RenderError as error:
            where = f"/variables/{_escaped(error.variable)}" if error.variable else ""
            raise FaultError(RequestFault(where, str(error))) from None
        return (
            *(() if rendered.body is None else (rendered.body,)),
            *_in_order(rendered.content_variables),
            *(_in_order(instead.content_variables) if instead else ()),
            *((sms.body or "",) if sms else ()),
        )


def value_fault(content: Content, values: Sequence[str], channel: Channel) -> RequestFault | None:
    """Return the first variable of a template that may not be sent on this channel with its value."""
    place, whatsapp = 0 if content.body is None else 1, channel is Channel.WHATSAPP
    groups = [("", content.content_variables)]
    if content.fallback is not None and whatsapp:
        groups.append(("/fallback", content.fallback.variables))
    for where, variables in groups:
        given = dict(zip(sorted(variables), values[place:], strict=False))
        for fault in faults_in(given, whatsapp=whatsapp):
            pointer = f"{where}/content_variables/{_escaped(fault.key)}"
            return RequestFault(pointer, fault.detail, fault.code)
        place += len(variables)
    return None


def cost(shape: Shape, values: Sequence[str], channel: Channel) -> int:
    """Return the segments that one message takes, 1 to 255 (a record keeps them in a byte)."""
    if shape.single or channel is Channel.WHATSAPP or not values:
        return 1
    return min(_MAX_SEGMENTS, segments(values[0]))


def content_fault(error: ContentError) -> RequestFault:
    """Say where a content can't be read."""
    told = str(error)
    where = "/content_variables" if told.startswith("content variable") else "/body"
    return RequestFault(where, told)


def _shape(content: Content) -> Shape:
    fallback, sms = content.fallback, content.sms
    skeleton = msgspec.structs.replace(
        content,
        body=None if content.body is None else "{{ body }}",
        content_variables=_columns_for(content.content_variables, "v"),
        fallback=fallback
        and msgspec.structs.replace(fallback, variables=_columns_for(fallback.variables, "f")),
        sms=sms and msgspec.structs.replace(sms, body=None if sms.body is None else "{{ sms }}"),
    )
    columns = tuple(name for name, _ in _texts(content))
    one = content.options.get("SendAsMms", "").strip().lower() == "true"
    single = bool(content.media_urls or content.content_sid or one)
    name = msgspec.json.encode(skeleton, order="deterministic").decode()
    return Shape(name, skeleton, columns, single)


def _columns_for(variables: Mapping[str, str], letter: str) -> dict[str, str]:
    return {name: f"{{{{ {letter}_{number} }}}}" for number, name in enumerate(sorted(variables), 1)}


def _texts(content: Content) -> list[tuple[str, str]]:
    """Return each text of a content with the column that a shape has for it."""
    texts = [] if content.body is None else [("body", content.body)]
    named = [("v", content.content_variables)]
    if content.fallback is not None:
        named.append(("f", content.fallback.variables))
    for letter, variables in named:
        texts += [(f"{letter}_{n}", variables[name]) for n, name in enumerate(sorted(variables), 1)]
    if content.sms is not None and content.sms.body is not None:
        texts.append(("sms", content.sms.body))
    return texts


def _check_length(pointer: str, text: str) -> None:
    """Raise `FaultError` for a text that is longer than Twilio takes."""
    if len(text) > MAX_BODY_CHARACTERS:
        told = f"the body has {len(text):,} characters, Twilio takes {MAX_BODY_CHARACTERS:,}: shorten it"
        raise FaultError(RequestFault(pointer, told, 21617))


def _in_order(content_variables: str | None) -> tuple[str, ...]:
    """Return the values of a JSON object by their names."""
    parts: dict[str, str] = msgspec.json.decode(content_variables or "{}")
    return tuple(parts[name] for name in sorted(parts))


def _empty(content: Content, texts: Sequence[str]) -> RequestFault:
    if content.body is not None and not texts[0].strip():
        return RequestFault("/body", "the body is empty", 21619)
    if content.sms is not None and content.sms.body is not None and not texts[-1].strip():
        return RequestFault("/sms_fallback/body", "the text of the SMS is empty")
    return RequestFault("/content_variables", "a content variable is empty", 21656)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _bound(cache: OrderedDict[Any, Any]) -> None:
    while len(cache) > _KEPT:
        cache.popitem(last=False)
