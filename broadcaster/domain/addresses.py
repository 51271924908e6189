"""Addresses are plain `str` in Twilio's form: `+14155550100` or `whatsapp:+14155550100`.

A million of them are read, compared and packed, so they stay strings; this module is the only door
through which other spellings come in.
"""

from __future__ import annotations

import enum
import re
from typing import Final

import phonenumbers

from broadcaster.domain.spreadsheet_numbers import RoundedError, as_typed, out_of_formula

# E.164: at most 15 digits, no leading zero; 7 is the shortest that any country uses with its code.
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_ADDRESS: Final = re.compile(r"(?:whatsapp:)?\+[1-9][0-9]{6,14}")
_BARE: Final = re.compile(r"[1-9][0-9]{6,14}")
_PREFIX: Final = re.compile(r"(whatsapp:|tel:|)\s*(.*)", re.IGNORECASE | re.DOTALL)
# Full-width plus, and the hyphens, dashes and minus sign that word processors put for "-".
_PLUS: Final = ("+", "\uff0b")
_FOREIGN: Final = re.compile("[^\\d\\s+\uff0b().\\-/\u2010-\u2015\u2212]")
# Spaces of print (narrow, of a digit's width) and hyphens that phonenumbers doesn't know.
_SPACE: Final = re.compile(r"[^\S\r\n]")
_HYPHENS: Final = {0xAD: "-", 0xFF0D: "-", 0xFE63: "-"}
_MASKABLE: Final = re.compile(r"(?<![0-9A-Za-z])[0-9]{7,}(?![0-9A-Za-z])")
# Invisible marks that spreadsheets and chat programs leave around a number, and Excel's "text" apostrophe.
_WRAPPING: Final = "\ufeff\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069'"
_LONG_NUMBER: Final = 11


class AddressError(ValueError):
    """An address or sender that cannot be used; the message says why and what to write instead."""


class Channel(enum.StrEnum):
    """What carries a message; recipient and sender must be on the same one."""

    SMS = "sms"
    WHATSAPP = "whatsapp"


_SMS: Final = Channel.SMS
_WHATSAPP: Final = Channel.WHATSAPP


def is_e164(text: str) -> bool:
    """Tell whether `text` has exactly the shape `+` and 7 to 15 digits. Says nothing about existence."""
    return _E164.fullmatch(text) is not None


def parse_address(text: str, region: str | None = None) -> str:
    """Return the address that `text` means, in Twilio's form.

    Strict E.164 (with or without `whatsapp:`) is taken by its shape alone. Anything else is read as
    people and spreadsheets write numbers; a national number needs `region` (ISO 3166 letters, `US`) and every
    number must be possible in its country's plan. Digits that are no number of `region`, but one with a plus
    before them, have lost that to a spreadsheet. Raises AddressError.
    """
    if _ADDRESS.fullmatch(text) is not None:
        return text
    return _parse_written(text, region)


def channel_written(text: str) -> Channel:
    """Return the channel that a text names, however a spreadsheet wrapped it; it need be no number."""
    return Channel.WHATSAPP if _unwrapped(text).lower().startswith("whatsapp:") else Channel.SMS


def _unwrapped(text: str) -> str:
    return out_of_formula(text.strip().strip(_WRAPPING).strip()).strip(_WRAPPING).strip()


def with_plus(text: str) -> str:
    """Return a number or sender out of a query or path with its `+`: written as it is, %2B, space or not.

    What is too short for a number (a short code), or no number at all, stays as it is.
    """
    bare = text.strip()
    scheme, number = ("whatsapp:", bare[9:]) if bare.lower().startswith("whatsapp:") else ("", bare)
    number = number.removeprefix("%2B").removeprefix("%2b").strip()
    return scheme + (f"+{number}" if _BARE.fullmatch(number) else number)


