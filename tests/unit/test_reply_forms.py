"""From Twilio's form to a reply, from a text to TwiML, from a reply to the event that a customer gets."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broadcaster.domain.replies import Button, Location, Media, Reply, digest_of, read_reply
from broadcaster.domain.senders import SenderKind
from broadcaster.domain.words import Meaning, words_of
from broadcaster.events.payloads import Known, events_of
from broadcaster.events.stream import Entry, ReplyCame
from broadcaster.operations.replies import NO_ANSWER, twiml, understood

SID = "SM" + "a" * 32
SERVICE = "MG" + "0" * 32
PLAIN = {"MessageSid": SID, "From": "+14155550100", "To": "+14155550199", "Body": "hello", "NumMedia": "0"}
WHATSAPP = {
    **PLAIN, "From": "whatsapp:+14155550100", "To": "whatsapp:+14155550199", "ProfileName": "Ada \u2603",
    "WaId": "14155550100", "Latitude": "52.5", "Longitude": "13.4", "Address": "Unter den Linden",
    "Label": "", "ButtonText": "No more", "ButtonPayload": "STOP", "ExternalUserId": "US.1349",
    "NumMedia": "2", "MediaUrl0": "https://api.twilio.com/a", "MediaContentType0": "image/jpeg",
    "MediaUrl1": "https://api.twilio.com/b", "MessagingServiceSid": SERVICE, "Forwarded": "true",
    "OriginalRepliedMessageSid": "SM" + "b" * 32,
}  # fmt: skip
WORDS = words_of()
SOME = st.text(max_size=30)
FORM = st.dictionaries(
    st.sampled_from([*WHATSAPP, "OptOutType", "SmsSid", "MediaUrl7", "Unknown"]),
    SOME | st.sampled_from([*WHATSAPP.values(), "STOP", "\ud800", "\x00"]),
)


def test_everything_is_read() -> None:
    reply = read_reply(WHATSAPP)
    assert reply.media == (Media("https://api.twilio.com/a", "image/jpeg"), Media("https://api.twilio.com/b"))
    assert reply.location == Location("52.5", "13.4", "Unter den Linden")
    assert reply.button == Button("No more", "STOP")
    assert (reply.profile_name, reply.user_id, reply.replied_to) == ("Ada \u2603", "US.1349", "SM" + "b" * 32)
    assert reply.scopes == (SERVICE, "whatsapp:+14155550199")
    assert (reply.sender_kind, reply.has_number) == (SenderKind.WHATSAPP, True)


@pytest.mark.parametrize(
    ("person", "kept", "numbered"),
    [
        ("+14155550100", "+14155550100", True), ("whatsapp:+14155550100", "whatsapp:+14155550100", True),
        ("rcs:+14155550100", "+14155550100", True), ("whatsapp:US.13491208655302741918", None, False),
        ("22395", None, False), ("messenger:1234567", None, False), ("", None, False),
        ("rcs:agent", None, False),
    ],
)  # fmt: skip
def test_only_a_number_can_be_opted_out(person: str, kept: str | None, *, numbered: bool) -> None:
    reply = read_reply({**PLAIN, "From": person})
    assert (reply.person, reply.has_number) == (kept or person, numbered)


def test_a_form_without_a_sid_has_one_that_is_its_own() -> None:
    bare = {name: value for name, value in PLAIN.items() if name != "MessageSid"}
    assert read_reply(bare).id == read_reply(dict(reversed(bare.items()))).id
    assert read_reply(bare).id != read_reply({**bare, "Body": "hallo"}).id
    assert read_reply({**bare, "SmsSid": SID}).id == SID
    assert read_reply({**PLAIN, "MessageSid": "x:y"}).id.startswith("SM")


def test_a_digest_has_no_digit_of_the_number_and_is_nobody_elses() -> None:
    assert len({digest_of(f"+1415555{i:04}") for i in range(2000)}) == 2000
    assert "4155" not in digest_of("+14155550100")


def test_a_buttons_payload_counts_where_its_text_is_none_of_our_words() -> None:
    pressed, flag = understood(words_of(), read_reply({**WHATSAPP, "Body": "No more"}))
    assert (pressed.meaning, flag) == (Meaning.OPT_OUT, "")
    yes = {**WHATSAPP, "Body": "Yes, I come", "ButtonPayload": "YES"}
    assert understood(WORDS, read_reply(yes))[0].meaning is Meaning.OTHER
    other, flag = understood(
        words_of(), read_reply({**WHATSAPP, "Body": "Stop offers", "ButtonPayload": "x"})
    )
    assert (other.meaning, bool(flag)) == (Meaning.OTHER, True)


def test_who_has_no_number_is_flagged() -> None:
    reply, flag = understood(words_of(), read_reply({**PLAIN, "From": "whatsapp:US.1349", "Body": "STOP"}))
    assert (reply.meaning, reply.has_number) == (Meaning.OPT_OUT, False)
    assert "no number" in flag


@settings(max_examples=50)
@given(FORM)
def test_any_form_can_be_read_and_told_of(fields: dict[str, str]) -> None:
    reply, _ = understood(WORDS, read_reply(fields))
    assert event(reply)["id"] == reply.id


def test_what_is_told_stays_below_twenty_thousand_bytes() -> None:
    huge = dict.fromkeys(WHATSAPP, "\x01" * 60000) | {f"MediaUrl{i}": "u" * 450 for i in range(30)}
    reply = read_reply(huge)
    entry = Entry("1-0", 1, (ReplyCame("reply.received", reply.id),))
    (made,) = events_of([entry], Known({}, {}, {}, {reply.id: (reply, 1)}), ("reply.received",))
    assert 13_000 < len(made.body) < 20_000


# -- TwiML


@given(st.text(min_size=1, max_size=50))
def test_a_text_comes_out_of_twiml_as_it_went_in(text: str) -> None:
    said = ET.fromstring(twiml(text)).findtext("Message")  # noqa: S314 - ours
    allowed = "".join(c for c in text if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff"))
    assert said == allowed.replace("\r\n", "\n").replace("\r", "\n")


def test_nothing_to_say_is_an_empty_response() -> None:
    assert twiml("") == NO_ANSWER
    assert ET.fromstring(NO_ANSWER).tag == "Response"  # noqa: S314 - ours
    assert "<Message>a &lt;b&gt; &amp; c</Message>" in twiml("a <b> & c")


# -- the event


def event(reply: Reply, **more: object) -> dict[str, object]:
    known = Known({}, {}, {}, {reply.id: (reply, 1_763_700_000_123)})
    entry = Entry("5-0", 1_763_700_000_123, (ReplyCame("reply.received", reply.id),))
    (made,) = events_of([entry], known, ("reply.received",))
    data: dict[str, object] = json.loads(made.body)["data"]
    return data | more


def test_a_reply_is_told_with_its_text_and_media() -> None:
    data = event(understood(words_of(), read_reply(WHATSAPP))[0])
    assert data == {
        "id": SID, "from": "whatsapp:+14155550100", "to": "whatsapp:+14155550199",
        "messaging_service_sid": SERVICE, "received_at": 1_763_700_000.123, "body": "hello",
        "truncated": False, "media": [{"url": "https://api.twilio.com/a", "type": "image/jpeg"},
                  {"url": "https://api.twilio.com/b", "type": None}],
        "location": {"latitude": "52.5", "longitude": "13.4", "address": "Unter den Linden", "label": None},
        "button": {"text": "No more", "payload": "STOP"},
        "meaning": "opt_out", "message": None, "broadcast": None,
    }  # fmt: skip


def test_a_long_one_is_cut_with_a_mark_and_a_removed_one_names_nobody() -> None:
    data = event(read_reply({**PLAIN, "Body": "\u20ac" * 20_000}))
    assert data["truncated"] is True
    assert str(data["body"]).endswith("\u20ac\u2026")
    entry = Entry("5-0", 1, (ReplyCame("reply.received", SID),))
    (made,) = events_of([entry], Known({}, {}, {}), ("reply.received",))
    assert json.loads(made.body)["data"] == {"id": SID}
    again = Entry("6-1", 9, (ReplyCame("reply.received", SID),))
    assert events_of([again], Known({}, {}, {}), ("reply.received",))[0].id == made.id
