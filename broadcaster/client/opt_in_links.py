"""Opt-in links: by which people write to a sender first."""

from __future__ import annotations

from typing import Any

from broadcaster.client.asking import Asking
from broadcaster.client.broadcasts import given


class LinkCalls(Asking):
    """What can be asked of opt-in links."""

    def opt_in_links(self, sender: str | None = None, text: str = "") -> list[dict[str, Any]]:
        """Return `sender`, `link` and `app_link` of one sender, or of every WhatsApp sender that is known.

        `text` is the first message that stands there already. Raises `ApiError` 422.
        """
        asked = given(sender=sender, text=text or None)
        found: list[dict[str, Any]] = self.json("GET", "/v1/opt-in-links", params=asked)["data"]
        return found

    def opt_in_qr(self, sender: str, text: str = "") -> bytes:
        """Return the QR code of a sender's link, an SVG document. Raises `ApiError` 422."""
        asked = given(sender=sender, text=text or None)
        return self.ask("GET", "/v1/opt-in-links/qr", params=asked).content
