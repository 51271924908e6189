"""Every code of WhatsApp's: what it is about, what its sender does, whether the message goes again, and when.

From facts that Twilio publishes: its error pages and its table of WhatsApp's own codes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import pytest

from broadcaster.domain.failures import Kind, Outcome, Remedy
from broadcaster.domain.fallback import UNREACHABLE
from broadcaster.domain.opt_out_scopes import MARKETING_OPT_OUTS
from broadcaster.domain.record import State
from broadcaster.domain.resending import PASSING, Resending, most_times, wait_seconds
from broadcaster.domain.whatsapp_window import OUTSIDE
from broadcaster.ledger.outcomes import RetryPolicy, decide
from broadcaster.twilio.codes import CODES, lookup, meaning
from workers.following import HOLDS_LANE, STOPS_LANE, opts_out
from workers.slowing import CHANNEL_LIMIT, HOLDS_SECONDS, Slowed, slowed

STOP, SLOW, NOTHING = "stops", "slows", "goes on"
OUT, NO_MARKETING = "opt-out", "opt-out of marketing"


class Row(NamedTuple):
    """`again`: seconds until it goes again by itself, and how often; None: never.

    `may`: it goes again where BROADCASTER_RESEND_CODES names it. `person`: what is remembered of the person.
    `sms`: an SMS follows.
    """

    remedy: str
    lane: str = NOTHING
    again: tuple[float, int] | None = None
    may: bool = False
    person: str = ""
    sms: bool = False


ROWS: Final[dict[int, Row]] = {
    63001: Row("sender", STOP),
    63002: Row("sender", STOP),
    63003: Row("recipient", sms=True),
    63005: Row("content"),
    63006: Row("content"),
    63007: Row("sender"),  # at the request: there it stops its lane
    63008: Row("sender", STOP),
    63009: Row("retry", may=True),
    63010: Row("retry", may=True),
    63012: Row("retry", may=True),
    63013: Row("content"),
    63014: Row("opt_out", person=OUT),
    63015: Row("recipient"),
    63016: Row("content"),  # as the fallback template, once: test_whatsapp_window
    63017: Row("slow_account"),
    63018: Row("queue_full", SLOW, may=True),
    63019: Row("retry", again=(60, 1)),
    63020: Row("sender", STOP),
    63021: Row("content"),
    63024: Row("recipient", sms=True),
    63026: Row("sender", STOP),
    63027: Row("content"),
    63028: Row("content"),
    63029: Row("content"),
    63030: Row("content"),
    63031: Row("recipient"),
    63032: Row("recipient"),
    63033: Row("opt_out", person=NO_MARKETING),
    63034: Row("content"),
    63035: Row("recipient"),
    63036: Row("recipient"),
    63038: Row("account"),
    63040: Row("content"),
    63041: Row("content"),
    63042: Row("content"),
    63049: Row("recipient"),
    63050: Row("opt_out", person=NO_MARKETING),
    63051: Row("sender", STOP),
    63052: Row("content"),
    63053: Row("retry", again=(600, 3)),
    63054: Row("content"),
    63058: Row("recipient"),
    63059: Row("sender", STOP),
}


def test_every_code_of_whatsapp_has_its_row() -> None:
    assert {code for code in CODES if 63000 <= code < 63100} == set(ROWS)


@pytest.mark.parametrize("code", ROWS)
def test_what_follows_from_it(code: int) -> None:
    row = ROWS[code]
    assert lookup(code).remedy == row.remedy
    lane = STOP if code in STOPS_LANE else SLOW if code == CHANNEL_LIMIT or code in HOLDS_LANE else NOTHING
    assert lane == row.lane
    again = None
    if Resending().goes_again(code):
        again = (wait_seconds(code, 0, 0.0), most_times(code, 5))
    assert again == row.again
    assert (code in PASSING) is row.may
    person = NO_MARKETING if code in MARKETING_OPT_OUTS else OUT if opts_out(code) else ""
    assert person == row.person
    assert (code in UNREACHABLE) is row.sms


def test_hints_say_what_to_do() -> None:
    assert 'text "join …" to 1 415 523 8886' in meaning(63015)
    assert "template" in meaning(63016)
    assert "not again within a day" in meaning(63049)
    assert OUTSIDE == 63016


@pytest.mark.parametrize(
    ("code", "spent", "expected"),
    [
        (63053, 0, (State.RETRY, 600)),
        (63053, 2, (State.RETRY, 600)),
        (63053, 3, (State.DEAD, 0)),
        (63019, 0, (State.RETRY, 60)),
        (63019, 1, (State.DEAD, 0)),
        (63049, 0, (State.DEAD, 0)),
        (63024, 0, (State.DEAD, 0)),
        (63012, 0, (State.RETRY, 0.05)),
    ],
)
def test_the_same_at_the_request(code: int, spent: int, expected: tuple[State, float]) -> None:
    outcome = Outcome(kind=Kind.REJECTED, code=code, http_status=400)
    decision = decide(
        outcome, lookup(code).remedy, spent=spent, tries=spent + 1, policy=RetryPolicy(), draw=0.0
    )
    assert (decision.state, decision.delay_seconds) == expected
    assert lookup(63007).remedy is Remedy.SENDER


def test_a_channels_limit_is_its_rate_first_and_then_the_messaging_limit() -> None:
    hold = Slowed()
    assert hold.after(0, 1000) == hold, "it left long ago"
    first = hold.after(990, 1000)
    assert first == Slowed(0, 1060)
    assert first.after(1030, 1050) == first, "it left before the minute was over"
    second = first.after(1061, 1070)
    assert second == Slowed(1, 1670)
    third = second.after(1671, 1700)
    assert third == Slowed(2, 1700 + 86_400)
    assert third.after(third.until + 1, third.until + 2) == Slowed(2, third.until + 2 + 86_400)
    assert second.after(1670 + 3601, 9000) == Slowed(0, 9060), "that is another story"
    assert slowed(b"1:1670.000") == second
    assert slowed(None) == Slowed()
    assert HOLDS_SECONDS[-1] == 86_400
