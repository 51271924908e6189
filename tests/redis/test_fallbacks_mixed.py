"""Failures, retries, pauses, losses of last writes in any order: no message has two SMS, none is lost."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from driving import SID, ask, join, result, take, tell
from falling_back import CONTENT, SENDER, WHATSAPP, children, fail, follow, follower, out, person, post
from loading import counts, load, records
from test_rewinding import lost

from broadcaster.domain.record import State
from broadcaster.lanes import claims, control
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.ledger.replaying import carry_out, find_letters
from broadcaster.ledger.rewinding import rewind
from broadcaster.ledger.settling import Verdict, settle
from broadcaster.reporting.messages import list_messages
from broadcaster.store.connection import open_store
from broadcaster.store.embedded import EmbeddedServer
from broadcaster.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from broadcaster.store.connection import Store
    from broadcaster.store.server_binary import ServerBinary

PEOPLE = 12


class Play:
    """One broadcast over WhatsApp, of whose people nobody has it; `left` counts what went to each address."""

    def __init__(self, store: Store, bid: str, chance: random.Random) -> None:
        self.store, self.bid, self.chance = store, bid, chance
        self.left: Counter[str] = Counter()

    async def send(self) -> None:
        """Let some of what is due leave."""
        for held in await take(self.store, records=self.chance.choice((1, 3, 100))):
            verdict = await ask(self.store, held)
            going = [item for item, yes in zip(held.items, verdict.yes, strict=False) if yes == "1"]
            if going:
                found = [result(i.row, i.attempt + 1, State.ACCEPTED, sid=SID) for i in going]
                await tell(self.store, held, found)
                views = {v.index: v.to async for v in list_messages(self.store, held.broadcast)
                         if v.batch == held.batch}  # fmt: skip
                self.left.update(views[item.row] for item in going)
            await self.store.run(claims.release("w1", [held.claim]))

    async def fail(self) -> None:
        """Let some WhatsApp messages that Twilio has fail, told once or twice."""
        for (batch, row), one in (await records(self.store, self.bid)).items():
            if one.state is State.ACCEPTED and self.chance.random() < 0.5:
                said = [Status(self.bid, batch, row, one.attempt, one.sid or "", "undelivered", 63024)]
                for _ in range(self.chance.choice((1, 2))):
                    await self.store.run(write_statuses(said))

    async def follow(self) -> None:
        """Follow, sometimes with what was followed before."""
        redis: Any = self.store.redis
        key = self.store.keys.plain("failures")
        before = await redis.lrange(key, 0, -1)
        try:
            await follower(self.store)[0].round()
        except StoreError:
            assert await redis.hexists(self.store.keys.plain("account"), "rewind")
        if before and self.chance.random() < 0.5:
            await redis.rpush(key, *before)

    async def retry(self) -> None:
        """Let a person retry what failed."""
        letters = [one async for one in find_letters(self.store, self.bid, states=(State.UNDELIVERED,))]
        await carry_out(self.store, letters, again=True)

    async def pause(self) -> None:
        """Pause and, perhaps later, go on."""
        await self.store.run(control.pause(self.bid, "by request"))
        if self.chance.random() < 0.5:
            await self.resume()

    async def resume(self) -> None:
        """Go on."""
        await self.store.run(control.resume(self.bid))

    async def lose(self) -> None:
        """Let Redis come back as if it had lost writes; what is in doubt by that has not left."""
        await lost(self.store)
        await rewind(self.store)
        await self.settle()

    async def settle(self) -> None:
        """Let Twilio's list show that what is in doubt has not left."""
        for bid, lane in [(self.bid, WHATSAPP), *((b, SENDER) for b in await children(self.store, self.bid))]:
            verdicts = [
                Verdict(lane, bid, batch, row, r.attempt, r.changed, absent=True, hold=False)
                for (batch, row), r in (await records(self.store, bid)).items()
                if r.state is State.IN_DOUBT
            ]
            if verdicts:
                await self.store.run(settle(verdicts, 15))

    async def check(self) -> None:
        """Each flag has its SMS, and nothing has two; counts add up."""
        flagged = {f"{self.bid}.{b}.{r}" for (b, r), one in (await records(self.store, self.bid)).items()
                   if one.fell_back}  # fmt: skip
        named: Counter[str | None] = Counter()
        for stream in await children(self.store, self.bid):
            named.update([view.fallback_of async for view in list_messages(self.store, stream)])
            assert sum((await counts(self.store, stream)).values()) == len(await records(self.store, stream))
        assert set(named) == flagged
        assert set(named.values()) <= {1}
        assert sum((await counts(self.store, self.bid)).values()) == PEOPLE
        assert max((n for to, n in self.left.items() if to[0] == "+"), default=0) <= 1, self.left


