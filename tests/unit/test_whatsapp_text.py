"""What WhatsApp draws of a text, and what it leaves alone."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.whatsapp_text import Span, Style, as_html, spans_of


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain", "plain"),
        ("", ""),
        ("*bold*", "<b>bold</b>"),
        ("_italic_", "<i>italic</i>"),
        ("~gone~", "<s>gone</s>"),
        ("```code```", "<code>code</code>"),
        ("`code`", "<code>code</code>"),
        ("Hi *Ann Lee*, _now_!", "Hi <b>Ann Lee</b>, <i>now</i>!"),
        ("(*a*) '_b_' „~c~“", "(<b>a</b>) '<i>b</i>' „<s>c</s>“".replace("'", "&#x27;")),
        # at word boundaries only
        ("2*3*4", "2*3*4"),
        ("snake_case_name", "snake_case_name"),
        ("a*b* c", "a*b* c"),
        ("*a*b c", "*a*b c"),
        ("über*a*", "über*a*"),
        ("*a*é", "*a*é"),
        ("1~2~3", "1~2~3"),
        # around something, without white space at its ends
        ("* a*", "* a*"),
        ("*a *", "*a *"),
        ("* item\n* item", "* item\n* item"),
        ("**", "**"),
        ("* *", "* *"),
        ("***", "***"),
        ("____", "____"),
        ("**a**", "*<b>a</b>*"),
        ("*a", "*a"),
        ("a*", "a*"),
        ("5 * 3 * 2", "5 * 3 * 2"),
        ("*a * b*", "<b>a * b</b>"),
        # not over lines, but for code
        ("*a\nb*", "*a\nb*"),
        ("_a\nb_ *c*", "_a\nb_ <b>c</b>"),
        ("```a\n*b*```", "<code>a\n*b*</code>"),
        ("`a\nb`", "`a\nb`"),
        # in each other
        ("*_both_*", "<b><i>both</i></b>"),
        ("_*both*_", "<i><b>both</b></i>"),
        ("*a _b_ c*", "<b>a </b><b><i>b</i></b><b> c</b>"),
        ("*_~all~_*", "<b><i><s>all</s></i></b>"),
        ("*a ```b``` c*", "<b>a </b><b><code>b</code></b><b> c</b>"),
        ("*a _b* c_", "<b>a _b</b> c_"),
        ("*a *b* c*", "<b>a *b</b> c*"),
        # none in code
        ("```*a* _b_```", "<code>*a* _b_</code>"),
        ("`*a*`", "<code>*a*</code>"),
        ("*a `b* c` d*", "<b>a </b><b><code>b* c</code></b><b> d</b>"),
        ("``` ```", "``` ```"),
        ("``````", "``````"),
        ("a```b```", "a```b```"),
        # one after the other
        ("*a* *b*", "<b>a</b> <b>b</b>"),
        ("*a*_b_", "<b>a</b><i>b</i>"),
        # what is HTML is text
        ("*<b>&*", "<b>&lt;b&gt;&amp;</b>"),
        ('<img src=x onerror="a">', "&lt;img src=x onerror=&quot;a&quot;&gt;"),
        ("https://a.example/x_y_z?a=*b*", "https://a.example/x_y_z?a=<b>b</b>"),
        ("*Zürich* 李_明_ _李明_", "<b>Zürich</b> 李_明_ <i>李明</i>"),
        ("*😀*", "<b>😀</b>"),
    ],
)
def test_marks_are_drawn_as_whatsapp_draws_them(text: str, html: str) -> None:
    assert as_html(text) == html


def test_spans_say_their_styles_from_the_outermost_in() -> None:
    assert spans_of("a *b _c_*") == [
        Span("a "),
        Span("b ", (Style.BOLD,)),
        Span("c", (Style.BOLD, Style.ITALIC)),
    ]


def test_an_sms_has_no_marks() -> None:
    assert as_html("*a* <b>", formatted=False) == "*a* &lt;b&gt;"


@given(st.text(st.sampled_from("*_~` ab\n.é<"), max_size=60))
def test_only_marks_go(text: str) -> None:
    shown = spans_of(text)
    rest = iter(text)
    for character in "".join(span.text for span in shown):
        for other in rest:
            if other == character:
                break
            assert other in "*_~`"
    assert set(rest) <= set("*_~`")
    assert all(span.text and len(set(span.styles)) == len(span.styles) for span in shown)
    assert all("\n" not in span.text or set(span.styles) <= {Style.CODE} for span in shown)
    bare = re.sub(r"</?(?:b|i|s|code)>", "", as_html(text))
    assert "<" not in bare


def test_a_long_text_of_marks_is_read_soon() -> None:
    assert spans_of("*_~" * 5_000)
    assert spans_of("`" * 5_001)
    assert spans_of("*a " * 2_000) == [Span("*a " * 2_000)]
