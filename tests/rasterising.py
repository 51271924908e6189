"""A QR code's SVG as pixels, for a decoder: drawn by what stands in the SVG, not by what made it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET


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
    left = top = 0.0
    for command, numbers in re.findall(r"([Mmh])([-\d. ]+)", drawing.attrib["d"]):
        first, *rest = (float(number) for number in numbers.split())
        if command == "h":
            paint(int(left), int(top), int(first), 0)
            left += first
        else:
            left, top = (first, rest[0]) if command == "M" else (left + first, top + rest[0])
    return memoryview(pixels).cast("B", (height * scale, width * scale))
