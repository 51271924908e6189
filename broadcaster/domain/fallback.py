"""Whom an SMS reaches in WhatsApp's stead: the codes that it follows, and what it says.

Only codes which say both that the message surely did not arrive and that WhatsApp can't reach this number:

- 63024: the number is no WhatsApp user's, or one that WhatsApp doesn't let us write to (Twilio's error page)
- 63003: the channel doesn't know the recipient's address

No SMS follows what may still arrive (30410, timeouts), what the recipient wants (63014 blocked, 63033 and
63050 no marketing, 63049 and 63032 held back by Meta: an SMS would go round that), what is about the content
or its window (63016: a template goes instead), nor what a join or a rate settles (63015, 63018).
"""

from __future__ import annotations

from typing import Final

from broadcaster.domain.content import Content

#: The same as in store/lua/prelude.lua.
UNREACHABLE: Final = frozenset((63003, 63024))
#: Parameters of Create Message that the SMS has, too.
KEPT_OPTIONS: Final = frozenset(("AddressRetention", "ContentRetention", "ValidityPeriod"))
#: The column of an SMS that names the WhatsApp message in whose place it goes; no variable is called so.
FALLBACK_OF: Final = "fallback of"


def sms_content(content: Content) -> Content | None:
    """Return what the SMS says, None where none follows.

    It is text alone: media, template and most parameters of Create Message are the WhatsApp message's. What
    says how long it may try, or how little is kept of it, holds for both.
    """
    if content.sms is None:
        return None
    kept = {name: value for name, value in content.options.items() if name in KEPT_OPTIONS}
    return Content(body=content.body if content.sms.body is None else content.sms.body, options=kept)
