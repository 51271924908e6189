"""Redis loses its last writes at any moment, its workers with it or not: nobody gets it twice, all ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from driving import overdue, result
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from test_model import LANES, Key, Messages, Post, letters_of, play

from broadcaster.domain.record import Reason, Record, State
from broadcaster.ledger import rewinding
from broadcaster.ledger.recording import Results, record
from broadcaster.ledger.replaying import may_have_been_sent, replay
from broadcaster.ledger.settling import Verdict, settle
from broadcaster.store.scripts import Call, packed

if TYPE_CHECKING:
    from broadcaster.ledger.recording import Recorded


@dataclass
class Backup:
    """What Redis held at a moment, and how much had been said by then."""

    keys: list[tuple[bytes, int, bytes]] = field(default_factory=list)
    said: int = 0


class Lossy(Messages):
    """The same, in a Redis that goes back to an earlier state; a loss may follow a loss."""

    backup: Backup | None = None

    @precondition(lambda self: self.broadcasts)
    @rule()
    def nothing_is_lost_before_this(self) -> None:
        self.backup = Backup(self.do(self.dump()), len(self.said))

    async def dump(self) -> list[tuple[bytes, int, bytes]]:
        redis: Any = self.store.redis
        keys = [key async for key in redis.scan_iter("*", count=1000)]
        return [(key, max(0, await redis.pttl(key)), await redis.dump(key)) for key in keys]

    async def put_back(self, backup: Backup) -> None:
        redis: Any = self.store.redis
        await redis.flushdb()
        for key, ttl, raw in backup.keys:
            await redis.restore(key, ttl, raw)
        await redis.hset(self.store.keys.plain("server"), mapping={"run": "another", "always": "0"})

    @precondition(lambda self: self.backup)
    @rule(data=st.data(), early=st.booleans())
    def redis_loses_writes(self, data: st.DataObject, early: bool) -> None:  # noqa: FBT001
        """Who lives writes again what it remembers, before (`early`) or after all is in doubt."""
        assert self.backup is not None
        again = self.said[self.backup.said :]
        self.do(self.put_back(self.backup))
        for hands in self.alive():
            if data.draw(st.sampled_from([True, True, False]), label=f"{hands.name} is killed with it"):
                hands.gone = True
                hands.slices.clear()
        living = {hands.name for hands in self.alive()}
        again = [call for call in again if call.arguments[0] in living]
        assert self.do(self.store.guard.look()).lost
        if early:
            self.write_again(again)
        assert self.do(rewinding.rewind(self.store)) is not None
        if not early:
            self.write_again(again)
        self.backup = None

    def write_again(self, calls: list[Call[Recorded]]) -> None:
        for call in calls:
            self.run_call(call)

    def rewound(self) -> dict[Key, Record]:
        """What is in doubt by that and may be settled: everybody who may have sent it is done."""
        gone = {w.name for w in self.workers if w.gone}
        return {
            key: found
            for key, found in self.records().items()
            if found.state is State.IN_DOUBT
            and found.code == Reason.REWOUND
            and all(post.ended or post.worker in gone for post in self.posts_of(key))
        }

    def doubts(self) -> list[Post]:
        rewound = self.records()
        return [post for post in super().doubts() if rewound[post.key].code != Reason.REWOUND]

    @rule(data=st.data(), arrived=st.booleans(), twice=st.booleans())
    def settle_rewound(self, data: st.DataObject, arrived: bool, twice: bool) -> None:  # noqa: FBT001
        if found := self.rewound():
            key = data.draw(st.sampled_from(sorted(found)), label="message")
            self.settle_by_truth(key, found[key], arrived=arrived, twice=twice)

    def settle_by_truth(self, key: Key, found: Record, *, arrived: bool, twice: bool = False) -> None:
        for post in self.posts_of(key):
            post.reached = arrived if post.reached is None else post.reached
            post.ended = True
        bid, batch, row = key
        lane = LANES[int(batch.partition(".")[0])]
        there = [post for post in self.posts_of(key) if post.reached and not post.excused and not post.failed]
        if there:
            outcome = result(row, found.attempt, State.ACCEPTED, sid=there[0].sid)
            self.run_call(record("settler", [Results(lane, bid, batch, [outcome])]), twice=twice)
            there[0].told = True
        else:
            for post in self.posts_of(key):
                post.excused = bool(post.reached)
            verdict = Verdict(lane, bid, batch, row, found.attempt, found.changed, absent=True, hold=False)
            self.run_call(settle([verdict], 15), twice=twice)

    @rule(data=st.data(), twice=st.booleans())
    def replay(self, data: st.DataObject, twice: bool) -> None:  # noqa: FBT001
        """Let dead letters go again, which may have gone already: a person makes a lost replay again."""
        bid = data.draw(st.sampled_from(self.broadcasts), label="broadcast")
        for found in self.do(letters_of(self.store, bid)):
            sure = found.only({code for code in found.codes if not may_have_been_sent(code)})
            if sure:
                self.run_call(replay(sure), twice=twice)

    def may_have_failed(self) -> list[tuple[Post, Record]]:
        """What Twilio may say, or say again, of messages whose SID a record holds: that they failed."""
        found = self.records()
        return [
            (post, found[post.key])
            for post in self.posts
            if post.reached
            and not post.delivered
            and not post.excused
            and (sid := found[post.key].sid) is not None
            and sid[2:] == post.sid.hex()
            and found[post.key].state in {State.ACCEPTED, State.SENT, State.FAILED}
        ]

    @rule(data=st.data(), twice=st.booleans())
    def a_failure_goes_again(self, data: st.DataObject, twice: bool) -> None:  # noqa: FBT001
        """Twilio is asked by the SID, it failed, and that goes again by itself: as it may have before."""
        if failures := self.may_have_failed():
            post, one = data.draw(st.sampled_from(failures), label="post")
            bid, batch, row = post.key
            post.failed = True
            failed = result(row, one.attempt, State.FAILED, code=30001, sid=post.sid)
            self.tell(post, failed, twice=twice)
            letters = packed([(bid, batch, [(row, one.attempt, 30001, 0, 99)])])
            self.run_call(Call("resend", (15, letters), int, lasting=True), twice=twice)

    def may_be_unknown(self, key: Key, one: Record) -> bool:
        """Also where Redis has lost that a dead letter went again, and nobody let it go again since."""
        later = any(post.attempt > one.attempt for post in self.posts_of(key))
        return super().may_be_unknown(key, one) or (one.state is State.DEAD and later)

    # What was lost may be news again.
    @precondition(lambda _: False)
    @rule()
    def an_old_report_comes_again(self) -> None:
        """Not here."""

    def drain(self) -> None:
        for hands in self.workers:  # also the lease of one that was killed with a Redis that has it again
            self.do(overdue(self.store, hands.name, xx=True))
        super().drain()
        while found := self.rewound():
            for key, one in found.items():
                self.settle_by_truth(key, one, arrived=False)
            super().drain()


@pytest.mark.parametrize(
    "examples",
    [
        pytest.param(3, marks=pytest.mark.timeout(120)),
        pytest.param(400, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_every_message_ends_and_none_goes_twice_though_writes_are_lost(
    redis_url: str, examples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewinding, "WORKERS_SECONDS", 0)
    play(Lossy, redis_url, examples)
