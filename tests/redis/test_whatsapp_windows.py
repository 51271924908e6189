"""Free text on WhatsApp, from intake over a worker to Twilio: window open, closed, just closing while queued.

No webhook reports a reply here: what people wrote is known from Twilio's own list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from loading import counts, records
from windowing import BOTH, DAY, HOUR, OTHER, PERSON, SENDER, TEXT, Scene, person, refused, scene

from broadcaster.domain.broadcast import OutsideWindow
from broadcaster.domain.content import Content
from broadcaster.domain.evidence import Patience
from broadcaster.domain.record import Evidence, Reason, State
from broadcaster.domain.whatsapp_window import MARGIN_SECONDS
from broadcaster.intake.faults import ListRefusedError
from broadcaster.intake.rejects import StoredRejects
from broadcaster.intake.windows import Windows
from broadcaster.ledger import inbound
from broadcaster.ledger.pools import keep_pool, pool_of
from broadcaster.reporting.bodies import read_spec
from broadcaster.reporting.messages import read_message
from broadcaster.reporting.said import Said
from broadcaster.simulator.config import ServiceConfig
from broadcaster.telemetry.metrics import Metrics
from workers.settling import Settler, Settling

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

REFUSE, SEND = OutsideWindow.REFUSE, OutsideWindow.SEND
LAST = DAY - MARGIN_SECONDS
PICTURE = Content(media_urls=("https://example.com/a.png",))
PLACE = Content(body="here", options={"PersistentAction": "geo:48.2,16.4"})
#: What can come of a message: what Twilio was asked to send, and how the record ends.
ARRIVES, BY_TEMPLATE = ("text", State.DELIVERED, 0), ("template", State.DELIVERED, 0)
SKIPPED, TOO_LATE = ("", State.SKIPPED, Reason.WINDOW_CLOSED), ("text", State.UNDELIVERED, 63016)
REFUSED = ("refused",)


class Case(NamedTuple):
    """They wrote so long before the list was taken (None: never), and so long it waits for a worker."""

    end: tuple[Any, ...]
    wrote: int | None
    waits: int = 0
    content: Content = TEXT
    outside: OutsideWindow = REFUSE


CASES = {
    "open": Case(ARRIVES, HOUR),
    "open, media": Case(ARRIVES, HOUR, 0, PICTURE),
    "open, a place": Case(ARRIVES, HOUR, 0, PLACE),
    "open to the last": Case(ARRIVES, LAST - 60),
    "open, a template stands by": Case(ARRIVES, HOUR, 0, BOTH),
    "closed": Case(REFUSED, LAST),
    "closed, media": Case(REFUSED, LAST, 0, PICTURE),
    "closed, a place": Case(REFUSED, LAST, 0, PLACE),
    "never wrote": Case(REFUSED, None),
    "closed, left to Twilio": Case(TOO_LATE, DAY + HOUR, 0, TEXT, SEND),
    "never wrote, left to Twilio": Case(TOO_LATE, None, 0, TEXT, SEND),
    "closed, the template goes": Case(BY_TEMPLATE, LAST, 0, BOTH),
    "never wrote, the template goes": Case(BY_TEMPLATE, None, 0, BOTH),
    "closed, the template goes before it is left to Twilio": Case(BY_TEMPLATE, None, 0, BOTH, SEND),
    "closing while queued": Case(SKIPPED, HOUR, DAY),
    "closing while queued, within the margin": Case(SKIPPED, HOUR, LAST - HOUR),
    "nearly closing while queued": Case(ARRIVES, HOUR, LAST - HOUR - 60),
    "closing while queued, the template goes": Case(BY_TEMPLATE, HOUR, DAY, BOTH),
    "closing while queued, left to Twilio": Case(TOO_LATE, HOUR, DAY, TEXT, SEND),
}


async def _taken(twilio: Scene, who: str, case: Case) -> str:
    """Take a list of one person; return the broadcast, "" where it is refused."""
    if case.wrote is not None:
        await twilio.wrote(who, case.wrote)
    try:
        done = await twilio.take([who], case.content, case.outside)
    except ListRefusedError as refused:
        (fault,) = refused.shown
        assert SENDER in fault.reason
        assert "--fallback-content-sid" in fault.reason
        assert "only what we were told" not in fault.reason, "Twilio was asked"
        return ""
    assert done.summary is not None
    assert done.summary.by_fallback == (case.end is BY_TEMPLATE and not case.waits)
    if case.waits:
        await twilio.ages(who, case.waits)
    return done.broadcast


async def test_free_text_goes_within_24_hours(store: Store) -> None:
    who = {name: person(i) for i, name in enumerate(CASES)}
    found: dict[str, tuple[Any, ...]] = {}
    async with scene(store) as twilio:
        taken = {name: await _taken(twilio, who[name], case) for name, case in CASES.items()}
        bids = list(filter(None, taken.values()))
        await twilio.start(*bids)
        await twilio.work(*bids)
        await twilio.hear(*bids)
        for name, bid in taken.items():
            sent = twilio.sent(who[name])
            assert len(sent) <= 1, name
            if not bid:
                assert not sent, name
                found[name] = REFUSED
                continue
            (record,) = (await records(store, bid)).values()
            found[name] = (*(sent or [""]), record.state, record.code)
            assert record.attempt == len(sent), f"{name}: what is not sent never says `sending`"
            by_template = sent == ["template"]
            message = await read_message(store, f"{bid}.0.0.0")
            assert message is not None
            assert message[0].summary()["fallback"] == ("template" if by_template else None), name
            said = Said(await read_spec(store, bid)).whole(message[0])
            assert bool(said["content_sid"]) == by_template, name
            assert (said["body"] is None) == (by_template or CASES[name].content is PICTURE), name
    assert found == {name: case.end for name, case in CASES.items()}


async def test_who_wrote_again_while_it_was_queued_gets_the_text(store: Store) -> None:
    async with scene(store) as twilio:
        await twilio.wrote(person(1), HOUR)
        bid = (await twilio.take([person(1), person(2), person(3)], BOTH)).broadcast
        await twilio.ages(person(1), DAY)
        now = (await store.redis.time())[0]
        for who in (person(1), person(2)):
            await twilio.wrote(who, 1)
            await store.run_all(inbound.wrote(SENDER, {who: now - 1}))
        await twilio.start(bid)
        await twilio.work(bid)
        assert [twilio.sent(person(i)) for i in (1, 2, 3)] == [["text"], ["text"], ["template"]]


async def test_what_twilio_refutes_goes_again_once_as_the_template(store: Store) -> None:
    """We took the window for open; Twilio knows better, until they write again."""
    async with scene(store) as twilio:
        now = (await store.redis.time())[0]
        await store.run_all(inbound.wrote(SENDER, {person(i): now - HOUR for i in range(3)}))
        both = (await twilio.take([person(0)], BOTH)).broadcast
        text = (await twilio.take([person(1)])).broadcast
        await twilio.start(both, text)
        await twilio.work(both, text)
        assert twilio.sent(person(0)) == twilio.sent(person(1)) == ["text"]
        await twilio.hear(both, text)
        assert await counts(store, both) == {State.RETRY: 1}
        assert await counts(store, text) == {State.UNDELIVERED: 1}
        await twilio.work(both)
        await twilio.hear(both)
        assert twilio.sent(person(0)) == ["text", "template"]
        assert await counts(store, both) == {State.DELIVERED: 1}
        # others' windows stay as they were, and what they write opens it again
        for i, shut in ((0, True), (1, True), (2, False)):
            assert bool(await twilio.windows.closed(SENDER, [person(i)])) is shut
        await store.run_all(inbound.wrote(SENDER, {person(1): now + 1}))
        mark = store.keys.plain(f"inbound:{SENDER}")
        for member in await store.redis.zrange(mark, 0, -1):
            if member.startswith(b"!"):  # an hour later
                await store.redis.zincrby(mark, -HOUR, member)
        assert not await twilio.windows.closed(SENDER, [person(1)])


async def test_a_template_whose_answer_was_lost_is_not_sent_again(store: Store) -> None:
    """Its body is not that of the broadcast, and must not speak against it."""
    async with scene(store, recipients={PERSON: ["drop_after"]}) as twilio:
        bid = (await twilio.take([PERSON], BOTH)).broadcast
        await twilio.start(bid)
        await twilio.work(bid)
        assert await counts(store, bid) == {State.IN_DOUBT: 1}
        await Settler(store, twilio.rest, Settling(Patience(0.0, 0.0)), Metrics()).round()
        (record,) = (await records(store, bid)).values()
        assert (record.state, record.evidence, record.attempt) == (State.ACCEPTED, Evidence.LIST, 1)
        assert twilio.sent() == ["template"]


async def test_open_rows_go_where_faulty_ones_are_left_out(store: Store) -> None:
    """Each row of whom nobody knows to have written is faulty; text messages have no window."""
    service, pool = "MG" + "0" * 32, (SENDER, OTHER, "+14155550197")
    people = [person(1), "+14155560002", person(3), person(1), person(3), person(4)]
    async with scene(store) as twilio:
        for sender in (SENDER, OTHER):
            await twilio.wrote(person(1), HOUR, to=sender)
        await twilio.wrote(person(4), HOUR)
        done = await twilio.take(people, lane=service, pool=pool, rejects=StoredRejects())
        assert done.summary is not None
        found = done.summary
        assert (found.rows, found.recipients, found.duplicates, found.rejected) == (6, 2, 1, 3)
        faults = await refused(twilio, people, lane=service)
        assert [fault.line for fault in faults] == [3, 5, 6], "open with one sender of two is not open"
        assert all("each WhatsApp sender of MG" in fault.reason for fault in faults)


async def test_a_services_window_is_closed_once_any_of_its_senders_wasrefused(store: Store) -> None:
    service = "MG" + "0" * 32
    async with scene(store) as twilio:
        await twilio.wrote(PERSON, HOUR)
        bid = (await twilio.take([PERSON], lane=service, pool=(SENDER,))).broadcast
        now = (await store.redis.time())[0]
        await store.run_all(inbound.refused(service, {PERSON: now - 60}))
        await twilio.start(bid)
        await twilio.work(bid)
        assert await counts(store, bid) == {State.SKIPPED: 1}
        await store.run(keep_pool(service, ["+14155550197"]))
        twilio.windows = Windows(store, twilio.rest)  # a pool is read every few seconds
        (fault,) = await refused(twilio, [PERSON], lane=service)
        assert "no WhatsApp sender is in the pool" in fault.reason


async def test_nobody_is_refused_by_a_pool_that_was_not_read_lately(store: Store) -> None:
    """A rate was set for the service, so that nobody has read its pool; or another sender was in it then."""
    service = "MG" + "0" * 32
    config = {service: ServiceConfig(senders=(SENDER,))}
    async with scene(store, services=config) as twilio:
        await twilio.wrote(PERSON, HOUR)
        assert not (await twilio.take([PERSON], lane=service)).known
        assert (await pool_of(store, service)).names == (SENDER,)
        await store.run(keep_pool(service, (OTHER,), 0))
        await store.redis.hset(store.keys.lane(service), "members_at", 1)
        twilio.windows = Windows(store, twilio.rest)
        assert not (await twilio.take([PERSON], lane=service)).known
        (fault,) = await refused(twilio, [person(7)], lane=service)
        assert "only what we were told" not in fault.reason


async def test_what_starts_later_is_judged_by_then(store: Store) -> None:
    async with scene(store) as twilio:
        await twilio.wrote(PERSON, HOUR)
        now = (await store.redis.time())[0]
        assert not (await twilio.take([PERSON], schedule_at=now + 2.0 * HOUR)).known
        (fault,) = await refused(twilio, [PERSON], schedule_at=now + 23.0 * HOUR)
        assert "will be over by then" in fault.reason
