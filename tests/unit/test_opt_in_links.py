"""Opt-in links, and their QR codes read back by a decoder that has nothing in common with their maker."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
import zxingcpp

from broadcaster.domain.addresses import AddressError
from broadcaster.domain.opt_in_links import LONGEST_TEXT, opt_in_links
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


@pytest.mark.parametrize("text", [*TEXTS, "é" * 400])
def test_a_qr_code_is_read_back(text: str) -> None:
    link = opt_in_links(SENDER, text).web
    read = zxingcpp.read_barcode(rasterised(qr_svg(link)))
    assert read is not None
    assert (str(read.format), read.text) == ("QR Code", link)
    assert unquote(urlsplit(read.text).query).removeprefix("text=") == text


def test_a_link_that_no_qr_code_holds() -> None:
    with pytest.raises(ValueError, match="2,954 bytes"):
        qr_svg("x" * 2954)


def rasterised(svg: bytes, scale: int = 3) -> memoryview:
    """Return the drawing as grey pixels: the horizontal strokes and the filled square that it is made of."""
    root = ET.fromstring(svg)  # noqa: S314 - our own
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    group = root.find("{*}g")
    assert group is not None
    (module,) = map(int, re.findall(r"scale\((\d+)\)", group.attrib["transform"]))
    width, height = (int(root.attrib[name]) // module for name in ("width", "height"))
    pixels = bytearray(width * height * scale * scale)

    def paint(x: int, y: int, length: int, tint: int) -> None:
        for line in range(y * scale, (y + 1) * scale):
            at = line * width * scale + x * scale
            pixels[at : at + length * scale] = bytes([tint]) * (length * scale)

    ground, drawing = group.findall("{*}path")
    assert ground.attrib == {"fill": "#fff", "d": f"M0 0h{width}v{height}h-{width}z"}
    for y in range(height):
        paint(0, y, width, 255)
    assert drawing.attrib["stroke"] == "#000"
    x = y = 0.0
    for command, numbers in re.findall(r"([Mmh])([-\d. ]+)", drawing.attrib["d"]):
        first, *rest = (float(number) for number in numbers.split())
        if command == "h":
            paint(int(x), int(y), int(first), 0)
            x += first
        else:
            x, y = (first, rest[0]) if command == "M" else (x + first, y + rest[0])
    return memoryview(pixels).cast("B", (height * scale, width * scale))
