from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.failures import Kind, Outcome, Remedy
from broadcaster.domain.record import Reason, State
from broadcaster.ledger.outcomes import QUEUE_FULL_SECONDS, Decision, RetryPolicy, Stop, decide

POLICY = RetryPolicy()


def of(kind: Kind, remedy: Remedy, *, spent: int = 0, tries: int = 1, code: int = 12345) -> Decision:
    return decide(Outcome(kind, code=code), remedy, spent=spent, tries=tries, policy=POLICY, draw=0.5)


TABLE = {
    # kind, remedy: state, spends, what stops
    (Kind.REJECTED, Remedy.RECIPIENT): (State.DEAD, True, Stop.NOTHING),
    (Kind.REJECTED, Remedy.OPT_OUT): (State.DEAD, True, Stop.NOTHING),
    (Kind.REJECTED, Remedy.CONTENT): (State.DEAD, True, Stop.NOTHING),
    (Kind.REJECTED, Remedy.RETRY): (State.RETRY, True, Stop.NOTHING),
    (Kind.REJECTED, Remedy.SLOW_ACCOUNT): (State.RETRY, False, Stop.NOTHING),
    (Kind.REJECTED, Remedy.QUEUE_FULL): (State.RETRY, False, Stop.HOLD_LANE),
    (Kind.REJECTED, Remedy.SENDER): (State.RETRY, False, Stop.LANE),
    (Kind.REJECTED, Remedy.ACCOUNT): (State.RETRY, False, Stop.ACCOUNT),
    (Kind.REJECTED, Remedy.UNKNOWN): (State.IN_DOUBT, True, Stop.NOTHING),
}
for _remedy in Remedy:
    TABLE[Kind.ACCEPTED, _remedy] = (State.ACCEPTED, False, Stop.NOTHING)
    TABLE[Kind.UNKNOWN, _remedy] = (State.IN_DOUBT, True, Stop.NOTHING)
    for _kind in (Kind.THROTTLED, Kind.NOT_SENT):
        _stop = {Remedy.QUEUE_FULL: Stop.HOLD_LANE, Remedy.ACCOUNT: Stop.ACCOUNT}.get(_remedy, Stop.NOTHING)
        TABLE[_kind, _remedy] = (State.RETRY, False, _stop)


@pytest.mark.parametrize(("kind", "remedy"), list(itertools.product(Kind, Remedy)))
def test_every_kind_and_remedy_has_one_decision(kind: Kind, remedy: Remedy) -> None:
    decision = of(kind, remedy)
    assert (decision.state, decision.spends, decision.stop) == TABLE[kind, remedy]
    rejected = kind is Kind.REJECTED
    assert decision.opts_out == (rejected and remedy is Remedy.OPT_OUT)
    assert decision.about_content == (rejected and remedy is Remedy.CONTENT)
    assert decision.code == (0 if kind is Kind.ACCEPTED else 12345)


@given(
    kind=st.sampled_from([Kind.THROTTLED, Kind.NOT_SENT]),
    remedy=st.sampled_from(Remedy),
    spent=st.integers(0, 15),
    tries=st.integers(1, 60_000),
)
def test_what_surely_was_not_sent_never_ends_a_message(
    kind: Kind, remedy: Remedy, spent: int, tries: int
) -> None:
    decision = of(kind, remedy, spent=spent, tries=tries)
    assert (decision.state, decision.spends) == (State.RETRY, False)


@given(remedy=st.sampled_from(Remedy), spent=st.integers(0, 15), status=st.sampled_from([0, 408, 500, 503]))
def test_what_may_have_been_sent_is_only_ever_in_doubt(remedy: Remedy, spent: int, status: int) -> None:
    outcome = Outcome(Kind.UNKNOWN, http_status=status)
    decision = decide(outcome, remedy, spent=spent, tries=spent + 1, policy=POLICY)
    assert (decision.state, decision.spends) == (State.IN_DOUBT, True)
    assert decision.code == (status or Reason.NO_ANSWER)


def test_a_transient_refusal_is_tried_as_often_as_the_budget_says() -> None:
    states = [of(Kind.REJECTED, Remedy.RETRY, spent=spent).state for spent in range(6)]
    assert states == [State.RETRY] * 4 + [State.DEAD] * 2


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome(Kind.NOT_SENT), Reason.NOT_SENT),
        (Outcome(Kind.UNKNOWN), Reason.NO_ANSWER),
        (Outcome(Kind.THROTTLED, http_status=429), 429),
        (Outcome(Kind.REJECTED, code=21211, http_status=400), 21211),
    ],
)
def test_the_code_is_twilios_or_the_status_or_our_own(outcome: Outcome, code: int) -> None:
    decision = decide(outcome, Remedy.RECIPIENT, spent=0, tries=1, policy=POLICY)
    assert decision.code == code


@given(
    kind=st.sampled_from([Kind.THROTTLED, Kind.REJECTED]),
    remedy=st.sampled_from([Remedy.RETRY, Remedy.SLOW_ACCOUNT, Remedy.QUEUE_FULL]),
    wish=st.floats(0.1, 100_000),
)
def test_twilios_own_wish_is_waited_for(kind: Kind, remedy: Remedy, wish: float) -> None:
    outcome = Outcome(kind, code=20429, retry_after_seconds=wish)
    decision = decide(outcome, remedy, spent=0, tries=1, policy=POLICY)
    assert decision.delay_seconds >= wish


def test_a_full_queue_holds_its_lane_for_minutes() -> None:
    decision = of(Kind.THROTTLED, Remedy.QUEUE_FULL)
    assert decision.stop_seconds == decision.delay_seconds == QUEUE_FULL_SECONDS


@given(tries=st.integers(0, 100_000), draw=st.floats(0, 1, exclude_max=True))
def test_a_delay_is_jittered_below_a_doubling_ceiling(tries: int, draw: float) -> None:
    delay = POLICY.delay(tries, draw)
    assert 0.05 <= delay <= min(600.0, 2.0 * 2 ** min(tries, 20))
    assert delay == pytest.approx(max(0.05, draw * min(600.0, 2.0 * 2 ** min(tries, 20))))
