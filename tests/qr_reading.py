"""Reads a QR code back out of its SVG, by a decoder that has nothing in common with its maker."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import zxingcpp


def read_qr(svg: bytes) -> str:
    """Return what the one QR code of a drawing says; fail where there is none."""
    read = zxingcpp.read_barcode(rasterised(svg))
    assert read is not None
    assert str(read.format) == "QR Code"
    return str(read.text)


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
    here = (0.0, 0.0)
    for command, numbers in re.findall(r"([Mmh])([-\d. ]+)", drawing.attrib["d"]):
        first, *rest = (float(number) for number in numbers.split())
        if command == "h":
            paint(int(here[0]), int(here[1]), int(first), 0)
            here = (here[0] + first, here[1])
        else:
            here = (first, rest[0]) if command == "M" else (here[0] + first, here[1] + rest[0])
    return memoryview(pixels).cast("B", (height * scale, width * scale))
