"""Who wrote to us on WhatsApp, as Twilio's list has it: read where no webhook tells us, within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from replying import TESTER
from windowing import BOTH, HOUR, OTHER, PERSON, SENDER, person, refused, scene

from broadcaster.domain.broadcast import OutsideWindow
from broadcaster.intake import inbox
from broadcaster.intake.windows import Windows
from broadcaster.ledger import inbound
from broadcaster.operations import broadcasts
from workers.inboxes import Inboxes

if TYPE_CHECKING:
    import pytest

    from broadcaster.store.connection import Store

SEND = OutsideWindow.SEND


async def test_who_writes_while_it_waits_is_known_without_a_webhook(store: Store) -> None:
    async with scene(store) as twilio:
        now = (await store.redis.time())[0]
        inboxes = Inboxes(store, twilio.rest)
        later = (await twilio.take([PERSON], BOTH, schedule_at=now + 3600.0)).broadcast
        left = (await twilio.take([PERSON], outside=SEND)).broadcast
        await twilio.start(left)
        await twilio.wrote(PERSON, 5)
        await inboxes.round()
        assert not await inbound.list_read_at(store, SENDER), "nothing depends on it now"
        await store.redis.zadd(store.keys.plain("scheduled"), {later: now + 30})
        await inboxes.round()
        assert await inbound.list_read_at(store, SENDER)
        await twilio.start(later)
        await twilio.work(later)
        assert twilio.sent()[-1] == "text"
        running = (await twilio.take([person(1)], BOTH)).broadcast
        await twilio.start(running)
        await twilio.wrote(person(1), 5)
        read = store.keys.plain(f"inbound:{SENDER}")
        await store.redis.zincrby(read, -inbox.FRESH_SECONDS, "@")
        await inboxes.round()
        await twilio.work(running)
        assert twilio.sent(person(1)) == ["text"]
        # whoever starts a draft by hand learns it first
        draft = (await twilio.take([person(2)], BOTH)).broadcast
        await twilio.wrote(person(2), 5)
        await store.redis.zincrby(read, -inbox.FRESH_SECONDS, "@")
        view = await broadcasts.start(store, TESTER, draft, windows=twilio.windows)
        assert view.state == "running"
        await twilio.work(draft)
        assert twilio.sent(person(2)) == ["text"]


async def test_many_people_are_looked_for_in_one_list_and_few_by_themselves(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [person(i) for i in range(inbox.FEW + 5)]
    monkeypatch.setattr(inbox, "PAGE_SIZE", 10)
    async with scene(store) as twilio:
        for who in many:
            await twilio.wrote(who, HOUR)
        done = await twilio.take(many)
        assert done.summary is not None
        assert done.summary.recipients == len(many)
        read = await inbound.list_read_at(store, SENDER)
        assert read
        # what was just read is not read again for a list; a few are asked for by themselves
        await twilio.wrote(PERSON, HOUR)
        assert len(await refused(twilio, [*many, *(person(100 + i) for i in range(30)), PERSON])) == 31
        assert await inbound.list_read_at(store, SENDER) == read
        assert not (await twilio.take([PERSON])).known
        monkeypatch.setattr(inbox, "PAGES_AT_MOST", 2)
        for i in range(100, 150):
            await twilio.wrote(person(i), HOUR, to=OTHER)
        found = await refused(twilio, [person(i) for i in range(100, 150)], lane=OTHER)
        assert len(found) == 30, "the last two pages are known"
        assert "more than 20 messages" in found[0].reason
        assert "--outside-window send" in found[0].reason
        assert await inbound.list_read_at(store, OTHER) == 0
        # nor is that read again for every two thousand rows of a list
        await twilio.wrote(person(170), HOUR, to=OTHER)
        found = await refused(twilio, [person(i) for i in range(100, 171)], lane=OTHER)
        assert len(found) == 51
        assert "more than 20 messages" in found[0].reason


async def test_what_can_not_be_asked_is_closed_and_says_so(store: Store) -> None:
    async with scene(store, list_fail_from_page=-1) as twilio:
        await twilio.wrote(PERSON, HOUR)
        (fault,) = await refused(twilio, [PERSON])
        assert "could not be read: Twilio answered HTTP 500" in fault.reason
        twilio.windows = Windows(store, None)
        (fault,) = await refused(twilio, [PERSON])
        assert "can't be asked without its credentials" in fault.reason
