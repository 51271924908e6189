"""The poster: a line drawn under what is in flight, and a yes that waits too long for a connection."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, cast

from broadcaster.domain.failures import Kind, Outcome
from broadcaster.domain.handing import TooSoonError
from broadcaster.domain.record import State
from broadcaster.lanes.claims import Item, Slice
from broadcaster.ledger.outcomes import RetryPolicy
from workers.clock import lease_clock
from workers.outgoing import Message
from workers.plan import Held, Speed
from workers.posting import Poster
from workers.routes import Route

if TYPE_CHECKING:
    from workers.contents import Batch


class Twilio:
    """Answers when told to, the requests in their order."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []

    async def post(self, form: bytes) -> Outcome:
        self.waiting.append(asyncio.get_running_loop().create_future())
        await self.waiting[-1]
        return Outcome(kind=Kind.ACCEPTED, sid="SM" + form.hex().zfill(32))


class Forms:
    flag = 0
    route = Route("+1", "sms")

    def form(self, row: int, _attempt: int) -> bytes:
        return bytes([row])


async def until(count: int, twilio: Twilio) -> None:
    while len(twilio.waiting) < count:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0)


def messages(first: int, count: int) -> list[Message]:
    items = [Item(row, 1, 0, 0) for row in range(first, first + count)]
    held = Held(Slice("c", "+1", "b", "0.0", 0.0, 0.0, items), 0.0, began=0.0)
    return [Message(held, item, cast("Batch", Forms())) for item in items]


class NotYet(Forms):
    def form(self, row: int, _attempt: int) -> bytes:
        raise TooSoonError(300.0 + row)


async def test_what_would_leave_early_is_not_sent_and_waits() -> None:
    twilio = Twilio()
    poster = Poster(twilio, concurrency=1, policy=RetryPolicy(), ended=lambda _: None)
    poster.lease_until = lease_clock() + 60
    poster.start()
    (message,) = messages(7, 1)
    poster.approve([message._replace(batch=cast("Batch", NotYet()))])
    while not poster.has_results():  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0)
    (ended,) = poster.take_results()
    (result,) = ended.outcomes
    assert (result.state, result.delay_us, result.spend) == (State.RETRY, 307_000_000, 0)
    assert not twilio.waiting
    await poster.stop()


async def test_a_line_is_crossed_by_who_was_in_flight_alone() -> None:
    twilio = Twilio()
    poster = Poster(twilio, concurrency=4, policy=RetryPolicy(), ended=lambda _: None)
    poster.lease_until = lease_clock() + 60
    poster.start()
    assert poster.draw_line().is_set(), "nothing is in flight"
    poster.approve(messages(0, 2))
    await until(2, twilio)
    first = poster.draw_line()
    poster.approve(messages(2, 1))
    await until(3, twilio)
    second = poster.draw_line()
    for place, expected in ((2, (False, False)), (0, (False, False)), (1, (True, True))):
        twilio.waiting[place].set_result(None)
        while poster.in_flight > sum(not f.done() for f in twilio.waiting):  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert (first.is_set(), second.is_set()) == expected, place
    await poster.stop()


async def test_a_later_line_waits_for_who_started_between() -> None:
    twilio = Twilio()
    poster = Poster(twilio, concurrency=4, policy=RetryPolicy(), ended=lambda _: None)
    poster.lease_until = lease_clock() + 60
    poster.start()
    poster.approve(messages(0, 1))
    await until(1, twilio)
    first = poster.draw_line()
    poster.approve(messages(1, 1))
    await until(2, twilio)
    second = poster.draw_line()
    twilio.waiting[0].set_result(None)
    await first.wait()
    assert not second.is_set()
    twilio.waiting[1].set_result(None)
    await second.wait()
    await poster.stop()


async def test_a_yes_that_has_waited_too_long_for_a_connection_is_not_used() -> None:
    twilio = Twilio()
    poster = Poster(twilio, concurrency=1, policy=RetryPolicy(), ended=lambda _: None)
    poster.lease_until = lease_clock() + 60
    poster.start()
    first, old, good = messages(0, 3)
    now = monotonic()
    poster.approve([first, old._replace(good_until=now - 0.001), good._replace(good_until=now + 60)])
    await until(1, twilio)
    twilio.waiting[0].set_result(None)
    await until(2, twilio)
    (told,) = poster.take_results()
    assert [(end.row, end.state) for end in told.outcomes] == [(0, State.ACCEPTED), (1, State.RETRY)]
    assert told.outcomes[1].spend == 0, "it was not sent, so it costs nothing"
    twilio.waiting[1].set_result(None)
    while poster.in_flight:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0)
    assert [end.row for end in poster.take_results()[0].outcomes] == [2]
    await poster.stop()


def test_a_worker_can_send_what_it_has_connections_for_and_what_may_be_late() -> None:
    poster = Poster(Twilio(), concurrency=64, policy=RetryPolicy(), ended=lambda _: None)
    poster.allowance._usual = 0.25
    assert poster.speed() == Speed(256.0, 64 + 10)
    poster.in_flight = 60
    poster.ready.extend(messages(0, 10))
    assert poster.speed() == Speed(256.0, 4)
    poster.in_flight, poster.allowance.now = 0, 0
    poster.ready.clear()
    assert poster.speed() == Speed(0.0, 1), "a try is left to who rests"


def test_where_twilio_is_slow_few_have_a_yes() -> None:
    poster = Poster(Twilio(), concurrency=64, policy=RetryPolicy(), ended=lambda _: None)
    assert poster.allowance.ready == 128, "nothing was slow so far"
    for seconds, expected in ((0.05, 128), (0.1, 64), (0.5, 12), (2.0, 3), (60.0, 1)):
        poster.allowance._usual = seconds
        assert poster.allowance.ready == expected
