"""Everything that may happen to a few messages, in any order, against what must be true all the time."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from driving import everything, group, join, overdue, result
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from loading import load

from broadcaster.domain.record import OPEN_STATES, Reason, Record, State
from broadcaster.lanes import claims, control
from broadcaster.ledger.recording import Results, record
from broadcaster.ledger.replaying import discard, find_letters, may_have_been_sent, replay
from broadcaster.ledger.settling import Verdict, settle
from broadcaster.store.connection import Store, open_store
from broadcaster.store.errors import LeaseLost
from broadcaster.store.scripts import unpacked

if TYPE_CHECKING:
    from broadcaster.lanes.claims import Item, Slice
    from broadcaster.ledger.recording import Recorded, Result
    from broadcaster.ledger.replaying import Letters
    from broadcaster.store.scripts import Call

LANES = ("+14155550100", "+14155550101")
REACHED = (State.ACCEPTED, State.SENT, State.DELIVERED, State.READ, State.UNDELIVERED, State.FAILED)
RATE = 100_000.0
HORIZON_SECONDS = 1.0
STEERING = st.sampled_from([*["resume"] * 5, *["pause"] * 3, "cancel"])
KINDS = st.sampled_from(["accepted", "retry", "retry", "spent", "dead", "content", "unknown", "unknown"])

Key = tuple[str, str, int]


@dataclass
class Post:
    """One POST that left after a yes. `reached` is the truth at Twilio, None until something decides it."""

    key: Key
    lane: str
    attempt: int
    worker: str
    number: int
    reached: bool | None = None
    ended: bool = False  # its worker has told how it ended
    told: bool = False  # the ledger has been told that it reached Twilio
    excused: bool = False  # a settlement said `absent` although it had arrived
    failed: bool = False  # it reached Twilio, and nobody
    delivered: bool = False  # somebody has said that it reached its person

    @property
    def sid(self) -> bytes:
        return self.number.to_bytes(16, "big")


@dataclass
class Hands:
    """A worker: its slices and which of their records it has not asked for yet."""

    name: str
    slices: list[tuple[Slice, list[Item]]] = field(default_factory=list)
    gone: bool = False


async def letters_of(store: Store, bid: str) -> list[Letters]:
    return [found async for found in find_letters(store, bid)]


class Messages(RuleBasedStateMachine):
    runner: asyncio.Runner
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.store: Store
        self.broadcasts: list[str] = []
        self.workers: list[Hands] = []
        self.posts: list[Post] = []
        self.said: list[Call[Recorded]] = []
        self.names = 0

    # -- plumbing

    def do(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def run_call(self, call: Call[Any], *, twice: bool = False) -> Any:
        """Carry out a call; `twice` as a client that lost the answer does, and nothing may change then."""
        answer = self.do(self.store.run(call))
        if twice:
            before = self.do(everything(self.store))
            self.do(self.store.run(call))
            assert self.do(everything(self.store)) == before, call.script
        return answer

    def alive(self) -> list[Hands]:
        return [w for w in self.workers if not w.gone]

    def records(self, seen: dict[str, Any] | None = None) -> dict[Key, Record]:
        """Read all ledgers, out of what `everything` has seen if given."""
        seen = self.do(everything(self.store)) if seen is None else seen
        found: dict[Key, Record] = {}
        for bid in self.broadcasts:
            prefix = self.store.keys.ledger(bid, "")
            for name, raw in seen.items():
                if name.startswith(prefix):
                    batch = name.removeprefix(prefix)
                    found |= {(bid, batch, i): Record.unpack(raw, i * 32) for i in range(len(raw) // 32)}
        return found

    def posts_of(self, key: Key) -> list[Post]:
        return [p for p in self.posts if p.key == key]

    def tell(self, post: Post, outcome: Result, *, twice: bool) -> None:
        bid, batch, _ = post.key
        call = record(post.worker, [Results(post.lane, bid, batch, [outcome])])
        self.run_call(call, twice=twice)
        self.said.append(call)

    # -- rules

    @initialize()
    def begin(self) -> None:
        self.store = self.do(open_store(self.url))
        self.do(self.store.redis.flushdb())
        self.do(self.store.close())
        self.store = self.do(open_store(self.url))
        for i in range(2):
            lanes = {LANES[0]: 3, LANES[1]: 1}
            rates = dict.fromkeys(LANES, RATE)
            self.broadcasts.append(self.do(load(self.store, lanes, rates=rates, batch=2, first=100 * i)))
        self.worker_joins()

    @precondition(lambda self: self.broadcasts and len(self.alive()) < 3)
    @rule()
    def worker_joins(self) -> None:
        self.names += 1
        hands = Hands(f"w{self.names}")
        self.workers.append(hands)
        self.do(join(self.store, hands.name))

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), records=st.sampled_from([1, 2, 5, 50]), twice=st.booleans())
    def claim(self, data: st.DataObject, records: int, twice: bool) -> None:  # noqa: FBT001
        hands = data.draw(st.sampled_from(self.alive()), label="worker")
        self.names += 1
        call = claims.claim(
            hands.name, f"n{self.names}", lanes=10, records=records, horizon_seconds=HORIZON_SECONDS
        )
        try:
            answer = self.run_call(call)
        except LeaseLost:
            hands.gone = True
            hands.slices.clear()
            return
        if twice and answer.slices:
            assert self.run_call(call, twice=True) == answer
        for held in answer.slices:
            assert held.items
            hands.slices.append((held, list(held.items)))

    @precondition(lambda self: any(w.slices for w in self.alive()))
    @rule(data=st.data(), twice=st.booleans())
    def ask(self, data: st.DataObject, twice: bool) -> None:  # noqa: FBT001
        hands = data.draw(st.sampled_from([w for w in self.alive() if w.slices]), label="worker")
        held, left = data.draw(st.sampled_from(hands.slices), label="slice")
        if not left:
            return
        order = data.draw(st.permutations(left), label="order")
        self.ask_for(hands, held, left, order[: data.draw(st.integers(1, len(left)), label="many")], twice)

    def ask_for(
        self,
        hands: Hands,
        held: Slice,
        left: list[Item],
        items: list[Item],
        twice: bool,  # noqa: FBT001
    ) -> None:
        before = self.records()
        call = claims.intend(hands.name, "0", [group(held, items)])
        (verdict,) = self.run_call(call)
        if twice:
            assert self.run_call(call, twice=True) == [verdict]
        if verdict.refused:
            assert verdict.refused in {"claim", "lane", "paused", "canceled"}, verdict
            if verdict.refused == "claim":
                hands.slices = [entry for entry in hands.slices if entry[0].claim != held.claim]
            return
        for item, yes in zip(items, verdict.yes, strict=True):
            left.remove(item)
            key = (held.broadcast, held.batch, item.row)
            if yes == "1":
                self.check_yes(key, before[key])
                number = len(self.posts) + 1
                self.posts.append(Post(key, held.lane, item.attempt + 1, hands.name, number))

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), ended=st.booleans())
    def work(self, data: st.DataObject, ended: bool) -> None:  # noqa: FBT001
        """Claim and send, as a worker does when nothing gets in its way."""
        hands = data.draw(st.sampled_from(self.alive()), label="worker")
        self.names += 1
        call = claims.claim(
            hands.name, f"n{self.names}", lanes=10, records=100, horizon_seconds=HORIZON_SECONDS
        )
        try:
            slices = self.run_call(call).slices
        except LeaseLost:
            return
        for held in slices:
            left, before = list(held.items), len(self.posts)
            self.ask_for(hands, held, left, held.items, twice=False)
            for post in self.posts[before:]:
                if data.draw(st.sampled_from([True, True, False]), label="it ends"):
                    kind = data.draw(KINDS, label="kind")
                    self.end(post, kind, arrives=data.draw(st.booleans(), label="arrives"))
            if ended:
                self.run_call(claims.release(hands.name, [held.claim]))
            else:
                hands.slices.append((held, left))

    def check_yes(self, key: Key, before: Record) -> None:
        """A yes is for a record that waits, and never for one that was accepted or may have been."""
        assert before.state in {State.QUEUED, State.RETRY}, (key, before)
        for post in (post for post in self.posts_of(key) if not post.failed):
            assert not post.told, f"{key} is known to be with Twilio"
            assert post.reached is False or post.excused, (
                f"{key} may have been sent by attempt {post.attempt}"
            )

    def in_flight(self) -> list[Post]:
        return [p for p in self.posts if not p.ended]

    @precondition(lambda self: self.in_flight())
    @rule(
        data=st.data(),
        kind=KINDS,
        delay_us=st.sampled_from([0, 0, 1000]),
        arrives=st.booleans(),
        twice=st.booleans(),
    )
    def post_ends(self, data: st.DataObject, kind: str, delay_us: int, arrives: bool, twice: bool) -> None:  # noqa: FBT001
        """Its worker learns how a POST ended; also one whose lease was taken away meanwhile."""
        post = data.draw(st.sampled_from(self.in_flight()), label="post")
        self.end(post, kind, delay_us=delay_us, arrives=arrives, twice=twice)

    def end(
        self, post: Post, kind: str, *, delay_us: int = 0, arrives: bool = True, twice: bool = False
    ) -> None:
        if post.reached is None:
            post.reached = kind == "accepted" or (kind == "unknown" and arrives)
        elif kind != "unknown":
            kind = "accepted" if post.reached else "dead" if kind == "accepted" else kind
        row, attempt = post.key[2], post.attempt
        outcome = {
            "accepted": result(row, attempt, State.ACCEPTED, sid=post.sid),
            "retry": result(row, attempt, State.RETRY, code=429, delay_us=delay_us),
            "spent": result(row, attempt, State.RETRY, code=30001, spend=1, delay_us=delay_us),
            "dead": result(row, attempt, State.DEAD, code=21211, spend=1),
            "content": result(row, attempt, State.DEAD, code=21617, spend=1, content=1),
            "unknown": result(row, attempt, State.IN_DOUBT, code=Reason.NO_ANSWER, spend=1),
        }[kind]
        self.tell(post, outcome, twice=twice)
        post.ended = True
        post.told = post.told or kind == "accepted"

    @precondition(lambda self: any(p.reached and not p.failed for p in self.posts))
    @rule(data=st.data(), state=st.sampled_from(REACHED), twice=st.booleans())
    def callback(self, data: st.DataObject, state: State, twice: bool) -> None:  # noqa: FBT001
        post = data.draw(st.sampled_from([p for p in self.posts if p.reached and not p.failed]), label="post")
        self.tell(post, result(post.key[2], post.attempt, state, sid=post.sid), twice=twice)
        post.told = True
        post.delivered = post.delivered or state in {State.DELIVERED, State.READ}

    def doubts(self) -> list[Post]:
        """What may be settled: in doubt, and its POST has ended or its worker is no more."""
        gone = {w.name for w in self.workers if w.gone}
        return [
            post
            for key, found in self.records().items()
            if found.state is State.IN_DOUBT
            for post in self.posts_of(key)
            if post.attempt == found.attempt and (post.ended or post.worker in gone)
        ]

    @rule(
        data=st.data(),
        how=st.sampled_from(["evidence", "mistaken", "mistaken", "hold"]),
        arrived=st.booleans(),
        twice=st.booleans(),
    )
    def settle(self, data: st.DataObject, how: str, arrived: bool, twice: bool) -> None:  # noqa: FBT001
        if doubts := self.doubts():
            post = data.draw(st.sampled_from(doubts), label="post")
            self.settle_one(post, how, arrived=arrived, twice=twice)

    def settle_one(self, post: Post, how: str, *, arrived: bool, twice: bool = False) -> None:
        if post.reached is None:
            post.reached = arrived
        post.ended = True
        row, attempt = post.key[2], post.attempt
        if how == "hold":
            self.judge(post, hold=True, twice=twice)
        elif post.reached and how == "evidence":
            self.tell(post, result(row, attempt, State.SENT, sid=post.sid), twice=twice)
            post.told = True
        else:
            post.excused = bool(post.reached)
            self.judge(post, hold=False, twice=twice)

    def judge(self, post: Post, *, hold: bool, twice: bool) -> None:
        """Settle a doubt for want of evidence."""
        bid, batch, row = post.key
        changed = self.records()[post.key].changed
        verdict = Verdict(post.lane, bid, batch, row, post.attempt, changed, absent=True, hold=hold)
        self.run_call(settle([verdict], 15), twice=twice)

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def an_old_report_comes_again(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.said), label="report")
        before = self.do(everything(self.store))
        again = self.run_call(call)
        assert (again.changed, again.caused) == (0, 0)
        assert self.do(everything(self.store)) == before

    @precondition(lambda self: any(w.slices for w in self.alive()))
    @rule(data=st.data(), twice=st.booleans())
    def release(self, data: st.DataObject, twice: bool) -> None:  # noqa: FBT001
        hands = data.draw(st.sampled_from([w for w in self.alive() if w.slices]), label="worker")
        entry = data.draw(st.sampled_from(hands.slices), label="slice")
        hands.slices.remove(entry)
        self.run_call(claims.release(hands.name, [entry[0].claim]), twice=twice)

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), at_most=st.sampled_from([1, 200]))
    def leave(self, data: st.DataObject, at_most: int) -> None:
        hands = data.draw(st.sampled_from(self.alive()), label="worker")
        hands.gone = True
        hands.slices.clear()
        while self.run_call(claims.leave(hands.name, at_most), twice=False):
            pass

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), killed=st.booleans(), passes=st.sampled_from([0, 2, 2]))
    def lease_runs_out(self, data: st.DataObject, killed: bool, passes: int) -> None:  # noqa: FBT001
        """A worker is killed, or stalls: then it goes on afterwards as if nothing had been."""
        hands = data.draw(st.sampled_from(self.alive()), label="worker")
        self.do(overdue(self.store, hands.name))
        if killed:
            hands.gone = True
            hands.slices.clear()
        for _ in range(passes):
            self.sweep(200)

    @rule(at_most=st.sampled_from([1, 200]))
    def sweep(self, at_most: int) -> None:
        self.run_call(claims.sweep(0.0, at_most))

    @rule(data=st.data(), verb=STEERING, twice=st.booleans())
    def steer(self, data: st.DataObject, verb: str, twice: bool) -> None:  # noqa: FBT001
        bid = data.draw(st.sampled_from(self.broadcasts), label="broadcast")
        call = {
            "pause": control.pause(bid, "a test"),
            "resume": control.resume(bid),
            "cancel": control.cancel(bid, "a test"),
        }[verb]
        self.run_call(call, twice=twice)

    @rule(data=st.data(), lane=st.sampled_from([0, 1]), number=st.sampled_from([0, 1]), twice=st.booleans())
    def skip(self, data: st.DataObject, lane: int, number: int, twice: bool) -> None:  # noqa: FBT001
        bid = data.draw(st.sampled_from(self.broadcasts), label="broadcast")
        if self.broadcast(bid)[b"state"] == b"canceled":
            call = control.skip(bid, LANES[lane], f"{lane}.{number}", Reason.CANCELED)
            self.run_call(call, twice=twice)

    @rule(data=st.data(), again=st.sampled_from([True, True, False]), twice=st.booleans())
    def replay(self, data: st.DataObject, again: bool, twice: bool) -> None:  # noqa: FBT001
        """Let all dead letters of a broadcast go again but those that may have been sent, or discard them."""
        bid = data.draw(st.sampled_from(self.broadcasts), label="broadcast")
        for found in self.do(letters_of(self.store, bid)):
            sure = found.only({code for code in found.codes if not may_have_been_sent(code)})
            if sure:
                self.run_call(replay(sure) if again else discard(sure), twice=twice)

    @rule(lane=st.sampled_from(LANES), pause=st.sampled_from([False, False, True]), twice=st.booleans())
    def steer_lane(self, lane: str, pause: bool, twice: bool) -> None:  # noqa: FBT001
        call = control.pause_lane(lane, "a test") if pause else control.resume_lane(lane)
        self.run_call(call, twice=twice)

    # -- what is always true

    def broadcast(self, bid: str) -> dict[bytes, bytes]:
        redis: Any = self.store.redis
        found: dict[bytes, bytes] = self.do(redis.hgetall(self.store.keys.broadcast(bid)))
        return found

    @invariant()
    def the_counters_tell_the_records(self) -> None:
        if not self.broadcasts:
            return
        seen = self.do(everything(self.store))
        found, keys = self.records(seen), self.store.keys
        for bid in self.broadcasts:
            mine = {k: r for k, r in found.items() if k[0] == bid}
            fields = seen[keys.broadcast(bid)]
            for state in State:
                said = int(fields.get(b"n%d" % state, 0))
                assert said == sum(r.state is state for r in mine.values()), (bid, state)
            for part, state in ((":dead", State.DEAD), (":doubt", State.IN_DOUBT)):
                marks = {k.decode(): int(v) for k, v in seen.get(keys.broadcast(bid, part), {}).items()}
                assert marks == Counter(k[1] for k, r in mine.items() if r.state is state), part
            is_open = any(r.state in OPEN_STATES for r in mine.values())
            if fields[b"state"] in {b"running", b"completed"}:
                assert is_open == (fields[b"state"] == b"running")
            places = self.places(seen, bid)
            for key, one in mine.items():
                self.check_place(key, one, places)
        assert seen.get(keys.plain("active"), set()) >= {
            bid.encode() for bid in self.broadcasts if seen[keys.broadcast(bid)][b"state"] == b"running"
        }

    def check_place(self, key: Key, one: Record, places: Counter[tuple[str, int, str]]) -> None:
        """What waits is in one place; what is out is in a claim, so that a sweep finds it."""
        _, batch, row = key
        waits = places[batch, row, "flow"] + places[batch, row, "retry"]
        claimed, out = (
            places[batch, row, f"claim {one.attempt}"],
            places[batch, row, f"claim {one.attempt - 1}"],
        )
        if one.state is State.QUEUED:
            assert (waits + claimed, places[batch, row, "retry"]) == (1, 0), (key, one, places)
        elif one.state is State.RETRY:
            assert places[batch, row, "retry"] + claimed == 1, (key, one, places)
        else:
            assert places[batch, row, "retry"] == 0, (key, one, places)
        if one.state is State.SENDING:
            assert out == 1, (key, one, places)

    def places(self, seen: dict[str, Any], bid: str) -> Counter[tuple[str, int, str]]:
        """Count where each record is: ahead in its flow, given back, due again, or claimed."""
        found: Counter[tuple[str, int, str]] = Counter()
        keys = self.store.keys
        for number, lane in enumerate(LANES):
            flow = {k.decode(): int(v) for k, v in seen[keys.flow(bid, lane)].items()}
            sizes = [len(seen[keys.ledger(bid, f"{number}.{n}")]) // 32 for n in range(flow["n"])]
            for n in range(flow["head"], flow["n"]):
                start = flow["pos"] if n == flow["head"] else 0
                found.update((f"{number}.{n}", row, "flow") for row in range(start, sizes[n]))
            for entry in seen.get(keys.flow(bid, lane, ":back"), []):
                n, start, stop = map(int, entry.split(b":"))
                found.update((f"{number}.{n}", row, "flow") for row in range(start, stop))
            for member, _ in seen.get(keys.flow(bid, lane, ":retry"), []):
                n, row = map(int, member.split(b":"))
                found[f"{number}.{n}", row, "retry"] += 1
        for worker in self.workers:
            for raw in seen.get(keys.worker(worker.name, ":claims"), {}).values():
                claim = unpacked(raw)
                if claim[0] == bid:
                    for part in claim[3].split(","):
                        row, attempt = part.split(":")
                        found[claim[2], int(row), f"claim {attempt}"] += 1
        return found

    # -- the end: everything gets going again, and nothing is left

    def teardown(self) -> None:
        if self.broadcasts:
            try:
                self.drain()
                self.check_the_end()
            finally:
                self.do(self.store.close())

    def batches_of(self, bid: str, lane: str) -> int:
        redis: Any = self.store.redis
        return int(self.do(redis.hget(self.store.keys.flow(bid, lane), "n")))

    def drain(self) -> None:
        for hands in self.alive():
            self.do(overdue(self.store, hands.name))
            hands.gone = True
        for _ in range(2):
            self.sweep(200)
        for lane in LANES:
            self.run_call(control.resume_lane(lane))
        for bid in self.broadcasts:
            self.run_call(control.resume(bid))
            if self.broadcast(bid)[b"state"] == b"canceled":
                for i, lane in enumerate(LANES):
                    for n in range(self.batches_of(bid, lane)):
                        self.run_call(control.skip(bid, lane, f"{i}.{n}", Reason.CANCELED))
        last = Hands("last")
        self.workers.append(last)
        self.do(join(self.store, "last"))
        while True:
            self.names += 1
            call = claims.claim("last", f"n{self.names}", lanes=10, records=100, horizon_seconds=5.0)
            answer = self.run_call(call)
            for held in answer.slices:
                self.ask_for(last, held, list(held.items), held.items, twice=False)
                for post in [p for p in self.in_flight() if p.worker == "last"]:
                    self.end(post, "accepted")
                self.run_call(claims.release("last", [held.claim]))
            doubts = self.doubts()
            for post in doubts:
                self.settle_one(post, "evidence", arrived=False)
            if not doubts and answer.next_seconds is None:
                return

    def check_the_end(self) -> None:
        for bid in self.broadcasts:
            assert self.broadcast(bid)[b"state"] in {b"completed", b"canceled"}
        for key, one in self.records().items():
            assert one.state not in OPEN_STATES, (key, one)
            posts = self.posts_of(key)
            reached = [p for p in posts if p.reached]
            arrived = [p for p in reached if not p.excused and not p.failed]
            assert len(arrived) <= 1, (key, posts)
            if one.state in REACHED:
                assert reached, (key, one)
            elif arrived:
                assert self.may_be_unknown(key, one), (key, one, posts)

    def may_be_unknown(self, _: Key, one: Record) -> bool:
        """Whether a message may have arrived although its record says that it was not sent."""
        return one.state is State.DEAD and one.code == Reason.UNKNOWN


def play(machine: type[Messages], url: str, examples: int) -> None:
    """Let a machine's rules happen in any order, so many times, on this Redis."""
    with asyncio.Runner() as runner:
        run_state_machine_as_test(
            type("Machine", (machine,), {"runner": runner, "url": url}),
            settings=settings(
                max_examples=examples,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


@pytest.mark.parametrize(
    "examples",
    [
        pytest.param(5, marks=pytest.mark.timeout(120)),
        pytest.param(250, marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
def test_every_message_ends_and_none_goes_twice(redis_url: str, examples: int) -> None:
    play(Messages, redis_url, examples)