async def listed(store: Store) -> str:
    """Load a broadcast."""
    return await load(store, {WHATSAPP: PEOPLE}, batch=5, content=CONTENT, address=person)


async def single(store: Store) -> str:
    """Post single messages, in several batches of a stream of its own."""
    key = uuid.uuid4().hex  # what else is posted is in another stream
    parts = [await post(store, 4, first=first, key=key) for first in range(0, PEOPLE, 4)]
    assert len(set(parts)) == 1
    return parts[0]


@pytest.mark.parametrize("begin", [listed, single])
@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 60), marks=[pytest.mark.slow])], ids=str)
@pytest.mark.timeout(600)
async def test_one_sms_each_whatever_happens(
    store: Store, seeds: range, begin: Callable[[Store], Awaitable[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broadcaster.intake.singles.HOUR_SECONDS", 10**10)
    for seed in seeds:
        chance = random.Random(seed)
        bid = await begin(store)
        await store.run_all([control.set_rate(name, 10_000) for name in (WHATSAPP, SENDER)])
        await join(store)
        play = Play(store, bid, chance)
        acts = [play.send, play.fail, play.follow, play.retry, play.pause, play.resume, play.lose]
        for _ in range(40):
            await chance.choices(acts, weights=[6, 4, 4, 1, 1, 2, 1])[0]()
            await play.check()
        await play.resume()
        for _ in range(12):
            for act in (play.send, play.settle, play.fail, play.follow):
                await act()
        await play.check()
        assert {to for to, n in play.left.items() if to[0] == "+" and n == 1} == {
            person(i).removeprefix("whatsapp:") for i in range(PEOPLE)
        }, seed
        assert (await store.redis.hget(store.keys.broadcast(bid), "state")) == b"completed"


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_server_killed_at_any_moment_has_each_sms_once_or_not_yet(
    tmp_path: Path, server_binary: ServerBinary
) -> None:
    """Every write is on disk before it is answered, so nothing is lost, and nothing comes twice."""
    server = EmbeddedServer(tmp_path, binary=server_binary)
    server.start()
    try:
        for pause in range(6):
            opened = await open_store(server.url)
            bid = await out(opened, 40)
            await fail(opened, bid, *[63024] * 40)
            one, _ = follower(opened)
            following = asyncio.create_task(one.round())
            await asyncio.sleep(pause / 1000)
            await asyncio.to_thread(server.kill)
            await asyncio.gather(following, return_exceptions=True)
            await opened.close()
            server.start()
            opened = await open_store(server.url)
            await opened.guard.look()
            for _ in range(2):
                await opened.redis.delete(opened.keys.plain("following"))
                await follow(opened)
            marked = sum(record.fell_back for record in (await records(opened, bid)).values())
            queued = [await counts(opened, stream) for stream in await children(opened, bid)]
            assert marked == 40
            assert sum(sum(some.values()) for some in queued) == 40
            assert await opened.redis.llen(opened.keys.plain("failures")) == 0
            for stream in [bid, *await children(opened, bid)]:
                await opened.run(control.cancel(stream, "the next round"))
            await opened.close()
    finally:
        server.stop()
