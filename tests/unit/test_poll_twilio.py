"""Asking Twilio one by one and from its list, where it slows us down or has much that is not ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.domain.record import State
from broadcaster.twilio.resources import Message, MessagePage
from broadcaster.twilio.rest import TwilioError, TwilioUnreachable
from workers.poll_ledgers import Awaited
from workers.poll_twilio import BARREN_PAGES, FAILED_AT_MOST, PAGE_SIZE, THROTTLED_AT_MOST, Asking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

BUSY = TwilioError(429, 20429, retry_after_seconds=0.0)
BROKEN = TwilioError(503, 20503, retry_after_seconds=0.0)
BEGAN = 1_795_276_800


def sid(number: int) -> str:
    return f"SM{number:032x}"


def awaited(count: int) -> list[Awaited]:
    return [Awaited("b", "0.0", i, 1, State.ACCEPTED, BEGAN, sid(i)) for i in range(count)]


class Twilio:
    """Answers with these errors first; its list has `strangers` pages before ours."""

    def __init__(self, *errors: Exception, strangers: int = 0, ours: Sequence[int] = ()) -> None:
        self.errors = list(errors)
        self.strangers = strangers
        self.ours = ours
        self.pages: list[dict[str, Any]] = []
        self.fetched: list[str] = []

    async def fetch(self, sid: str) -> Message:
        if self.errors:
            raise self.errors.pop(0)
        self.fetched.append(sid)
        return Message(sid=sid, status="delivered")

    async def message_pages(
        self, *, sent_after: str | None = None, sent_before: str | None = None, page_size: int = 0
    ) -> AsyncIterator[MessagePage]:
        assert page_size == PAGE_SIZE
        days = {k: v for k, v in (("sent_after", sent_after), ("sent_before", sent_before)) if v}
        # what is asked for by days leaves the newer ones out
        for _ in range(0 if days else self.strangers):
            self.pages.append(days)
            yield MessagePage(messages=(Message(sid=sid(10**9)),), next_page_uri="/more")
        if self.errors:
            raise self.errors.pop(0)
        self.pages.append(days)
        found = tuple(Message(sid=sid(i), status="sent") for i in self.ours)
        yield MessagePage(messages=found, next_page_uri=None)


class Told:
    def __init__(self) -> None:
        self.of: dict[int, str | None] = {}

    async def __call__(self, one: Awaited, message: Message | None) -> None:
        assert one.row not in self.of, "once each"
        self.of[one.row] = None if message is None else message.status


def asking(twilio: Twilio, told: Told) -> Asking:
    return Asking(twilio, told, rate=1e6, at_once=4)


async def test_who_got_a_429_is_asked_for_again() -> None:
    twilio, told = Twilio(BUSY, BUSY, BUSY), Told()
    asked = asking(twilio, told)
    await asked.one_by_one(awaited(9))
    assert asked.refused is None
    assert told.of == dict.fromkeys(range(9), "delivered")


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (TwilioUnreachable("no answer"), 1),
        (TwilioError(401, 20003), 1),
        (TwilioError(500, 20500), FAILED_AT_MOST),
        (TwilioError(404), FAILED_AT_MOST),
    ],
)
async def test_errors_that_are_not_one_messages_end_the_round(error: Exception, times: int) -> None:
    """A 404 without Twilio's code is a wrong address, not a message that was deleted."""
    twilio, told = Twilio(*[error] * times), Told()
    asked = asking(twilio, told)
    await asked.one_by_one(awaited(100))
    assert asked.refused is error
    assert len(told.of) < 5


async def test_one_that_twilio_cant_tell_of_keeps_no_other_from_being_asked_for() -> None:
    twilio, told = Twilio(TwilioError(500, 20500)), Told()
    asked = asking(twilio, told)
    await asked.one_by_one(awaited(9))
    assert asked.refused is None
    assert len(told.of) == 8


async def test_a_message_that_was_deleted_is_told_as_none() -> None:
    twilio, told = Twilio(TwilioError(404, 20404)), Told()
    await asking(twilio, told).one_by_one(awaited(2))
    assert sorted(told.of.values(), key=str) == [None, "delivered"]


async def test_ever_more_429_leave_twilio_alone() -> None:
    twilio, told = Twilio(*[BUSY] * 100), Told()
    asked = asking(twilio, told)
    await asked.one_by_one(awaited(3))
    assert asked.refused is BUSY
    assert THROTTLED_AT_MOST < 100 - len(twilio.errors) <= THROTTLED_AT_MOST + 4


async def test_a_list_full_of_others_is_read_once_more_by_days() -> None:
    twilio, told = Twilio(strangers=1000, ours=range(50)), Told()
    left = await asking(twilio, told).from_list(awaited(60), many=10)
    assert len(twilio.pages) == BARREN_PAGES + 1
    assert twilio.pages[-1] == {"sent_after": "2026-11-21", "sent_before": "2026-11-23"}
    assert [one.row for one in left] == list(range(50, 60))
    assert told.of == dict.fromkeys(range(50), "sent")


async def test_few_are_not_looked_for_among_so_many_others() -> None:
    twilio, told = Twilio(strangers=1000), Told()
    assert len(await asking(twilio, told).from_list(awaited(9), many=10)) == 9
    assert len(twilio.pages) == BARREN_PAGES


async def test_a_list_that_answers_5xx_twice_is_done_without() -> None:
    twilio, told = Twilio(BROKEN, BROKEN, ours=range(9)), Told()
    asked = asking(twilio, told)
    left = await asked.from_list(awaited(9), many=1)
    assert (len(left), asked.refused, twilio.pages) == (9, None, [])
    await asked.one_by_one(left)
    assert told.of == dict.fromkeys(range(9), "delivered")


async def test_a_list_that_answers_5xx_once_is_read_again() -> None:
    twilio, told = Twilio(BROKEN, strangers=2, ours=range(9)), Told()
    assert await asking(twilio, told).from_list(awaited(9), many=1) == []
    assert (told.of, twilio.fetched) == (dict.fromkeys(range(9), "sent"), [])


async def test_a_list_that_answers_429_half_way_is_begun_again() -> None:
    twilio, told = Twilio(BUSY, strangers=2, ours=range(3)), Told()
    assert await asking(twilio, told).from_list(awaited(3), many=1) == []
    assert len(twilio.pages) == 5
