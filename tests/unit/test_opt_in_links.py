"""Opt-in links, and their QR codes read back by a decoder that has nothing in common with their maker."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from qr_reading import read_qr

from broadcaster.domain.addresses import AddressError
from broadcaster.domain.opt_in_links import LONGEST_TEXT, opt_in_links
from broadcaster.domain.parties import read_opted_into, unquoted_plus
from broadcaster.domain.qr_codes import qr_svg

SENDER: Final = "whatsapp:+14155550199"
TEXTS: Final = (
    "START",
    "Grüße aus Köln & Bonn?",
    "two\nlines\r\nand a tab\t",
    "🦉👩‍🚒 100 % #owl +1=2",
    "a&text=b&phone=1",
    'He said "yes" <b>',
    "",
)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_back_whole(text: str) -> None:
    links = opt_in_links(SENDER, text)
    web, app = urlsplit(links.web), urlsplit(links.app or "")
    assert (web.scheme, web.netloc, web.path) == ("https", "wa.me", "/14155550199")
    asked = parse_qsl(web.query, keep_blank_values=True, strict_parsing=bool(web.query))
    assert asked == ([("text", text)] if text else [])
    assert (app.scheme, app.netloc, app.path) == ("whatsapp", "send", "")
    wanted = [("phone", "14155550199"), *([("text", text)] if text else [])]
    assert parse_qsl(app.query, strict_parsing=True) == wanted
    assert re.fullmatch(r"[!-~]+", links.web)
    assert "+" not in links.web


def test_numbers_and_short_codes_have_sms_links() -> None:
    assert opt_in_links("+1 415 555 0199", "START & go").web == "sms:+14155550199?body=START%20%26%20go"
    assert opt_in_links("12345").web == "sms:12345"
    assert opt_in_links("12345").app is None


@pytest.mark.parametrize("sender", ["ALERTS", "MG" + "1" * 32, "nonsense!", "+12", ""])
def test_nobody_writes_to_these(sender: str) -> None:
    with pytest.raises(AddressError):
        opt_in_links(sender)


@pytest.mark.parametrize("text", ["x" * (LONGEST_TEXT + 1), "\ud83e"])
def test_texts_that_no_link_can_hold(text: str) -> None:
    with pytest.raises(ValueError, match="the text"):
        opt_in_links(SENDER, text)


@pytest.mark.parametrize("text", [*TEXTS, "é" * 160])
def test_a_qr_code_is_read_back(text: str) -> None:
    link = opt_in_links(SENDER, text).web
    read = read_qr(qr_svg(link))
    assert read == link
    assert unquote(urlsplit(read).query).removeprefix("text=") == text


def test_digits_without_a_plus_may_be_another_countrys_number() -> None:
    for digits in ("4155550100", "whatsapp:4155550100"):
        with pytest.raises(AddressError):
            read_opted_into(digits, None)
    assert read_opted_into("(415) 555-0100", "US") == "+14155550100"
    assert read_opted_into("12345", None) == "12345"
    for written in ("whatsapp: 14155550199", "whatsapp:%2B14155550199"):
        assert unquoted_plus(written) == SENDER


def test_a_link_that_no_qr_code_holds() -> None:
    with pytest.raises(ValueError, match="1,001 bytes"):
        qr_svg("x" * 1001)
