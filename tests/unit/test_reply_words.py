"""What a reply means: the words, alone and in sentences, in every spelling that people use."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broadcaster.domain.senders import SenderKind
from broadcaster.domain.spelling import key_of, parse_words
from broadcaster.domain.words import HELP, START, STOP, STOP_ABROAD, Meaning, twilio_takes, words_of

WORDS = words_of()
LONG, TOLL_FREE, SHORT = SenderKind.LONG_CODE_US, SenderKind.TOLL_FREE, SenderKind.SHORT_CODE
OUT, IN, HELPED, OTHER = Meaning.OPT_OUT, Meaning.OPT_IN, Meaning.HELP, Meaning.OTHER
AROUND = st.text(
    st.sampled_from(" \t\n.,!?;:-_'\"()[]*#~\u2026\u00a0\u200b\ufeff\U0001f64f\u2014"), max_size=6
)


def meaning(body: str, kind: SenderKind | None = LONG, *, opt_out_type: str = "") -> Meaning:
    return WORDS.read(body, kind, opt_out_type=opt_out_type).meaning


def flagged(body: str, words: object = None) -> bool:
    return bool((words_of() if words is None else words).read(body, LONG).flag)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        *((word, OUT) for word in STOP),
        *((word.lower(), IN) for word in START),
        *((word.title(), HELPED) for word in HELP),
        *((word, OUT) for some in STOP_ABROAD.values() for word in some),
        ("Stop!!", OUT), (" stop.\r\n", OUT), ("S.T.O.P", OUT), ("opt-out", OUT), ("Opt out", OUT),
        ("\uff33\uff34\uff2f\uff30", OUT), ("STOP\u200b", OUT), ("\u201cSTOP\u201d", OUT), ("*STOP*", OUT),
        ("arret", OUT), ("ARRE\u0302T", OUT), ("no mas", OUT), ("iptal", OUT), ("IPTAL", OUT),
        ("STOP \U0001f6d1", OUT), ("STOP \u26d4\ufe0f", OUT), ("\u2764\ufe0f stop\ufe0f", OUT),
        ("STOP\u20e3", OUT), ("yes!", IN), ("Ayuda", HELPED),
        ("", OTHER), ("?", OTHER), ("please stop", OTHER), ("STOP!! now", OTHER), ("stop it", OTHER),
        ("yes please", OTHER), ("help me", OTHER), ("no", OTHER), ("y", OTHER), ("stopp" + "p" * 9000, OTHER),
    ],
)  # fmt: skip
def test_a_word_is_a_word_only_alone(body: str, expected: Meaning) -> None:
    assert meaning(body) is expected
    assert not (expected is not OTHER and flagged(body))


@pytest.mark.parametrize(
    "body",
    [
        "please stop", "STOP!! now", "stoppp", "plz STOP texting me", "Unsubscribe me!", "I want to opt out",
        "don\u2019t text me again", "Do not contact me", "remove me from your list", "Remove", "wrong number",
        "quit it", "por favor, baja", "me quiero dar de baja", "bitte abmelden", "veuillez arr\u00eater",
        "\U0001f6d1",
        "\u8bf7\u9000\u8ba2", "\u914d\u4fe1\u505c\u6b62\u3057\u3066\u304f\u3060\u3055\u3044",
        "no more messages", "UNSUBCRIBE",
        "\u043f\u043e\u0436\u0430\u043b\u0443\u0439\u0441\u0442\u0430, \u0441\u0442\u043e\u043f",
    ],
)  # fmt: skip
def test_what_contains_one_is_for_a_person(body: str) -> None:
    assert (meaning(body), flagged(body)) == (OTHER, True)


@pytest.mark.parametrize(
    "body",
    ["", "thanks", "nonstop fun", "see you at the weekend", "unstoppable", "ok", "12:30", "td bank",
     "stopover", "\u00bfa qu\u00e9 hora?", "\u597d\u7684", "backend", "Yes, Friday", "https://example.com/x?end1=2"],
)  # fmt: skip
def test_what_contains_none_is_for_nobody(body: str) -> None:
    assert (meaning(body), flagged(body)) == (OTHER, False)


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        ("START", TOLL_FREE, IN), ("unstop", TOLL_FREE, IN), ("YES", TOLL_FREE, OTHER),
        ("STOP", TOLL_FREE, OUT), ("YES", SHORT, IN), ("STOP", SHORT, OUT), ("HELP", TOLL_FREE, HELPED),
        ("STOP", None, OUT),
    ],
)  # fmt: skip
def test_on_a_toll_free_number_only_the_networks_words_let_somebody_in_again(
    body: str, kind: SenderKind | None, expected: Meaning
) -> None:
    assert meaning(body, kind) is expected


@pytest.mark.parametrize("body", ["", "please stop", "YES", "baja"])
def test_twilios_own_verdict_goes_first(body: str) -> None:
    for said, expected in (("STOP", OUT), ("start", IN), ("HELP ", HELPED)):
        read = WORDS.read(body, TOLL_FREE, opt_out_type=said)
        assert (read.meaning, read.flag) == (expected, "")
    assert meaning("STOP", opt_out_type="SOMETHING NEW") is OUT


def test_an_operators_words_count_and_go_before_ours() -> None:
    own = words_of(
        parse_words("it:ferma tutto;xx:YES"), parse_words("ALTA, baja"), parse_words("\u52a9\u3051\u3066")
    )
    assert own.read("Ferma, tutto!", LONG).meaning is OUT
    assert own.read("yes", LONG).meaning is OUT
    assert own.read("BAJA", LONG).meaning is IN
    assert own.read("alta", LONG).meaning is IN
    assert own.read("alta", TOLL_FREE).meaning is OTHER
    assert own.read("\u52a9\u3051\u3066", LONG).meaning is HELPED
    assert flagged("ma ferma tutto, dai", own)
    assert not flagged("si ferma presto tutto", own)
    assert not flagged("una baja", own)
    assert own.read("STOP", LONG).meaning is OUT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("es:BAJA,ALTO;de:STOPP", ("BAJA", "ALTO", "STOPP")),
        (" BAJA , no más ; ", ("BAJA", "no más")),
        ("zh-Hant:\u505c", ("\u505c",)),
    ],
)
def test_own_words_are_read(text: str, expected: tuple[str, ...]) -> None:
    assert parse_words(text) == expected


@pytest.mark.parametrize(
    "text", ["", ";", "es:", "Spanish:BAJA", "es:BAJA,,ALTO", "!!", "x" * 41, "a," * 501 + "a"]
)
def test_what_is_no_list_of_words_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be "):
        parse_words(text)


@pytest.mark.parametrize(
    ("body", "kind", "taken"),
    [
        ("STOP", LONG, True), (" stop\n", LONG, True), ("Yes", TOLL_FREE, True),
        ("INFO", SenderKind.LONG_CODE, True),
        ("STOP!", LONG, False), ("BAJA", LONG, False), ("STOP", SHORT, False),
        ("STOP", SenderKind.WHATSAPP, False), ("STOP", None, False),
    ],
)  # fmt: skip
def test_where_twilio_answers_itself(body: str, kind: SenderKind | None, *, taken: bool) -> None:
    assert twilio_takes(body, kind) is taken


@given(st.sampled_from(sorted((*STOP, *START, *HELP))), AROUND, AROUND, st.data())
def test_case_and_punctuation_change_nothing(word: str, before: str, after: str, data: st.DataObject) -> None:
    spelled = "".join(c.lower() if data.draw(st.booleans()) else c for c in word)
    assert meaning(f"{before}{spelled}{after}") is meaning(word)


@settings(max_examples=50)
@given(st.text(max_size=40))
def test_a_key_is_the_same_for_every_normal_form(text: str) -> None:
    key = key_of(text)
    assert key_of(key) == key
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert key_of(unicodedata.normalize(form, text)) == key


@given(st.text(max_size=200), st.text(max_size=20), st.sampled_from([None, *SenderKind]))
def test_any_text_can_be_read(body: str, opt_out_type: str, kind: SenderKind | None) -> None:
    read = WORDS.read(body, kind, opt_out_type=opt_out_type)
    assert not read.flag or read.meaning is OTHER


@given(
    st.text("abcdefgh ", max_size=30),
    st.sampled_from(["stop", "Unsubscribe", "CANCEL", "quit"]),
    st.text("xyz ", max_size=30),
)
def test_an_opt_out_word_among_others_is_never_passed_over(before: str, word: str, after: str) -> None:
    read = WORDS.read(f"{before} {word} {after}", LONG)
    assert read.meaning is OUT or read.flag
