"""What a review found at the scripts and at intake."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from loading import counts, records

from broadcaster.domain.content import Content
from broadcaster.domain.record import State
from broadcaster.domain.senders import SenderKind
from broadcaster.intake import submit
from broadcaster.intake.senders import Lane
from broadcaster.intake.submit import Submission
from broadcaster.intake.table import Chunk
from broadcaster.lanes import control
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
