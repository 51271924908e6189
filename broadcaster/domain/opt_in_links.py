"""Links by which a person writes to a sender first, with a text already there: who writes first has agreed.

`wa.me` and `whatsapp://send` are WhatsApp's (its help page "Click to chat": the number in international form,
digits only, the text percent-encoded); `sms:` is RFC 5724, whose body Android and iOS take.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from broadcaster.domain.addresses import AddressError, Channel
from broadcaster.domain.senders import SenderKind, parse_sender

#: WhatsApp's longest message.
LONGEST_TEXT: Final = 4096
_SILENT: Final = frozenset({SenderKind.ALPHANUMERIC, SenderKind.SERVICE})


@dataclass(frozen=True, slots=True)
class OptInLinks:
    """The links of one sender: `web` opens anywhere, and is what a QR code holds; `app` only in WhatsApp."""

    sender: str
    web: str
    app: str | None = None

    def summary(self) -> dict[str, str | None]:
        """Return the object of `links --json` and the API."""
        return {"sender": self.sender, "link": self.web, "app_link": self.app}


def opt_in_links(sender: str, text: str = "") -> OptInLinks:
    """Return the links to write to `sender`, with `text` as the first message, "" for none.

    Raises AddressError for a sender that nobody can write to, ValueError for a text that is too long.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"the text has {len(text):,} characters, and a message at most {LONGEST_TEXT:,}")
    try:
        encoded = quote(text, safe="")
    except UnicodeEncodeError:
        raise ValueError("the text is no Unicode: it holds half of a character") from None
    found = parse_sender(sender)
    if found.kind in _SILENT:
        what = "a name" if found.kind is SenderKind.ALPHANUMERIC else "a messaging service"
        raise AddressError(f"nobody can write to {what}: name a number, short code or whatsapp: sender")
    if found.channel is Channel.WHATSAPP:
        digits = found.name.removeprefix("whatsapp:+")
        web, app = f"https://wa.me/{digits}", f"whatsapp://send?phone={digits}"
        return OptInLinks(
            found.name,
            f"{web}?text={encoded}" if text else web,
            f"{app}&text={encoded}" if text else app,
        )
    return OptInLinks(found.name, f"sms:{found.name}?body={encoded}" if text else f"sms:{found.name}")
