"""The rules by which a template may be used, in tables; orders meet them in api/test_whatsapp_templates."""

from __future__ import annotations

import msgspec
import pytest

from broadcaster.domain import template_rules as rules
from broadcaster.domain.message_templates import MessageTemplate, body_of, likeness, placeholders_in
from broadcaster.domain.purpose import Purpose
from broadcaster.domain.template_values import first_fault

SID = "HX" + "1" * 32


@pytest.mark.parametrize(
    ("category", "fitting"),
    [
        ("marketing", {"marketing"}),
        ("utility", {"utility", "emergency"}),
        ("transactional", {"utility", "emergency"}),
        ("authentication", {"authentication"}),
        ("otp", {"authentication"}),
        ("", set(Purpose)),  # nobody has said
        ("something new", set(Purpose)),
    ],
)
def test_categories(category: str, fitting: set[str]) -> None:
    template = MessageTemplate(sid=SID, category=category)
    assert {p for p in Purpose if rules.category_fault(template, p) is None} == fitting


@pytest.mark.parametrize(
    ("status", "types", "in_session", "words"),
    [
        ("approved", "twilio/card", False, None),
        ("unsubmitted", "twilio/list-picker", True, None),
        ("unsubmitted", "twilio/list-picker", False, "approves never: send it to such people as single"),
        ("unsubmitted", "twilio/text", False, "until then it goes as a single message"),
        ("unsubmitted", "twilio/card", True, "never submitted"),
        ("rejected", "twilio/text", True, "was rejected"),
        ("in_appeal", "twilio/text", True, "is 'in_appeal', not approved"),
        ("", "twilio/text", True, "is '', not approved"),
    ],
)
def test_approval(status: str, types: str, in_session: bool, words: str | None) -> None:  # noqa: FBT001
    template = MessageTemplate(sid=SID, status=status, types=(types,), rejection_reason="bad {words}")
    told = rules.approval_fault(template, in_session=in_session)
    assert (told is None) == (words is None)
    assert words is None or words in (told or "")
    assert "{" not in (told or "").replace("{words}", "")
    assert status != "rejected" or "(bad {words})" in (told or "")


@pytest.mark.parametrize(
    ("asked", "there", "fits"),
    [
        ("de", "de", True),
        ("de", "de_AT", True),
        ("de-at", "de_AT", True),
        ("DE-AT", "de", True),
        ("en_GB", "en_US", False),
        ("de", "en", False),
        ("fil", "fi", False),
        ("de", "", True),
    ],
)
def test_languages(asked: str, there: str, fits: bool) -> None:  # noqa: FBT001
    assert (rules.language_hint(MessageTemplate(sid=SID, language=there), asked) is None) == fits


def test_variables() -> None:
    template = MessageTemplate(
        sid=SID, placeholders=frozenset({"1", "2", "10", "name"}), variables={"2": "x", "3": "y", "1": ""}
    )
    assert template.required == ["1", "10", "name"]
    assert template.summary()["variables"] == {"1": None, "2": "x", "3": "y", "10": None, "name": None}
    assert set(rules.missing_variables(template, {"1": "a"})) == {"10", "name"}
    assert rules.unknown_variables([template], {"3": "a", "4": "b"}).keys() == {"4"}
    assert rules.unknown_variables([], {"4": "b"}) == {}  # of a template that is missing nothing is known
    assert "2 (x)" in (rules.defaults_used(template, {"1": "a"}) or "")
    assert rules.defaults_used(template, {"2": "a"}) is None


def test_values() -> None:
    given = {
        "1": "a\nb",
        "2": "{{ long }}\n",
        "3": "x" * 1600,
        "4": "x" * 1601,
        "5": "a     b",
        "6": "a    b",
    }
    assert rules.value_faults(given).keys() == {"1", "4", "5"}
    assert rules.value_faults(given, whatsapp=False).keys() == {"4"}


@pytest.mark.parametrize(
    ("value", "whatsapp", "sms"),
    [
        ("12 High St\nLondon", 21656, 0),
        ("a\r", 21656, 0),
        ("a\tb", 21656, 0),
        ("a     b", 21656, 0),
        ("x" * 1601, 21658, 21658),
        ("x" * 1600, 0, 0),
        ('say "hi" \\n \x7f é    😀', 0, 0),
    ],
)
def test_a_recipients_values(value: str, whatsapp: int, sms: int) -> None:
    found = msgspec.json.encode({"1": "Ada", "2": value}).decode()
    for where, code in ((True, whatsapp), (False, sms)):
        fault = first_fault(found, whatsapp=where)
        assert (fault.code if fault else 0) == code
        assert fault is None or fault.key == "2"
    assert first_fault(None, whatsapp=True) is None


def test_what_a_template_says() -> None:
    types = {
        "twilio/media": {"body": "Hi {{1}}", "media": ["https://x/{{ 3 }}.png"]},
        "twilio/call-to-action": {"body": "Hi", "actions": [{"title": "Go", "url": "https://x/{{link}}"}]},
        "twilio/location": {"latitude": 1.5},
    }
    assert placeholders_in(types) == {"1", "3", "link"}
    assert body_of(types) == "Hi {{1}}"
    assert body_of({"twilio/location": {"latitude": 1.5}}) is None
    assert placeholders_in({"whatsapp/authentication": {"actions": []}}) == {"1"}
    assert likeness("Hi {{1}},\n see {{ 2 }}") == likeness("Hi {{ name | upper }}, see {{x}}")
    assert likeness("Hi {{1}}") != likeness("Hi Ada")
