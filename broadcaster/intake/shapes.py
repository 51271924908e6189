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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.domain.content import Renderer

_KEPT: Final = 1000
_MAX_SEGMENTS: Final = 255
#: A text without these is no template.
_TAGS: Final = ("{{", "{%", "{#")
_POINTERS: Final = {
    "Body": "/body",
    "MediaUrl": "/media_urls",
    "ContentSid": "/content_sid",
    "ContentVariables": "/content_variables",
    "From": "/from",
    "MessagingServiceSid": "/messaging_service_sid",
}


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
                RequestFault(_POINTERS.get(f.parameter, f"/options/{f.parameter}"), f.rule, f.twilio_code)
                for f in found
            ]
            self._sound[key] = known
            _bound(self._sound)
        return known

    def values(self, content: Content, variables: Mapping[str, str], *, literal: bool) -> tuple[str, ...]:
        """Return one recipient's values in the order of the shape's columns.

        `literal` texts are no templates. Raises `FaultError`, and ContentError for a template that is none.
        """
        texts = ((content.body,) if content.body is not None else ()) + tuple(
            content.content_variables[name] for name in sorted(content.content_variables)
        )
        if not literal and any(tag in text for text in texts for tag in _TAGS):
            texts = self._rendered(content, variables)
        for text in texts:
            if not text.strip():
                raise FaultError(_empty(content, texts))
        if content.body is not None and len(texts[0]) > MAX_BODY_CHARACTERS:
            told = (
                f"the body has {len(texts[0]):,} characters, Twilio takes {MAX_BODY_CHARACTERS:,}: shorten it"
            )
            raise FaultError(RequestFault("/body", told, 21617))
        return texts

    def _rendered(self, content: Content, variables: Mapping[str, str]) -> tuple[str, ...]:
        key = msgspec.msgpack.encode((content.body, content.content_sid, content.content_variables))
        renderer = self._renderers.get(key)
        if renderer is None:
            renderer = self._renderers[key] = compile_content(content)
            _bound(self._renderers)
        try:
            rendered = renderer.render(variables)
        except RenderError as error:
            where = f"/variables/{_escaped(error.variable)}" if error.variable else ""
            raise FaultError(RequestFault(where, str(error))) from None
        parts: dict[str, str] = msgspec.json.decode(rendered.content_variables or "{}")
        body = () if rendered.body is None else (rendered.body,)
        return body + tuple(parts[name] for name in sorted(parts))


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
    names = sorted(content.content_variables)
    parts = {name: f"{{{{ v_{number} }}}}" for number, name in enumerate(names, 1)}
    skeleton = msgspec.structs.replace(
        content, body=None if content.body is None else "{{ body }}", content_variables=parts
    )
    columns = (() if content.body is None else ("body",)) + tuple(f"v_{n}" for n in range(1, len(names) + 1))
    one = content.options.get("SendAsMms", "").strip().lower() == "true"
    single = bool(content.media_urls or content.content_sid or one)
    name = msgspec.json.encode(skeleton, order="deterministic").decode()
    return Shape(name, skeleton, columns, single)


def _empty(content: Content, texts: Sequence[str]) -> RequestFault:
    if content.body is not None and not texts[0].strip():
        return RequestFault("/body", "the body is empty", 21619)
    return RequestFault("/content_variables", "a content variable is empty", 21656)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _bound(cache: OrderedDict[Any, Any]) -> None:
    while len(cache) > _KEPT:
        cache.popitem(last=False)
