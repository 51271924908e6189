"""QR codes (ISO/IEC 18004) as SVG: of one path, dark on light, of any size without a blur."""

from __future__ import annotations

import io
from typing import Final

#: What a code of the largest size holds of bytes, at the two levels of error correction that are tried.
MOST_BYTES: Final = 2953
_MODULE: Final = 8
_QUIET_ZONE: Final = 4


def qr_svg(text: str) -> bytes:
    """Return a QR code of `text` as an SVG document. Raises ValueError for more than it can hold.

    With error correction M (a seventh may be dirty) where that fits, else L.
    """
    import segno  # noqa: PLC0415 - only who makes one needs it
    from segno.encoder import DataOverflowError  # noqa: PLC0415

    for level in ("m", "l"):
        try:
            made = segno.make_qr(text, error=level, boost_error=False)
            break
        except DataOverflowError:
            continue
    else:
        raise ValueError(
            f"the link has {len(text.encode()):,} bytes, and a QR code holds at most {MOST_BYTES:,}: "
            "take a shorter text"
        )
    out = io.BytesIO()
    made.save(out, kind="svg", scale=_MODULE, border=_QUIET_ZONE, light="#fff", svgclass=None, lineclass=None)
    return out.getvalue()
