"""Outcomes and remedies travel through msgpack and metrics: their words are fixed."""

from __future__ import annotations

import msgspec
import pytest

from broadcaster.domain.failures import Kind, Outcome, Remedy


def test_the_five_ends_of_a_post() -> None:
    assert [str(kind) for kind in Kind] == ["accepted", "rejected", "throttled", "not_sent", "unknown"]


def test_the_remedies() -> None:
    assert {str(remedy) for remedy in Remedy} == {
        "recipient",
        "opt_out",
        "retry",
        "slow_account",
        "queue_full",
        "sender",
        "account",
        "content",
        "unknown",
    }


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(Kind.ACCEPTED, sid="SM" + "0" * 32, http_status=201, concurrent=7),
        Outcome(Kind.THROTTLED, code=20429, http_status=429, retry_after_seconds=0.5),
        Outcome(Kind.UNKNOWN, detail="no answer within 35 s"),
    ],
)
def test_an_outcome_survives_msgpack_and_cannot_be_changed(outcome: Outcome) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(outcome), type=Outcome) == outcome
    with pytest.raises(AttributeError):
        outcome.code = 1  # type: ignore[misc]
