"""Every spelling that comes in ends as one string, or says what is wrong with it."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.addresses import (
    AddressError,
    Channel,
    channel_of,
    digits_of,
    is_e164,
    mask,
    parse_address,
)

E164 = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)
ADDRESS = st.builds("{}{}".format, st.sampled_from(["", "whatsapp:"]), E164)
BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("+14155550100", None, "+14155550100"),
        ("whatsapp:+14155550100", None, "whatsapp:+14155550100"),
        (" +1 (415) 555-0100\t", None, "+14155550100"),
        ("+1.415.555.0100", None, "+14155550100"),
        ("tel:+1-415-555-0100", None, "+14155550100"),
        ("TEL: +14155550100", None, "+14155550100"),
        ("WhatsApp: +1 415 555 0100", None, "whatsapp:+14155550100"),
        ("whatsapp:(415) 555-0100", "US", "whatsapp:+14155550100"),
        ("(415) 555-0100", "US", "+14155550100"),
        ("415/555/0100", "us", "+14155550100"),
        ("1 415 555 0100", "US", "+14155550100"),
        ("011 44 20 7946 0958", "US", "+442079460958"),
        ("020 7946 0958", "GB", "+442079460958"),
        ("+44 (0)20 7946 0958", None, "+442079460958"),
        ("+44 20 7946 0958", "US", "+442079460958"),
        ("06 12 34 56 78", "FR", "+33612345678"),
        ("'+14155550100", None, "+14155550100"),
        (BYTE_ORDER_MARK + "+14155550100", None, "+14155550100"),
        ("\N{LEFT-TO-RIGHT EMBEDDING}+1 415 555 0100\N{POP DIRECTIONAL FORMATTING}", None, "+14155550100"),
        ("+1\N{NO-BREAK SPACE}415\N{NO-BREAK SPACE}555\N{NON-BREAKING HYPHEN}0100", None, "+14155550100"),
        ("\N{FULLWIDTH PLUS SIGN}14155550100", None, "+14155550100"),
        (
            "+41\N{NARROW NO-BREAK SPACE}79\N{FIGURE SPACE}123\N{SOFT HYPHEN}45\N{MINUS SIGN}67",
            None,
            "+41791234567",
        ),
        ('="+41791234567"', None, "+41791234567"),
        ('="+41791234567', None, "+41791234567"),  # the other quote is gone with those of the line
        ('="whatsapp:+41791234567"', None, "whatsapp:+41791234567"),
        ("='+41791234567", None, "+41791234567"),
        ("+41791234567.0", None, "+41791234567"),
        ("4155550100,00", "US", "+14155550100"),
        ("4.1791234567E+10", "US", "+41791234567"),  # every digit is there
        ("4,17912345670e10", "US", "+41791234567"),
        ("41791234567", "US", "+41791234567"),  # too long for the US: its plus is lost
        ("41791234567", "CH", "+41791234567"),
        ("whatsapp:41791234567", "FR", "whatsapp:+41791234567"),
        ("4155550100", "US", "+14155550100"),  # would be Swiss with a plus, but is of the region named
        ("791234567", "CH", "+41791234567"),
        ("+999999999999", None, "+999999999999"),  # the fast path asks for the shape alone
    ],
)
def test_what_people_write(text: str, region: str | None, expected: str) -> None:
    assert parse_address(text, region) == expected


@pytest.mark.parametrize(
    ("text", "region", "wrong"),
    [
        ("", None, "no number"),
        (" \t", "US", "no number"),
        (BYTE_ORDER_MARK, "US", "no number"),
        ("whatsapp:", None, "no country code"),
        ("whatsapp:", "US", "not a telephone number"),
        ("4155550100", None, "no country code"),
        (
            "41791234567",
            None,
            "no country code .a spreadsheet may have taken its plus off.: .*--region",
        ),
        ("4915112345678", "DE", "may be a number without its country code, or one whose plus"),
        (
            "4.15E+10",
            "US",
            "rounded this number: the last 8 of its 11 digits are lost. Format its column as text",
        ),
        ("4,15E+10", None, "the last 8 of its 11 digits are lost"),
        ("4.1555501e10", "US", "the last 3 of its 11 digits are lost"),
        ("4.17912345671E+10", "US", "rounded this number. Format"),
        ("4E+99", "US", "rounded this number. Format"),
        ("=1+1", "US", "'=' does not belong|too short|not a telephone|area code"),
        ("00447911123456", None, "no country code"),
        ("n/a", "US", "'n' does not belong"),
        ("1-800-FLOWERS", "US", "'F' does not belong"),
        ("+1 415 555 0100 ext 5", None, "'e' does not belong"),
        ("+14155550100;+14155550101", None, "';' does not belong"),
        ("ann@example.com", "US", "does not belong"),
        ("messenger:+14155550100", None, "does not belong"),
        ("1.41556E+10", "US", "spreadsheet"),
        ("1,41556e10", None, "spreadsheet"),
        ("+1 415 555", None, "too short"),
        ("555 0100", "US", "area code is missing"),
        ("+1 415 555 0100 22", None, "too long"),
        ("+99 9999 9999", None, "country code"),
        ("+0 415 555 0100", None, "country code"),
        ("415 555 0100", "XX", "--region is not a country"),
        ("+", None, "not a telephone number"),
        ("()", "US", "not a telephone number"),
        ("+" + "1" * 300, None, "not a telephone number"),
        ("+14155550100\n+14155550101", None, "not a telephone number"),
    ],
)
def test_what_cannot_be_a_number(text: str, region: str | None, wrong: str) -> None:
    with pytest.raises(AddressError, match=wrong):
        parse_address(text, region)


@given(ADDRESS)
def test_an_address_is_left_as_it_is(address: str) -> None:
    assert parse_address(address) == parse_address(address, "US") == address


@given(st.text(), st.sampled_from([None, "US", "GB", "XX"]))
def test_anything_ends_as_an_address_or_an_error(text: str, region: str | None) -> None:
    try:
        address = parse_address(text, region)
    except AddressError as error:
        assert str(error)  # noqa: PT017 -- both ends are right
    else:
        assert is_e164(address.removeprefix("whatsapp:"))


@given(st.sampled_from(["US", "GB", "FR", "DE", "BR", "IN", "JP", "IT"]), st.data())
def test_every_format_of_a_number_is_the_same_address(region: str, data: st.DataObject) -> None:
    number = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    assert number is not None
    expected = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    style = data.draw(
        st.sampled_from(
            [phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.NATIONAL]
        )
    )
    assert parse_address(phonenumbers.format_number(number, style), region) == expected


@pytest.mark.parametrize(
    "text",
    [
        "14155550100",
        "+04155550100",
        "+123456",
        "+1234567890123456",
        "+14155550100\n",
        "+1415555\N{ARABIC-INDIC DIGIT ZERO}100",
        "whatsapp:+14155550100",
    ],
)
def test_what_is_not_strict_e164(text: str) -> None:
    assert not is_e164(text)


@given(E164)
def test_channel_and_digits(number: str) -> None:
    assert channel_of(number) is Channel.SMS
    assert channel_of(f"whatsapp:{number}") is Channel.WHATSAPP
    assert f"+{digits_of(number)}" == f"+{digits_of(f'whatsapp:{number}')}" == number
    assert digits_of(number) < 10**15


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+14155550100", "+1415•••0100"),
        ("whatsapp:+14155550100", "whatsapp:+1415•••0100"),
        ("+1234567", "+12•••67"),
        ("to +14155550100 from +442079460958", "to +1415•••0100 from +4420•••0958"),
        ("12345", "12345"),
        ("ACME", "ACME"),
        ("MG" + "0123456789abcdef" * 2, "MG" + "0123456789abcdef" * 2),
    ],
)
def test_mask(text: str, expected: str) -> None:
    assert mask(text) == expected


@given(ADDRESS)
def test_a_masked_number_never_shows_more_than_eight_digits(address: str) -> None:
    masked = mask(address)
    assert sum(map(str.isdigit, masked)) <= min(8, len(address.removeprefix("whatsapp:")) - 4)
    assert mask(masked) == masked
