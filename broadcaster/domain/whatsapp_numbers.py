"""Numbers that WhatsApp writes in two ways: who is written to at the one may answer from the other.

Mexico's mobile numbers had a 1 behind the country's code until 2019, Argentina's have a 9 there that only
callers from abroad dial, and Brazil's got a ninth digit in front, a 9, which accounts from before go without.
WhatsApp goes by how the account was made, and Twilio tells a reply's `From` as WhatsApp has it: a list's
`whatsapp:+525512345678` answers as `whatsapp:+5215512345678`. No two people share the forms of one number:
Brazil's landlines, which never had the digit, begin with 2 to 5.
"""

from __future__ import annotations

import re
from typing import Final

_WHATSAPP: Final = "whatsapp:+"
_PREFIXES: Final = tuple(_WHATSAPP + code for code in ("52", "54", "55"))
#: Each form of a number as (start, rest), and what stands between them in the longer one.
_FORMS: Final = (
    (re.compile(r"(whatsapp:\+52)(1?)([2-9]\d{9})"), "1"),
    (re.compile(r"(whatsapp:\+54)(9?)([1-8]\d{9})"), "9"),
    (re.compile(r"(whatsapp:\+55[1-9]\d)(9?)([6-9]\d{7})"), "9"),
)


def forms_of(address: str) -> tuple[str, ...]:
    """Return an address and then how else WhatsApp may name the same person; most have one form only."""
    if address.startswith(_PREFIXES):
        for form, between in _FORMS:
            found = form.fullmatch(address)
            if found:
                start, has, rest = found.groups()
                return address, start + ("" if has else between) + rest
    return (address,)


def folded(address: str) -> str:
    """Return the one form by which somebody is remembered, whichever an address has: the longer."""
    return max(forms_of(address), key=len) if address.startswith(_PREFIXES) else address
