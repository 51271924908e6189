from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.body_likeness import TRIAL_PREFIX, fold, may_be
from broadcaster.domain.evidence import Listed, Look, Patience, Question, Reading, absent, fits, match
from broadcaster.simulator.encoding import smart

TO, LANE, SERVICE = "+14155550100", "+14155550199", "MG" + "0" * 32
BEGAN = 1_000_000
ASKED = Question(
    to=TO, sender=LANE, service=None, body="hi", began=BEGAN, attempt=1, in_flight_until=BEGAN + 2.0
)
SHOWN = Listed(
    sid="SM" + "0" * 32,
    to=TO,
    sender=LANE,
    service=None,
    direction="outbound-api",
    body="hi",
    created=BEGAN,
    sent=None,
)
BY_SERVICE = {"sender": None, "service": SERVICE}


@pytest.mark.parametrize(
    ("question", "listed", "skew", "fit"),
    [
        ({}, {}, 0, True),
        ({}, {"to": "+14155550101"}, 0, False),
        ({}, {"to": None}, 0, False),
        ({}, {"direction": "inbound"}, 0, False),
        ({}, {"direction": "outbound-reply"}, 0, False),
        ({}, {"sender": None}, 0, True),
        ({}, {"sender": "+14155550198"}, 0, False),
        ({}, {"service": SERVICE}, 0, True),
        (BY_SERVICE, {"service": SERVICE}, 0, True),
        (BY_SERVICE, {"service": SERVICE, "sender": None}, 0, True),
        (BY_SERVICE, {}, 0, False),
        (BY_SERVICE | {"sender": LANE}, {"service": SERVICE, "sender": "+14155550198"}, 0, False),
        ({}, {"created": BEGAN - 5}, 0, True),
        ({}, {"created": BEGAN - 6}, 0, False),
        ({}, {"created": None}, 0, False),
        ({}, {"created": BEGAN - 35}, -30, True),
        ({}, {"created": BEGAN - 36}, -30, False),
        ({}, {"created": BEGAN}, 30, True),  # a clock said to be ahead overlooks nothing
        ({"before": BEGAN + 60}, {"created": BEGAN + 58}, 0, True),
        ({"before": BEGAN + 60}, {"created": BEGAN + 60}, 0, False),
        ({"before": BEGAN + 60}, {"created": BEGAN + 60}, 0.5, False),  # the next attempt's own, at once
        ({"before": BEGAN + 60}, {"created": BEGAN + 60}, 0.01, False),
        ({"before": BEGAN + 60}, {"created": BEGAN + 70}, 30, True),
        ({}, {"body": "ho"}, 0, False),
        ({}, {"body": TRIAL_PREFIX + "hi"}, 0, True),
        ({}, {"body": TRIAL_PREFIX + "ho"}, 0, False),
        ({}, {"body": ""}, 0, True),  # redacted
        ({"body": None}, {"body": "ho"}, 0, True),
        ({"body": "it\u2019s \u201con\u201d\u2026"}, {"body": 'it\'s "on"...'}, 0, True),
        ({"body": "on \u2026"}, {"body": "off ..."}, 0, True),  # what Twilio may change excludes nothing
        (
            {"body": "[a] 5\u20ac {b} \u00e4\u00f6\u00fc \\"},
            {"body": "[a] 6\u20ac {b} \u00e4\u00f6\u00fc \\"},
            0,
            False,
        ),
        ({"body": "a\r\n b"}, {"body": "a\nb"}, 0, True),
    ],
)
def test_which_listed_message_may_be_ours(
    question: dict[str, Any], listed: dict[str, Any], skew: float, *, fit: bool
) -> None:
    assert fits(replace(ASKED, **question), replace(SHOWN, **listed), skew) is fit


@given(st.text(max_size=80))
def test_smart_encoding_and_the_trial_prefix_never_hide_a_text(text: str) -> None:
    for shown in (text, smart(text), TRIAL_PREFIX + text, TRIAL_PREFIX + smart(text)):
        assert may_be(text, shown)


@given(
    st.text(alphabet="abc123 .-'\"", max_size=20), st.text(alphabet="abc123 .-'\"", min_size=1, max_size=20)
)
def test_another_text_is_told_apart(one: str, other: str) -> None:
    assert may_be(one, other) is (fold(one) == fold(other))


#: As Twilio's page of smart encoding or the table of its segment calculator has them; the two differ.
@pytest.mark.parametrize(
    ("sent", "listed"),
    [
        ("Assalomu alaykum, to\u02bblov", "Assalomu alaykum, to'lov"),  # Uzbek; Hawaiian, too
        ("\u201aso\u2018", ",so'"),
        ("\u2039a\u203a", ">a<"),
        ("\u2039a\u203a", "<a>"),
        ("10\u00f72", "10/2"),
        ("\u00bd", "1/2"),
        ("\u275bx\u275c", "'x'"),
        ("\u301dx\u301e", '"x"'),
        ("\u2731", "*"),
        ("\u3001", ","),
        ("e\u0302", "e^"),  # as macOS writes it
        ("e\u0302", "\u00ea"),
        ("a\tb`c", "a       b'c"),
        ("\U0001f600 on", "? on"),  # nobody says so, but nobody says no
    ],
)
def test_what_smart_encoding_may_have_made_is_never_told_apart(sent: str, listed: str) -> None:
    assert may_be(sent, listed)
    assert may_be(sent, TRIAL_PREFIX + listed)


