"""SMS in place of WhatsApp messages: how they are shown, kept, and removed with their broadcast."""

from __future__ import annotations

import gzip
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from driving import ask, join, send_all, take
from falling_back import (
    CONTENT,
    SENDER,
    WHATSAPP,
    child,
    fail,
    follow,
    out,
    person,
    state,
)
from loading import counts, load, number

from broadcaster.cli.waiting import settled
from broadcaster.domain.broadcast import BroadcastSpec, Priority
from broadcaster.domain.content import Content, SmsFallback
from broadcaster.domain.forgotten import addresses_of
from broadcaster.domain.purpose import Purpose
from broadcaster.domain.record import State
from broadcaster.domain.send_window import SendWindow
from broadcaster.intake.streams import remove_streams, retire
from broadcaster.lanes import control
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.ledger.forgetting import forget_in_batches
from broadcaster.ledger.people import find_places
from broadcaster.operations import broadcasts, removals
from broadcaster.operations.actor import Actor
from broadcaster.operations.errors import Conflict
from broadcaster.operations.retention import remove_old
from broadcaster.reporting.archive import archive
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.reporting.messages import read_message

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

ACTOR = Actor("person:test", "here")


async def test_each_names_the_other_and_nobody_is_counted_twice(store: Store) -> None:
    bid = await out(store, 3)
    await fail(store, bid, 0, 63024, 63024)
    await follow(store)
    sms = await child(store, bid)
    one, two = await read_message(store, f"{bid}.0.0.1"), await read_message(store, f"{sms}.0.0.0")
    assert one
    assert two
    assert (one[0].fallback_id, one[0].fallback_of) == (f"{sms}.0.0.0", None)
    assert (two[0].fallback_id, two[0].fallback_of) == (None, f"{bid}.0.0.1")
    assert (two[0].to, two[0].sender, two[0].variables) == (number(1), SENDER, {})
    view = await read_broadcast(store, bid)
    assert view
    assert view.fallbacks
    assert (view.total, sum(view.counts.values())) == (3, 3)
    assert view.fallbacks.summary()["total"] == 2
    assert view.fallbacks.counts == {State.QUEUED: 2}
    assert not settled(view.summary())
    assert "no worker" not in view.waits_for[SENDER]
    await send_all(store)
    view = await read_broadcast(store, bid)
    assert view
    assert view.fallbacks
    assert view.state == "completed"
    assert (view.fallbacks.counts, settled(view.summary())) == ({State.ACCEPTED: 2}, True)


async def test_the_sms_says_what_it_shall_on_its_broadcasts_terms(store: Store) -> None:
    # never near the last minute of the day, which it leaves out
    window = SendWindow(0, 1439, "UTC" if datetime.now(UTC).hour < 12 else "Etc/GMT+12")
    content = Content(content_sid="HX" + "0" * 32, sms=SmsFallback(SENDER, "Moved"), media_urls=())
    bid = await out(
        store, content=content, send_window=window, purpose=Purpose.MARKETING, priority=Priority.URGENT
    )
    await fail(store, bid, 63024)
    await follow(store)
    sms = await child(store, bid)
    raw = await store.redis.hget(store.keys.broadcast(sms), "spec")
    spec = msgspec.msgpack.decode(raw, type=BroadcastSpec)
    assert spec.content == Content(body="Moved")
    assert (spec.purpose, spec.priority, spec.send_window) == (Purpose.MARKETING, Priority.URGENT, window)
    assert await store.redis.hexists(store.keys.broadcast(sms), "windows")
    assert await store.redis.sismember(store.keys.plain("windowed"), sms)


async def test_an_archive_has_both(store: Store) -> None:
    bid = await out(store, 2)
    await fail(store, bid, 63024, 0)
    await follow(store)
    await send_all(store)
    view = await read_broadcast(store, bid)
    assert view
    packed = b"".join([piece async for piece in archive(store, view)])
    head, *lines = [json.loads(line) for line in gzip.decompress(packed).splitlines()]
    assert head["broadcast"]["total"] + head["broadcast"]["fallbacks"]["total"] == len(lines) == 3
    assert [line["body"] for line in lines] == ["Hi", "Hi", "Hi by SMS"]
    assert (lines[0]["fallback"], lines[2]["fallback_of"]) == ("sms", lines[0]["id"])


@pytest.mark.parametrize(
    "how", ["retention", *(pytest.param(how, marks=pytest.mark.slow) for how in ("delete", "remove"))]
)
async def test_the_people_of_the_sms_go_with_their_broadcasts(store: Store, how: str) -> None:
    bid = await out(store)
    await fail(store, bid, 63024)
    await follow(store)
    sms = await child(store, bid)
    with pytest.raises(Conflict):
        await broadcasts.delete(store, ACTOR, bid)
    await send_all(store)
    assert await remove_streams(store, 0) == 0
    assert await store.run(retire(sms, 0)) == "parent"
    if how == "delete":
        await broadcasts.delete(store, ACTOR, bid)
    elif how == "remove":
        await removals.remove(store, ACTOR, bid)
    else:
        await remove_old(store, 1, now_s=time.time() + 3 * 86_400)
    redis: Any = store.redis
    left = [key.decode() async for key in redis.scan_iter(f"*{sms}*")]
    assert left == []
    assert not (await find_places(store, [number(0)]))[number(0)]
    assert not await redis.zscore(store.keys.plain("streams"), sms)


async def test_forgetting_the_person_forgets_the_sms(store: Store) -> None:
    bid = await out(store)
    await fail(store, bid, 63024)
    await follow(store)
    await forget_in_batches(store, addresses_of(number(0)))
    assert await counts(store, await child(store, bid)) == {State.SKIPPED: 1}
    found = await read_message(store, f"{bid}.0.0.0")
    assert found
    assert found[0].fallback_id is None


async def test_whom_an_sms_reaches_does_not_stop_the_campaign(store: Store) -> None:
    await store.run(control.set_stop_rule(0.2, after=10, window=100))
    for content, expected in ((CONTENT, "running"), (Content(body="Hi"), "paused")):
        bid = await load(store, {WHATSAPP: 40}, batch=20, content=content, address=person)
        await join(store)
        (held, *_) = await take(store, records=20)
        await ask(store, held)
        said = [
            Status(bid, held.batch, item.row, 1, f"SM{item.row:032x}", "failed", 63024) for item in held.items
        ]
        await store.run(write_statuses(said))
        assert await state(store, bid) == expected
        await store.run(control.cancel(bid, "by request"))
