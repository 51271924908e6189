"""The start-up proof passes with the engine as it is, and fails when the engine would lie."""

from __future__ import annotations

import pytest

from broadcaster.domain.failures import Kind, Outcome
from broadcaster.twilio import answers, marks
from broadcaster.twilio.engine import Timeouts
from broadcaster.twilio.send import MessageSender


async def test_the_installed_engine_passes() -> None:
    async with MessageSender("AC0", ("AC0", "s")) as sender:
        await sender.self_test()


@pytest.mark.parametrize(
    ("mark", "complaint"),
    [
        ("client error (SendRequest)", "a close after the request looks not_sent"),
        ("operation timed out", "a missing answer looks not_sent"),
        ("client error (Konnect)", "a refused connection looks unknown"),
    ],
)
async def test_another_wording_is_noticed(mark: str, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "NEVER_CONNECTED", mark)
    with pytest.raises(marks.TransportMarksError, match=complaint):
        await marks.check_marks()


async def test_another_pool_error_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "outcome_of_failure", lambda _: Outcome(Kind.UNKNOWN))
    with pytest.raises(marks.TransportMarksError, match="two requests over one connection"):
        await marks.check_marks()


@pytest.mark.parametrize("timeouts", [(5, 5, 9), (5, 9, 9), (0, 1, 2), (5, 4, 9)])
def test_timeouts_whose_order_would_blur_the_marks_are_refused(timeouts: tuple[int, int, int]) -> None:
    connect, read, total = timeouts
    with pytest.raises(ValueError, match="timeouts must grow"):
        Timeouts(connect=connect, read=read, total=total)