def _parse_written(text: str, region: str | None) -> str:
    bare = _unwrapped(text)
    if not bare:
        raise AddressError("there is no number here")
    match = _PREFIX.fullmatch(bare)
    scheme, number = (match[1].lower(), match[2].strip(_WRAPPING)) if match else ("", bare)
    try:
        number = as_typed(number)
    except RoundedError as error:
        raise AddressError(f"{error}. Format its column as text, and export again") from None
    number = _SPACE.sub(" ", number).translate(_HYPHENS)
    foreign = _FOREIGN.search(number)
    if foreign:
        raise AddressError(f"{foreign[0]!r} does not belong in a number: write it like +14155550100")
    if region is None and not number.startswith(_PLUS):
        hint = " (a spreadsheet may have taken its plus off)" if _BARE.fullmatch(number) else ""
        raise AddressError(
            f"no country code{hint}: write it like +14155550100, or name the country with --region"
        )
    plain = _to_e164(number, region)
    return f"whatsapp:{plain}" if scheme == "whatsapp:" else plain


def _lost_plus(digits: str) -> phonenumbers.PhoneNumber | None:
    """Return the number that digits are with a plus before them; None if that is none."""
    try:
        parsed = phonenumbers.parse(f"+{digits}", None)
    except phonenumbers.NumberParseException:
        return None
    return parsed if phonenumbers.is_valid_number(parsed) else None


def _with_or_without_plus(
    digits: str, own: phonenumbers.PhoneNumber, region: str
) -> phonenumbers.PhoneNumber:
    """Choose between `own`, the number that digits are in `region`, and the one that lost its plus.

    Only a cell that became a number has lost it, so it is all digits. Digits that begin with the region's own
    country code and are numbers both ways (in Germany 491601234567) could be two people's.
    """
    is_own = phonenumbers.is_valid_number(own)
    own_code = str(phonenumbers.country_code_for_region(region.upper()))
    if is_own and not (digits.startswith(own_code) and own.national_number == int(digits)):
        return own
    with_plus_back = _lost_plus(digits)
    if is_own and with_plus_back is not None:
        raise AddressError(
            "this may be a number without its country code, or one whose plus a spreadsheet took off: "
            "write it like +14155550100"
        )
    return with_plus_back or own


_NOT_POSSIBLE: Final = {
    phonenumbers.ValidationResult.INVALID_COUNTRY_CODE: "no country has this country code",
    phonenumbers.ValidationResult.TOO_SHORT: "too short for its country",
    phonenumbers.ValidationResult.TOO_LONG: "too long for its country",
    phonenumbers.ValidationResult.INVALID_LENGTH: "the wrong length for its country",
    phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "the area code is missing",
}


def _to_e164(number: str, region: str | None) -> str:
    try:
        parsed = phonenumbers.parse(number, region.upper() if region else None)
    except phonenumbers.NumberParseException as error:
        if error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE and region:
            hint = "unknown country code, or --region is not a country like US"
        elif error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE:
            hint = "no country has this country code"
        else:
            hint = "not a telephone number"
        raise AddressError(f"{hint}: write it like +14155550100") from None
    if region and _BARE.fullmatch(number):
        parsed = _with_or_without_plus(number, parsed, region)
    reason = _NOT_POSSIBLE.get(phonenumbers.is_possible_number_with_reason(parsed))
    plain: str = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if reason is None and not is_e164(plain):
        reason = "not a number that can be messaged"
    if reason:
        raise AddressError(f"{reason}: write it like +14155550100")
    return plain


def channel_of(address: str) -> Channel:
    """Return the channel of an address that `parse_address` gave."""
    return _WHATSAPP if address[0] == "w" else _SMS


def digits_of(address: str) -> int:
    """Return the digits of an address that `parse_address` gave, below 10**15: its key for de-duplication."""
    return int(address[9:]) if address[0] == "w" else int(address)


def mask(text: str) -> str:
    """Hide the middle of every number in `text`: `+1415•••0100`, `whatsapp:+1415•••0100`."""
    return _MASKABLE.sub(_mask_digits, text)


def _mask_digits(match: re.Match[str]) -> str:
    digits = match[0]
    kept = 4 if len(digits) >= _LONG_NUMBER else 2
    return f"{digits[:kept]}•••{digits[-kept:]}"
