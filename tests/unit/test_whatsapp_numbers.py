"""The two forms of numbers that WhatsApp writes otherwise than their owners."""

from __future__ import annotations

import pytest

from broadcaster.domain.forgotten import addresses_of
from broadcaster.domain.whatsapp_numbers import folded, forms_of


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("+525512345678", "+5215512345678"),  # Mexico
        ("+541123456789", "+5491123456789"),  # Argentina
        ("+553188887777", "+5531988887777"),  # Brazil, an account from before the ninth digit
    ],
)
def test_both_forms_are_one_person(short: str, long: str) -> None:
    both = {f"whatsapp:{short}", f"whatsapp:{long}"}
    for one in both:
        assert (forms_of(one)[0], set(forms_of(one))) == (one, both)
        assert folded(one) == f"whatsapp:{long}"
    assert set(addresses_of(short)) == {short, *both}


@pytest.mark.parametrize(
    "address",
    [
        "whatsapp:+14155550100",
        "+525512345678",  # no WhatsApp
        "+5215512345678",
        "whatsapp:+52155123456",  # too short
        "whatsapp:+52155123456789",
        "whatsapp:+553133334444",  # a landline of Brazil
        "whatsapp:+5531933334444",  # which nobody had without the 9
        "whatsapp:+5511",
        "whatsapp:US.13491208655302741918",
        "",
    ],
)
def test_all_others_have_one_form(address: str) -> None:
    assert forms_of(address) == (address,)
    assert folded(address) == address
