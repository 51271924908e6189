"""Random lives of a few messages, with everything that may follow their acceptance, beside Twilio's truth.

Callbacks in any order and more than once, polls, resending, retries by a person, doubt and its end, pauses,
forgetting, canceling. After every step the counts, codes and marks are the ledger's, and nobody got two.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgpack
import pytest
from driving import LANE, ask, everything, join, result, take, tell
from loading import counts, load, number, records

from broadcaster.domain.record import RANK, Evidence, Reason, State
from broadcaster.domain.resending import Resending
from broadcaster.lanes import claims, control
from broadcaster.ledger.callbacks import STATES, Status, write_statuses
from broadcaster.ledger.forgetting import forget_in_batches
from broadcaster.ledger.replaying import carry_out, letters_named, may_have_been_sent
from broadcaster.ledger.resending import Resender
from broadcaster.ledger.settling import Verdict, settle

if TYPE_CHECKING:
    from broadcaster.ledger.recording import Result
    from broadcaster.store.connection import Store

MESSAGES: Final = 6
STEPS: Final = 60
LOST: Final = ("undelivered", "failed")
LIVES: Final[list[tuple[tuple[str, ...], int]]] = [
    (("queued", "sent", "delivered"), 0),
    (("sent", "delivered", "read"), 0),
    (("sent", "undelivered"), 30001),
    (("failed",), 30001),
    (("sent", "undelivered"), 30005),
    (("sent",), 0),
    ((), 0),
]
#: What a worker says of a POST; `with_twilio` says whether Twilio has it.
ENDS: Final[dict[str, tuple[bool, State, int]]] = {
    "answered": (True, State.ACCEPTED, 0),
    "answered again": (True, State.ACCEPTED, 0),
    "no answer": (True, State.IN_DOUBT, 6),
    "never arrived": (False, State.IN_DOUBT, 6),
    "throttled": (False, State.RETRY, 20429),
    "rejected": (False, State.DEAD, 21211),
    "died after": (True, State.IN_DOUBT, Reason.LEASE_LOST),
    "died before": (False, State.IN_DOUBT, Reason.LEASE_LOST),
}
Sent = tuple[str, int, int]


class Failed(NamedTuple):
    """A delivery that failed, as the resender is told of it."""

    broadcast: str
    batch: str
    row: int
    attempt: int
    code: int


class World:
    """A broadcast, a worker with requests under way, and what Twilio has: by batch, row and attempt."""

    def __init__(self, store: Store, bid: str, seed: int) -> None:
        self.store = store
        self.bid = bid
        self.chance = random.Random(seed)
        self.twilio: dict[Sent, tuple[tuple[str, ...], int] | None] = {}
        self.under_way: list[tuple[claims.Slice, Sent, str]] = []
        self.untold: list[tuple[Sent, str, int]] = []
        self.resender = Resender(store, Resending(frozenset({30001}), 9))

    @staticmethod
    def sid(sent: Sent) -> str:
        batch, row, attempt = sent
        return f"SM{int(batch.partition('.')[2]) * 100_000 + row * 1000 + attempt:032x}"

    def status(self, sent: Sent, word: str, code: int) -> Status:
        return Status(self.bid, *sent, self.sid(sent), word, code)

    async def send(self) -> None:
        redis, keys = self.store.redis, self.store.keys
        retry = keys.flow(self.bid, LANE, ":retry")
        for member in await redis.zrange(retry, 0, -1):
            await redis.zadd(retry, {member: 1})
        if await redis.hget(keys.broadcast(self.bid), "state") == b"running":
            await redis.zadd(keys.lane(LANE, ":later"), {self.bid: 1})
            await redis.zadd(keys.plain("due"), {LANE: 1})
        for held in await take(self.store, horizon_seconds=5, records=self.chance.randint(1, MESSAGES)):
            verdict = await ask(self.store, held)
            for item, yes in zip(held.items, verdict.yes, strict=not verdict.refused):
                if yes == "1":
                    self._leave(held, (held.batch, item.row, item.attempt + 1))
            if "1" not in verdict.yes:
                await self.store.run(claims.release("w1", [held.claim]))

    def _leave(self, held: claims.Slice, sent: Sent) -> None:
        assert sent not in self.twilio
        end = self.chance.choice(list(ENDS))
        self.twilio[sent] = None
        if ENDS[end][0]:
            words, code = self.twilio[sent] = self.chance.choice(LIVES)
            told = [(sent, word, code if word in LOST else 0) for word in words]
            self.untold += told + [one for one in told if self.chance.random() < 0.3]
        self.under_way.append((held, sent, end))

    async def report(self) -> None:
        if not self.under_way:
            return
        held, sent, end = self.under_way.pop(self.chance.randrange(len(self.under_way)))
        await tell(self.store, held, [self._outcome(sent, end)], twice=True)
        if all(other.claim != held.claim for other, _, _ in self.under_way):
            await self.store.run(claims.release("w1", [held.claim]))

    def _outcome(self, sent: Sent, end: str) -> Result:
        _, state, code = ENDS[end]
        sid = bytes.fromhex(self.sid(sent)[2:]) if state is State.ACCEPTED else b""
        return result(sent[1], sent[2], state, code=code, sid=sid, spend=int(code == 6))

    async def told(self, at_most: int = 3) -> None:
        count = min(len(self.untold), self.chance.randint(1, at_most))
        some = [self.untold.pop(self.chance.randrange(len(self.untold))) for _ in range(count)]
        if some:
            evidence = self.chance.choice([Evidence.CALLBACK, Evidence.LIST])
            call = write_statuses([self.status(*one) for one in some], evidence)
            await self.store.run(call)
            before = await everything(self.store)
            again = await self.store.run(call)
            assert (again.changed, again.caused) == (0, 0)
            assert await everything(self.store) == before

    async def follow(self) -> None:
        key = self.store.keys.plain("failures")
        told = [msgpack.unpackb(raw, raw=True) for raw in await self.store.redis.lrange(key, 0, -1)]
        await self.resender(
            [Failed(bid.decode(), batch.decode(), row, at, code) for bid, batch, row, at, _, code, *_ in told]
        )
        if self.chance.random() < 0.7:  # else whoever did it died before it was noted
            await self.store.redis.delete(key)

    async def settle(self) -> None:
        verdicts = []
        for (batch, row), one in (await records(self.store, self.bid)).items():
            sent = (batch, row, one.attempt)
            if one.state is not State.IN_DOUBT or any(sent == other for _, other, _ in self.under_way):
                continue
            has = self.twilio[sent] is not None
            if has and self.chance.random() < 0.5:
                await self.store.run(write_statuses([self.status(sent, "accepted", 0)], Evidence.LIST))
            elif not has or self.chance.random() < 0.1:
                at = (LANE, self.bid, *sent, one.changed)
                verdicts.append(Verdict(*at, absent=not has, hold=False))
        if verdicts:
            await self.store.run(settle(verdicts, 9))

    async def retry(self) -> None:
        """A person lets go again what surely did not arrive."""
        failed = (State.DEAD, State.UNDELIVERED, State.FAILED)
        names = [
            f"{self.bid}.{batch}.{row}"
            for (batch, row), one in (await records(self.store, self.bid)).items()
            if one.state in failed and not (one.state is State.DEAD and may_have_been_sent(one.code))
        ]
        letters, _ = await letters_named(self.store, self.chance.sample(names, len(names) // 2), failed)
        await carry_out(self.store, letters, again=True)

    async def disturb(self) -> None:
        what = self.chance.random()
        if what < 0.15:
            await forget_in_batches(self.store, [number(self.chance.randrange(MESSAGES))])
        elif what < 0.5:
            await self.store.run(control.pause(self.bid, "a test"))
        elif what < 0.9:
            await self.store.run(control.resume(self.bid))
        elif what < 0.93 and await self.store.run(control.cancel(self.bid, "a test")) == "ok":
            for batch in ("0.0", "0.1"):
                await self.store.run(control.skip(self.bid, LANE, batch, Reason.CANCELED))

    # -- what must hold

    def arrived(self, batch: str, row: int) -> list[tuple[str, ...]]:
        """The lives of a message's attempts of which somebody has, or will have, got something."""
        lives = [life for (b, r, _), life in self.twilio.items() if (b, r) == (batch, row) and life]
        return [words for words, _ in lives if not words or words[-1] not in LOST]

    async def check(self) -> None:
        found = await records(self.store, self.bid)
        now = Counter(one.state for one in found.values())
        assert await counts(self.store, self.bid) == now
        codes = await self._hash(":codes")
        assert codes == Counter(f"{one.state.value}:{one.code}" for one in found.values() if one.state >= 8)
        assert sum((await self._hash(":dead")).values()) == now[State.DEAD]
        assert sum((await self._hash(":doubt")).values()) == now[State.IN_DOUBT]
        state = await self.store.redis.hget(self.store.keys.broadcast(self.bid), "state")
        open_ = sum(now[one] for one in (State.QUEUED, State.SENDING, State.RETRY, State.IN_DOUBT))
        assert not (state == b"running" and not open_)
        assert not (state == b"completed" and open_)
        for at in found:
            assert len(self.arrived(*at)) <= 1, "somebody got two"

    async def _hash(self, part: str) -> dict[str, int]:
        raw: Any = await self.store.redis.hgetall(self.store.keys.broadcast(self.bid, part))
        return {field.decode(): int(n) for field, n in raw.items() if int(n)}

    async def end(self) -> None:
        """Let all that is under way, and all that Twilio has to tell, come in."""
        while self.under_way:
            await self.report()
        while self.untold:
            await self.told(50)
        await self.check()
        for (batch, row), one in (await records(self.store, self.bid)).items():
            if State.ACCEPTED <= one.state <= State.READ:
                assert self.arrived(batch, row), "nothing of it arrived, and it is not sent again"
            for words in self.arrived(batch, row):
                if words:
                    assert one.state is max((STATES[word] for word in words), key=RANK.__getitem__)


async def live(store: Store, seed: int) -> World:
    await store.redis.flushdb()
    await store.redis.set(store.keys.plain("epoch"), store.epoch)
    await join(store)
    world = World(store, await load(store, {LANE: MESSAGES}, batch=3), seed)
    often = [world.send, world.report, world.told]
    steps = [*often, *often, world.report, world.follow, world.settle, world.retry, world.disturb]
    for _ in range(STEPS):
        await world.chance.choice(steps)()
        await world.check()
    await world.end()
    return world


async def test_whatever_follows_an_acceptance_adds_up_and_nobody_gets_two(store: Store) -> None:
    world = await live(store, 3)
    assert len(world.twilio) > MESSAGES, "some went again"


@pytest.mark.slow
@pytest.mark.parametrize("first", range(2, 102, 20))
async def test_a_hundred_such_lives(store: Store, first: int) -> None:
    for seed in range(first, first + 20):
        await live(store, seed)
