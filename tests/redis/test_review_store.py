"""What a review found at the scripts and at intake."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from driving import LANE, join
from loading import counts, load, records

from broadcaster.domain.content import Content
from broadcaster.domain.record import State
from broadcaster.domain.senders import SenderKind
from broadcaster.intake import submit
from broadcaster.intake.senders import Lane
from broadcaster.intake.submit import Submission
from broadcaster.intake.table import Chunk
from broadcaster.lanes import claims, control
from broadcaster.store.ending import end
from broadcaster.store.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.store.connection import Store

ORDER = Submission(
    name="short", content=Content(body="Hi"), lanes=(Lane("12345", SenderKind.SHORT_CODE, 100.0, "default"),)
)


class ShortList:
    """Two recipients."""

    name = "short"
    position = "line"
    encoding = None
    notes = ()

    def __iter__(self) -> Iterator[Chunk]:
        yield Chunk(("to",), 0, None, [1, 2], [["+14155550100", "+14155550101"]])

    def digest(self) -> str:
        return "d"

    def release(self) -> None:
        pass


@pytest.mark.parametrize("lost", [1, 99])
async def test_a_lost_answer_to_the_seal_removes_nothing_that_may_be_sending(
    store: Store, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """The schedule began it while Redis' answer was on its way: its ledger must stay, or all go out again."""
    asked: list[Any] = []
    real, wait = store.run, asyncio.sleep
    monkeypatch.setattr("broadcaster.intake.load.asyncio.sleep", lambda _: wait(0))

    async def losing(call: Any) -> Any:
        answer = await real(call)
        if call.script == "seal" and len(asked) < lost:
            asked.append(answer)
            (bid,) = await store.redis.zrange(store.keys.plain("scheduled"), 0, -1) or [b""]
            if bid:
                assert await real(control.start(bid.decode(), from_states=("scheduled",))) == "ok"
            raise Unreachable("the answer was lost")
        return answer

    monkeypatch.setattr(store, "run", losing)
    order = replace(ORDER, schedule_at=time.time() + 0.01)
    if lost == 1:
        done = await submit.submit(store, ShortList(), order)
        bid = done.broadcast
    else:
        with pytest.raises(Unreachable) as caught:
            await submit.submit(store, ShortList(), order)
        (raw,) = await store.redis.zrange(store.keys.plain("bcs"), 0, -1)
        bid = raw.decode()
        assert bid in str(caught.value.__notes__)
    assert await counts(store, bid) == {State.QUEUED: 2}
    assert len(await records(store, bid)) == 2


async def test_an_import_broken_off_before_it_heard_of_its_beginning_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C came when Redis had begun it and its answer was still on its way."""
    begun, real = asyncio.Event(), store.run

    async def slow(call: Any) -> Any:
        answer = await real(call)
        if call.script == "reserve":
            begun.set()
            await asyncio.Event().wait()
        return answer

    monkeypatch.setattr(store, "run", slow)
    task = asyncio.create_task(submit.submit(store, ShortList(), replace(ORDER, idempotency_key="flood-1")))
    await begun.wait()
    assert await store.redis.scard(store.keys.plain("importing")) == 1
    await end([task])
    left = {key.decode().removeprefix(store.keys.prefix) async for key in store.redis.scan_iter()}
    assert task.cancelled()
    assert left <= {"epoch", "format", "raised", "server", "serials"}


@pytest.mark.parametrize("count", [0, 30])
async def test_a_claim_that_comes_late_takes_nothing(store: Store, count: int) -> None:
    """A connection given up in a network outage may deliver its command seconds later, after newer ones."""

    async def take(nonce: str) -> list[list[int]]:
        call = claims.claim("w1", nonce, lanes=10, records=5, horizon_seconds=60.0)
        return [[item.row for item in held.items] for held in (await store.run(call)).slices]

    await join(store)
    bid = await load(store, {LANE: 30}, begin=count > 0)
    first = await take("9.a")
    assert first == ([[0, 1, 2, 3, 4]] if count else [])
    assert await take("9.a") == first
    if count:
        assert await take("10.b") == [[5, 6, 7, 8, 9]]
    else:
        assert await take("10.b") == []
        await store.run(control.start(bid))
    assert await take("9.a") == []
    held = await store.redis.hlen(store.keys.worker("w1", ":claims"))
    assert held == (2 if count else 0)
