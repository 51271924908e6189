"""The table of codes is total: every code the project knows of, every remedy, every reason has its words."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from broadcaster.domain.failures import Remedy
from broadcaster.domain.record import Reason
from broadcaster.twilio.codes import CODES, class_of, lookup, meaning

#: Codes that can answer a Create Message call, as documented by Twilio (error dictionary, 2026).
REQUEST = """
    20001 20003 20005 20006 20008 20010 20012 20403 20404 20409 20422 20429 20500 20503 20504 10001
    10002 21472 21211 21212 21214 21265 21266 21267 21268 21408 21601 21602 21619 21603 21604 21606
    21607 21608 21609 21610 21611 21612 21614 21616 21617 21618 21620 21623 21621 21622 21624 90007
    30045 21635 21653 21654 21655 21656 21657 21658 21659 21660 21661 21662 21663 21668 21664 21665
    21666 21667 21701 21702 21705 21703 21704 21708 21709 21711 21910 30029 30030 35111 35114 35115
    35118 35126 35125 63007 63038 60728 14107
"""
#: Codes that arrive after a message was accepted.
DELIVERY = """
    30001 30002 30003 30004 30005 30006 30007 30008 30010 30011 30017 30018 30040 30041 30019 30020
    30021 30022 30023 30027 30024 30035 30032 30033 30034 30036 30037 30038 30039 30042 30043 30044
    30046 30103 30410 30450 30453 30485 30454 30500 30610 30615 30620 30630 30640 63001 63008 63020
    63051 63002 63003 63005 63006 63013 63021 63030 63034 63009 63010 63012 63014 63015 63016 63017
    63018 63019 63024 63026 63027 63028 63029 63040 63041 63042 63053 63054 63031 63032 63033 63050
    63035 63036 63049 63052 63058 63059
"""


def test_every_documented_code_has_an_entry() -> None:
    assert {int(code) for code in REQUEST.split()} - set(CODES) == set()
    assert {int(code) for code in DELIVERY.split()} - set(CODES) == set()


def test_the_delivery_flag_follows_where_a_code_is_documented() -> None:
    assert not any(CODES[int(code)].delivery for code in REQUEST.split())
    assert all(CODES[int(code)].delivery for code in DELIVERY.split())


def test_every_remedy_is_reachable() -> None:
    assert {code.remedy for code in CODES.values()} == set(Remedy)


def test_meanings_are_one_short_line() -> None:
    for code in CODES.values():
        assert 5 < len(code.meaning) < 100, code
        assert re.search(r"[\n+]|\.$", code.meaning) is None, code


def test_codes_fit_in_a_record() -> None:
    assert all(1000 <= code < 1 << 24 for code in CODES)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_of_ours_has_words(reason: Reason) -> None:
    assert bool(meaning(reason)) is (reason is not Reason.NONE)
    assert lookup(reason).code == reason
    assert "_" not in meaning(reason)


@pytest.mark.parametrize(
    ("code", "about"),
    [
        (0, None),
        (30003, "retry"),
        (30005, "recipient"),
        (30007, "content"),
        (30032, "sender"),
        (30410, "unknown"),
        (30630, "opt_out"),
        (63033, "opt_out"),
        (63050, "opt_out"),
        (21211, "recipient"),
        (503, "unknown"),
        (Reason.OPTED_OUT, "opt_out"),
        (Reason.RENDERING, "content"),
        (Reason.CANCELED, None),
        (Reason.SCHEDULED_CANCELED, None),
        (99, None),
    ],
)
def test_a_code_is_about_something(code: int, about: str | None) -> None:
    assert class_of(code) == about


def test_every_number_has_an_answer() -> None:
    for number in [*range(1100), 9_999, 99_999, 1 << 24]:
        code = lookup(number)
        assert code.code == number
        assert code.meaning or number == 0


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (204, Remedy.UNKNOWN),
        (302, Remedy.ACCOUNT),
        (400, Remedy.ACCOUNT),
        (401, Remedy.ACCOUNT),
        (403, Remedy.ACCOUNT),
        (404, Remedy.ACCOUNT),
        (408, Remedy.UNKNOWN),
        (413, Remedy.ACCOUNT),
        (429, Remedy.SLOW_ACCOUNT),
        (500, Remedy.UNKNOWN),
        (503, Remedy.UNKNOWN),
        (599, Remedy.UNKNOWN),
    ],
)
def test_a_bare_status_stops_the_account_unless_it_may_pass(status: int, remedy: Remedy) -> None:
    assert lookup(status).remedy is remedy
    assert str(status) in meaning(status)


def test_an_unknown_code_concerns_its_recipient_only() -> None:
    assert lookup(29_999).remedy is Remedy.RECIPIENT
    assert lookup(29_999, 400).remedy is Remedy.RECIPIENT
    assert "29999" in meaning(29_999)


def test_an_unknown_code_with_401_or_403_concerns_the_account() -> None:
    assert [lookup(29_999, status).remedy for status in (401, 403)] == [Remedy.ACCOUNT] * 2


def test_what_depends_on_the_recipient_never_stops_a_sender() -> None:
    """No route, no geographic permission, unsupported country: the next recipient may be fine."""
    pairs = Counter(CODES[code].remedy for code in (21408, 21612, 21657, 21703, 21635, 21614))
    assert set(pairs) == {Remedy.RECIPIENT}
