"""Replies as they are kept: told to endpoints, found again, removed without a trace."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from unittest import mock

from asking import asking, told
from driving import LANE, everything, join, send_all
from loading import load, number
from replying import (
    LONG_CODE,
    PERSON,
    RULES,
    SHORT_CODE,
    WHATSAPP,
    newest,
    write,
)

from broadcaster.domain.replies import digest_of
from broadcaster.events.payloads import events_of, look_up
from broadcaster.events.stream import Entry
from broadcaster.ledger.inbound import Asked, read_marks
from broadcaster.ledger.removing_replies import remove_older
from broadcaster.ledger.replies import remove_replies, replies_of
from broadcaster.operations import replies as acts
from broadcaster.reporting.replies import ReplyView, page

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

# -- events


async def test_an_endpoint_is_told_the_text_unless_it_is_gone(store: Store) -> None:
    await asking(store, "reply.received")
    await write(store, "hello <you>", sid="SM1")
    raw = await store.redis.xrange(store.keys.plain("events"))
    assert b"hello" not in raw[0][1][b"e"]
    assert PERSON[1:].encode() not in raw[0][1][b"e"], "what is kept until it is sent names nobody"
    entries = [Entry("1-0", 1, tuple(await told(store)))]

    async def data() -> dict[str, Any]:
        known = await look_up(store, entries, ("reply.received",))
        (event,) = events_of(entries, known, ("reply.received",))
        found: dict[str, Any] = json.loads(event.body)["data"]
        return found

    found = await data()
    assert (found["id"], found["from"], found["body"]) == ("SM1", PERSON, "hello <you>")
    await remove_replies(store, ["SM1"])
    assert await data() == {"id": "SM1"}


# -- what is kept


async def test_a_reply_is_kept_whole_and_nothing_of_it_is_logged(store: Store) -> None:
    picture = {"MediaUrl0": "https://api.twilio.com/x", "MediaContentType0": "image/png"}
    more: dict[str, Any] = {**picture, "ProfileName": "Ada", "Latitude": "1.5", "Longitude": "2.5"}
    with mock.patch.object(acts, "log") as log:
        await write(store, "my secret is 42", **more)
    (view,) = await newest(store)
    shown = view.summary()
    assert (shown["body"], shown["profile_name"]) == ("my secret is 42", "Ada")
    assert shown["media"] == [{"url": "https://api.twilio.com/x", "type": "image/png"}]
    assert shown["location"] == {"latitude": "1.5", "longitude": "2.5", "address": None, "label": None}
    assert abs(shown["received_at"] - time.time()) < 60
    (line,) = map(str, log.mock_calls)
    assert view.reply.id in line
    assert not any(text in line for text in (PERSON[1:], LONG_CODE[1:], "secret", "Ada", "api.twilio"))


async def test_the_message_that_it_most_likely_answers_is_found(store: Store) -> None:
    other = await load(store, {LANE: 3}, first=1)
    await join(store)
    assert await send_all(store) == 3
    bid = await load(store, {LANE: 3})
    assert await send_all(store) == 3
    unsent = await load(store, {LANE: 3}, begin=False)
    # the older one's message left last: a retry, say
    key = store.keys.ledger(other, "0.0")
    late = await store.redis.getrange(key, 32 * 1, 32 * 2 - 1)
    began = int.from_bytes(late[24:28], "big") + 60
    await store.redis.setrange(key, 32 + 24, began.to_bytes(4, "big"))
    for person, lane, expected in (
        (number(1), LANE, f"{bid}.0.0.1"),
        (number(2), LANE, f"{other}.0.0.1"),
        (number(3), LANE, f"{other}.0.0.2"),
        (number(1), SHORT_CODE, ""),
        (number(9), LANE, ""),
    ):
        await write(store, "hello", person=person, to=lane)
        assert (await newest(store))[0].reply.message == expected
    await store.redis.setrange(store.keys.ledger(bid, "0.0"), 32 * 2 + 8, b"\xaa" * 16)
    await write(store, "this", person=number(2), to=LANE, OriginalRepliedMessageSid="SM" + "aa" * 16)
    assert (await newest(store))[0].reply.message == f"{bid}.0.0.2", "it says which"
    shown = (await newest(store, people=[number(3)]))[0].summary()
    assert shown["broadcast"] == other != unsent


async def test_pages_show_everybody_once_the_newest_first(store: Store) -> None:
    for i in range(7):
        await write(store, "please stop" if i % 2 else f"hello {i}", person=number(i % 3))
    for wanted, expected in (
        ({}, 7),
        ({"flagged": True}, 3),
        ({"people": [number(0)]}, 3),
        ({"people": [number(0)], "flagged": True}, 1),
        ({"people": [number(9)]}, 0),
        ({"people": [number(0), number(1)]}, 5),
        ({"since": time.time() + 60}, 0),
        ({"since": time.time() - 60}, 7),
    ):
        found: list[ReplyView] = []
        after = None
        for _ in range(9):
            views, after = await page(store, limit=2, after=after, **wanted)
            found += views
            if after is None:
                break
            await write(store, "meanwhile", person=number(8))
        times = [view.at_ms for view in found]
        assert times == sorted(times, reverse=True)
        found = [view for view in found if view.reply.person != number(8)]
        assert len({view.reply.id for view in found}) == len(found) == expected


async def test_replies_of_one_millisecond_are_told_apart(store: Store) -> None:
    for i in range(5):
        await write(store, "hello", person=f"whatsapp:{PERSON}" if i % 2 else PERSON)
    people = (PERSON, f"whatsapp:{PERSON}")
    order = store.keys.plain("replies")
    await store.redis.zadd(order, dict.fromkeys(await store.redis.zrange(order, 0, -1), 1000))
    for name in await store.redis.zrange(order, 0, -1):
        await store.redis.hset(store.keys.reply(name.decode()), "at", 1000)
        for one in people:
            digest = store.keys.plain(f"replies:of:{digest_of(one)}")
            await store.redis.zadd(digest, {name: 1000}, xx=True)
    for wanted in ((), people):
        found, after = [], None
        for _ in range(5):
            views, after = await page(store, limit=1, after=after, people=wanted)
            found += [view.reply.id for view in views]
        assert after is None
        assert len(set(found)) == 5


async def test_no_key_names_anybody_and_what_is_removed_is_gone(store: Store) -> None:
    fresh = set(await everything(store))
    for body in ("hello", "STOP", "please stop", "HELP"):
        await write(store, body, RULES, to=SHORT_CODE)
        await write(store, body, RULES, to=SHORT_CODE, person=number(5))
    assert not [key for key in await everything(store) if PERSON[1:] in key]
    ids = await replies_of(store, PERSON)
    assert len(ids) == 4
    assert (await page(store, limit=9, people=[PERSON]))[0][0].reply.id == ids[0]
    assert await remove_replies(store, ids) == 4
    assert await remove_replies(store, ids) == 0
    left = {key: value for key, value in (await everything(store)).items() if "optouts" not in key}
    assert PERSON not in str(left)
    assert digest_of(PERSON) not in str(left)
    assert len(await newest(store)) == 4
    assert await remove_older(store, time.time() - 60) == 0
    assert await remove_older(store, time.time() + 60) == 4
    left = {key: value for key, value in (await everything(store)).items() if "optouts" not in key}
    assert set(left) - fresh <= {store.keys.plain("server")}


async def last_inbound(store: Store, sender: str, people: list[str]) -> dict[str, int]:
    (found,) = (await read_marks(store, [Asked(sender, (sender,), people)])).marks
    return {who: mark.wrote for who, (mark,) in zip(people, found, strict=True) if mark.wrote}


async def test_when_somebody_wrote_last_is_known_for_a_day(store: Store) -> None:
    await write(store, "hello", to=WHATSAPP, person=f"whatsapp:{PERSON}")
    await write(store, "hello", to=WHATSAPP, person=f"whatsapp:{number(5)}")
    people = [f"whatsapp:{PERSON}", PERSON, f"whatsapp:{number(5)}"]
    found = await last_inbound(store, WHATSAPP, people)
    assert set(found) == {people[0], people[2]}
    assert abs(found[people[0]] - time.time()) < 60
    mark = store.keys.plain(f"inbound:{WHATSAPP}")
    await store.redis.zincrby(mark, -86_401, digest_of(people[0]))
    assert await last_inbound(store, LONG_CODE, people) == await last_inbound(store, WHATSAPP, []) == {}
    await write(store, "again", to=WHATSAPP, person=people[2])
    assert await store.redis.zcard(mark) == 1, "what is older than a day goes"
    assert 86_000 < await store.redis.ttl(mark) <= 86_400


async def test_removing_an_old_reply_leaves_the_mark_of_a_later_one(store: Store) -> None:
    await write(store, "hello", sid="SM1")
    await store.redis.hincrby(store.keys.reply("SM1"), "at", -5_000)
    await write(store, "hello", sid="SM2")
    await remove_replies(store, ["SM1"])
    assert set(await last_inbound(store, LONG_CODE, [PERSON])) == {PERSON}
    await remove_replies(store, ["SM2"])
    assert await last_inbound(store, LONG_CODE, [PERSON]) == {}
