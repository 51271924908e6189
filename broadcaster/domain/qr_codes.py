"""QR codes (ISO/IEC 18004) as SVG: of one path, dark on light, of any size without a blur."""

from __future__ import annotations

import functools
import io
from typing import Final

#: Of more, a code has so many modules that cameras give up on a print; the format itself ends at 2,331.
MOST_BYTES: Final = 1000
_KEPT: Final = 64
_MODULE: Final = 8
_QUIET_ZONE: Final = 4


@functools.lru_cache(maxsize=_KEPT)
def qr_svg(text: str) -> bytes:
    """Return a QR code of `text`, which is ASCII, as an SVG document. Raises ValueError for too long a text.

    With error correction M: a seventh of it may be dirty. The longest takes 80 ms of CPU, once.
    """
    import segno  # noqa: PLC0415 - only who makes one needs it

    if len(text) > MOST_BYTES:
        raise ValueError(
            f"the link has {len(text):,} bytes, and a QR code that can be read at most {MOST_BYTES:,}: "
            "take a shorter text"
        )
    made = segno.make_qr(text, error="m", boost_error=False)
    out = io.BytesIO()
    made.save(out, kind="svg", scale=_MODULE, border=_QUIET_ZONE, light="#fff", svgclass=None, lineclass=None)
    return out.getvalue()
