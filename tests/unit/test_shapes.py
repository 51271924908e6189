"""What single messages have in common, their values, and that a value is never a template again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.addresses import Channel
from broadcaster.domain.broadcast import OnDoubt, Priority
from broadcaster.domain.content import Content, ContentError, compile_content
from broadcaster.intake.shapes import FaultError, RequestFault, Shapes, cost
from broadcaster.intake.streams import Stream, StreamKey, expiry

HX = "HX" + "0" * 32


def sent(content: Content, variables: dict[str, str] | None = None, *, literal: bool = False) -> Any:
    """Return what a worker makes of a content's values."""
    shapes = Shapes()
    shape = shapes.shape(content)
    values = shapes.values(content, variables or {}, literal=literal)
    return compile_content(shape.content).over_rows(shape.columns)(values)


@given(st.text(min_size=1).filter(lambda text: text.strip()))
def test_a_literal_text_arrives_as_it_is(text: str) -> None:
    assert sent(Content(body=text), literal=True).body == text


@pytest.mark.parametrize(
    "text", ["{{ 7 * 7 }}", "{{ body }}", "{% if x %}", "100 %", "%s", "{# no #}x", "\r\n a "]
)
def test_what_looks_like_a_template_is_none_in_a_value(text: str) -> None:
    assert sent(Content(body=text), literal=True).body == text
    assert sent(Content(body="{{ said }}"), {"said": text}).body == text
    media = Content(content_sid=HX, content_variables={"1": text})
    assert compile_content(Content(content_sid=HX)).render({}).content_variables is None
    assert text in Shapes().values(media, {}, literal=True)


def test_callers_templates_are_rendered_once_for_each() -> None:
    content = Content(body="Hi {{ name }}, {{ code or 'none' }}")
    assert sent(content, {"name": "Ann"}).body == "Hi Ann, none"
    both = Content(content_sid=HX, content_variables={"2": "b {{ x }}", "1": "a"})
    assert sent(both, {"x": "y"}).content_variables == '{"1":"a","2":"b y"}'


def test_texts_share_a_shape_and_the_rest_does_not() -> None:
    shapes = Shapes()
    one = shapes.shape(Content(body="one"))
    assert shapes.shape(Content(body="two")) is one
    others = [
        Content(body="one", media_urls=("https://example.org/a.png",)),
        Content(body="one", options={"SmartEncoded": "true"}),
        Content(media_urls=("https://example.org/a.png",)),
        Content(content_sid=HX),
        Content(content_sid=HX, content_variables={"1": "a"}),
    ]
    assert len({shapes.shape(content).name for content in [Content(body="x"), *others]}) == 6


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (Content(body=" \n"), RequestFault("/body", "the body is empty", 21619)),
        (Content(body="{{ no }}"), RequestFault("/variables/no", "no: missing or empty")),
        (
            Content(body="x" * 1601),
            RequestFault("/body", "the body has 1,601 characters, Twilio takes 1,600: shorten it", 21617),
        ),
        (
            Content(content_sid=HX, content_variables={"1": ""}),
            RequestFault("/content_variables", "a content variable is empty", 21656),
        ),
    ],
)
def test_what_cannot_be_sent_says_where(content: Content, fault: RequestFault) -> None:
    with pytest.raises(FaultError) as refused:
        Shapes().values(content, {}, literal=False)
    assert refused.value.fault == fault


def test_a_template_that_is_none_says_where() -> None:
    with pytest.raises(ContentError, match="body, line 1"):
        Shapes().values(Content(body="{{ oh no }}"), {}, literal=False)


def test_twilios_rules_are_asked_once_for_a_shape() -> None:
    shapes = Shapes()
    shape = shapes.shape(Content(body="x", options={"Nonsense": "1"}))
    found = shapes.faults(shape, "+14155550100", None, 0)
    assert [fault.pointer for fault in found] == ["/options/Nonsense"]
    assert shapes.faults(shape, "+14155550100", None, 0) is found


def test_media_and_templates_cost_one_segment() -> None:
    shapes = Shapes()
    long = ("x" * 400,)
    assert cost(shapes.shape(Content(body="x")), long, Channel.SMS) == 3
    assert cost(shapes.shape(Content(body="x")), long, Channel.WHATSAPP) == 1
    media = Content(body="x", media_urls=("https://example.org/a.png",))
    assert cost(shapes.shape(media), long, Channel.SMS) == 1
    assert cost(shapes.shape(Content(body="x", options={"SendAsMms": " TRUE"})), long, Channel.SMS) == 1


@given(st.floats(1e9, 4e9), st.floats(0.5, 40 * 86400))
def test_a_message_expires_an_eighth_of_its_time_early_at_most(now: float, seconds: float) -> None:
    at = expiry(now, seconds)
    assert now + seconds - seconds / 8 - 1e-6 <= at <= now + seconds


def test_streams_are_told_apart_by_all_but_their_rates() -> None:
    content = Shapes().shape(Content(body="x"))
    key = StreamKey(
        "k", content.name, (("+1", 1.0),), None, Priority.URGENT, OnDoubt.RESEND, None, None, 1
    )  # fmt: skip
    one = Stream.of(key, content.content)
    assert Stream.of(key._replace(lanes=(("+1", 9.0),)), content.content).print == one.print
    other: list[dict[str, Any]] = [
        {"key_id": "l"}, {"shape": "y"}, {"lanes": (("+2", 1.0),)}, {"service": "MG"}, {"rate": 1.0},
        {"priority": Priority.BULK}, {"on_doubt": OnDoubt.HOLD}, {"expires_at": 5.0}, {"hour": 2},
    ]  # fmt: skip
    prints = {Stream.of(key._replace(**change), content.content).print for change in other}
    assert len(prints | {one.print}) == 10
