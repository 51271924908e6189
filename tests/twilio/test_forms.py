"""Forms are what `urllib` would make of them, whatever the text."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote_plus, unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.twilio.forms import FormTemplate, encode_form, quote

any_text = st.text(st.characters(exclude_categories=["Cs"]))


@given(any_text)
def test_quoting_reads_back_as_it_was(text: str) -> None:
    assert unquote_plus(quote(text).decode(), errors="strict") == text


@given(st.text(st.characters(max_codepoint=0x7F)))
def test_quoting_ascii_equals_the_standard_library(text: str) -> None:
    assert quote(text).decode() == quote_plus(text)


@given(any_text)
def test_what_is_quoted_is_safe_in_a_form(text: str) -> None:
    assert re.fullmatch(rb"(?:[A-Za-z0-9_.~+-]|%[0-9A-F]{2})*", quote(text))


@given(st.lists(st.tuples(any_text.filter(bool), any_text)))
def test_a_form_reads_back_as_it_was(pairs: list[tuple[str, str]]) -> None:
    read = parse_qsl(encode_form(pairs).decode(), keep_blank_values=True, strict_parsing=bool(pairs))
    assert read == pairs


@given(any_text, st.none() | any_text, st.none() | any_text)
def test_a_template_puts_the_recipient_behind_what_is_shared(
    to: str, body: str | None, variables: str | None
) -> None:
    shared = [("From", "+15005550006"), ("MediaUrl", "https://a.example/?x=1&y"), ("MediaUrl", "b")]
    expected = [*shared, ("To", to)]
    expected += [] if body is None else [("Body", body)]
    expected += [] if variables is None else [("ContentVariables", variables)]
    form = FormTemplate(shared).encode(to, body, variables)
    assert parse_qsl(form.decode(), keep_blank_values=True) == expected


def test_a_lone_surrogate_does_not_stop_a_message() -> None:
    assert unquote_plus(quote("Hello a\ud83d").decode()) == "Hello a\ufffd"
    assert quote("\ud83d\udc4d") == quote("👍")


@pytest.mark.parametrize("name", ["To", "Body", "ContentVariables"])
def test_what_differs_by_recipient_is_not_shared(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        FormTemplate([(name, "x")])
