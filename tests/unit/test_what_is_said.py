"""Templates by language, what goes in a message's place, and places: read, checked, rendered."""

from __future__ import annotations

from typing import Any

import pytest

from broadcaster.domain.content import (
    Content,
    ContentError,
    Rendered,
    RenderError,
    SmsFallback,
    Template,
    compile_content,
)
from broadcaster.domain.create_message import check_content
from broadcaster.domain.location import LocationError, parse_location
from broadcaster.intake.fingerprint import fingerprint

GERMAN, ENGLISH, OTHERS = "HX" + "a" * 32, "HX" + "b" * 32, "HX" + "c" * 32
WHATSAPP = "whatsapp:+14155550199"


def spoken(others: str | None = None, **more: Any) -> Content:
    return Content(
        languages={"de": GERMAN, "en_GB": ENGLISH}, language_column="lang", content_sid=others, **more
    )


@pytest.mark.parametrize(
    ("language", "sid"),
    [
        ("de", GERMAN),
        (" DE ", GERMAN),
        ("de-CH", GERMAN),
        ("de_at", GERMAN),
        ("en-gb", ENGLISH),
        ("EN_GB", ENGLISH),
    ],
)
def test_each_gets_the_template_of_their_language(language: str, sid: str) -> None:
    renderer = compile_content(spoken(content_variables={"1": "{{ name }}"}))
    assert renderer.variables == {"lang", "name"}
    by_row = renderer.over_rows(("name", "lang"))(("Ann", language))
    assert by_row == renderer.render({"name": "Ann", "lang": language})
    assert by_row == Rendered(None, '{"1":"Ann"}', sid)


@pytest.mark.parametrize(
    ("language", "told"), [("fr", "'fr'"), ("en", "'en'"), ("", "no language"), (" ", "no language")]
)
def test_a_language_without_a_template_is_a_fault_of_its_row_unless_there_is_one_for_others(
    language: str, told: str
) -> None:
    with pytest.raises(RenderError, match=told) as raised:
        compile_content(spoken()).render({"lang": language})
    assert raised.value.variable == "lang"
    assert "de, en-gb" in raised.value.reason
    assert compile_content(spoken(OTHERS)).render({"lang": language}).content_sid == OTHERS


def test_what_stands_in_needs_its_columns_too() -> None:
    content = Content(
        body="Hi {{ name }}",
        fallback=Template(OTHERS, {"1": "{{ nick }}"}),
        sms=SmsFallback("+14155550100", "Read {{ link }}"),
    )
    renderer = compile_content(content)
    assert renderer.variables == {"name", "nick", "link"}
    assert renderer.fallback is not None
    assert renderer.sms is not None
    row = {"name": "Ann", "nick": "A", "link": "x"}
    assert renderer.fallback.render(row).content_variables == '{"1":"A"}'
    assert renderer.sms.render(row).body == "Read x"
    own = compile_content(Content(body="Hi {{ name }}", sms=SmsFallback("+14155550100"))).sms
    assert own is not None
    assert own.render(row).body == "Hi Ann"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (Content(languages={"de": GERMAN}), "need the column"),
        (Content(content_sid=OTHERS, language_column="lang"), "need the column"),
        (Content(content_sid=OTHERS, fallback=Template(OTHERS)), "template already"),
        (Content(content_sid=OTHERS, sms=SmsFallback("+14155550100")), "text of its own"),
        (Content(body="x", fallback=Template(OTHERS, {"1": "{{ }}"})), "fallback: content variable 1"),
        (Content(body="x", sms=SmsFallback("+14155550100", "{{ a b }}")), "SMS fallback: body"),
    ],
)
def test_what_fits_nobody_is_refused(content: Content, told: str) -> None:
    with pytest.raises(ContentError, match=told):
        compile_content(content)


@pytest.mark.parametrize(
    ("content", "parameters"),
    [
        (spoken(), []),
        (spoken("HX1"), ["ContentSid"]),
        (Content(languages={"de": "HX2"}, language_column="lang"), ["ContentSid"]),
        (Content(body="x", fallback=Template("HX3")), ["Fallback.ContentSid"]),
        (Content(body="x", sms=SmsFallback(WHATSAPP)), ["Sms.From"]),
        (Content(body="x", sms=SmsFallback("nobody at all, ever")), ["Sms.From"]),
        (Content(body="x", sms=SmsFallback("Flood")), []),
    ],
)
def test_what_twilio_would_refuse_of_it_is_found(content: Content, parameters: list[str]) -> None:
    found = check_content(content, from_=WHATSAPP, messaging_service_sid=None)
    assert [fault.parameter for fault in found] == parameters


def test_what_came_later_does_not_change_a_fingerprint_from_before() -> None:
    content = Content(body="Hi", content_variables={}, options={"SmartEncoded": "true"})
    assert fingerprint(content, ["+14155550199"], "d") == (
        "93f9f3db603124b0c21ea0bf8e9cb5885391265b5119376e94434143b690a1fe"
    )
    assert fingerprint(content, ["+14155550199"], "d") != fingerprint(
        Content(body="Hi", options={"SmartEncoded": "true"}, fallback=Template(OTHERS)), ["+14155550199"], "d"
    )


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("47.3769,8.5417", "geo:47.3769,8.5417"),
        (" -33.8688 , +151.2093 , Opera House, Sydney", "geo:-33.8688,151.2093|Opera House, Sydney"),
        ("90,-180", "geo:90,-180"),
        ("0.00000001,0", "geo:0,0"),
    ],
)
def test_a_place_is_read(text: str, action: str) -> None:
    assert parse_location(text).action == action


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no place"),
        ("47.3769", "is no place"),
        ("47,3769,8,5417", "is no place"),
        ("90.1,0", "latitude"),
        ("0,180.5", "longitude"),
        ("nan,0", "is no place"),
        ("1e1,0", "is no place"),
        ("0,0,a\nb", "one line"),
        ("0,0," + "x" * 201, "at most 200"),
    ],
)
def test_what_is_no_place_is_refused(text: str, told: str) -> None:
    with pytest.raises(LocationError, match=told):
        parse_location(text)