def sid(number: int) -> str:
    return f"SM{number:032x}"


questions = st.lists(
    st.builds(
        lambda to, began, attempt, before: replace(
            ASKED,
            to=f"+1415555010{to}",
            began=BEGAN + began,
            attempt=attempt,
            before=before and BEGAN + before,
        ),
        st.integers(0, 1),
        st.integers(0, 60),
        st.integers(1, 3),
        st.one_of(st.none(), st.integers(10, 90)),
    ),
    max_size=6,
)
lists = st.lists(
    st.builds(
        lambda number, to, created, body: replace(
            SHOWN, sid=sid(number), to=f"+1415555010{to}", created=BEGAN + created, body=body
        ),
        st.integers(0, 9),
        st.integers(0, 1),
        st.integers(-10, 90),
        st.sampled_from(["hi", "hi", "ho"]),
    ),
    max_size=8,
    unique_by=lambda m: m.sid,
)


@given(questions, lists, st.sets(st.integers(0, 9).map(sid)), st.integers(-20, 20))
def test_a_message_settles_one_question_at_most_and_none_is_left_that_could(
    asked: list[Question], listed: list[Listed], held: set[str], skew: int
) -> None:
    found = match(asked, listed, held, skew)
    taken = [m.sid for m in found.values()]
    assert len(set(taken)) == len(taken)
    assert not held & set(taken)
    for place, message in found.items():
        assert fits(asked[place], message, skew)
    for place in set(range(len(asked))) - set(found):
        assert not [m for m in listed if m.sid not in {*taken, *held} and fits(asked[place], m, skew)]
    assert match(asked, list(reversed(listed)), held, skew) == found, "whatever the list's order"


def test_the_first_attempt_takes_the_oldest() -> None:
    later = replace(ASKED, began=BEGAN + 3, attempt=1)
    both = [replace(SHOWN, sid=sid(2), created=BEGAN + 4), replace(SHOWN, sid=sid(1), created=BEGAN + 1)]
    assert {i: m.sid for i, m in match([later, ASKED], both, (), 0).items()} == {1: sid(1), 0: sid(2)}


def test_of_two_in_doubt_the_one_does_not_take_what_shows_the_others_text() -> None:
    first, second = (
        replace(ASKED, body="\u00bd off"),
        replace(ASKED, body="3\u20e3 here", began=BEGAN + 1),
    )
    shown = replace(SHOWN, body=second.body, created=BEGAN + 1)
    for asked in (first, replace(first, body=None)):
        assert match([asked, second], [shown], (), 0) == {1: shown}
        other = replace(SHOWN, sid=sid(7), body="1/2 off", created=BEGAN + 2)
        assert match([asked, second], [shown, other], (), 0) == {0: other, 1: shown}
        assert match([asked], [shown], (), 0) == {0: shown}, "alone, nothing excludes it"


PATIENCE = Patience(60, 120)


@pytest.mark.parametrize(
    ("waited", "newest", "complete", "proved"),
    [
        (59, 100, True, False),
        (60, 100, True, True),
        (60, 100, False, False),
        (60, 2, True, False),  # accepted no later than ours could have been
        (60, 3, True, True),
        (60, None, True, False),
        (119, None, True, False),
        (120, None, True, True),
        (5000, 100, False, False),
    ],
)
def test_what_proves_an_absence(waited: float, newest: int | None, *, complete: bool, proved: bool) -> None:
    look = Look(BEGAN + 2 + waited, complete, None if newest is None else BEGAN + newest, 0.0)
    assert absent(ASKED, look, PATIENCE) is proved


def test_nothing_is_proved_while_its_owner_may_send() -> None:
    look = Look(BEGAN + 10_000.0, complete=True, newest=BEGAN + 9_000, skew=0.0)
    assert not absent(replace(ASKED, in_flight_until=None), look, PATIENCE)


@given(st.floats(-300, 300), st.integers(0, 200), st.integers(-400, 400), st.booleans())
def test_no_absence_without_patience_and_a_whole_list(
    skew: float,
    waited: int,
    newest: int,
    whole: bool,  # noqa: FBT001
) -> None:
    look = Look(BEGAN + 2.0 + waited, whole, BEGAN + newest, skew)
    if absent(ASKED, look, PATIENCE):
        assert whole
        assert waited >= 60
        assert waited >= 120 or newest - skew > 2 or newest > 2


def page(*sent: int | None) -> list[Listed]:
    return [replace(SHOWN, created=BEGAN - 9000, sent=None if at is None else BEGAN + at) for at in sent]


def test_a_reading_ends_at_the_last_page_or_where_the_window_is_past() -> None:
    reading = Reading(BEGAN)
    assert not reading.page(page(None, 5, -1), last=False)
    assert reading.page(page(-2, -3), last=False), "unsent ones came first, the rest is older"
    reading = Reading(BEGAN)
    assert not reading.page(page(5, -1), last=False)
    assert not reading.page(page(-2, -3), last=False), "unsent ones may still come"
    assert reading.past
    assert not reading.page(page(-9, None), last=False)
    assert reading.page([], last=True)
    assert reading.newest == BEGAN - 9000
