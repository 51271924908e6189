"""The dispatcher: claim → gate → POST → record, in one loop of round trips.

Each round trip ("exchange") carries whatever there is: outcomes to record, claims to end, messages to ask the gate
for, and a claim for more. Nothing is asked ahead of need: of all messages with a yes, at most `GROUP` wait for a
connection, so that is what a crash can put in doubt besides the requests in flight.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis.exceptions import RedisError

from broadcaster.lanes import claims, control
from broadcaster.ledger import recording
from broadcaster.ledger.optouts import OptOuts, opt_out
from broadcaster.ledger.outcomes import RetryPolicy, Stop
from broadcaster.domain.record import Reason
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.store.errors import EpochChanged, LeaseLost, StoreError, Unreachable
from broadcaster.twilio.codes import meaning
from workers.contents import Contents
from workers.plan import Held, Plan
from workers.posting import Message, Poster, Sends, Signal

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from broadcaster.lanes.claims import Item
    from broadcaster.store.connection import Store
    from broadcaster.store.scripts import Call
    from broadcaster.telemetry.metrics import Metrics

log = structlog.get_logger("dispatcher")

GROUP: Final = 64
#: Claims reach this far ahead of a lane's next permit, and are made this long before it.
HORIZON_SECONDS: Final = 0.04
LEAD_SECONDS: Final = 0.01
#: The gate is asked this long before a message may leave: about one round trip.
ASK_SECONDS: Final = 0.003
#: Exchanges start no closer together than this, so that outcomes travel in company.
GAP_SECONDS: Final = 0.002
IDLE_SECONDS: Final = 1.0
PLAN_AT_MOST: Final = 4000
ENOUGH: Final = 256
#: A yes that is older than this when it arrives is not used: its permit is long past, and so may the lease be.
LATE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one worker does at once, and how long others wait before they take over its work."""

    concurrency: int = 64
    lease_seconds: float = 5.0
    renew_seconds: float = 1.0
    drain_seconds: float = 40.0
    account_initial: int = 100
    account_most: int = 1000


class Dispatcher:
    """Serves the lanes from one process. `run` until `stop` is called; a lost Redis makes it wait, not end."""

    def __init__(
        self, store: Store, sender: Sends, limits: Limits, policy: RetryPolicy, metrics: Metrics
    ) -> None:
        self.worker = ""
        self.stopped_by = ""
        self._store = store
        self._limits = limits
        self._metrics = metrics
        self._plan = Plan()
        self._contents = Contents(store)
        self._optouts = OptOuts()
        self._poster = Poster(sender, concurrency=limits.concurrency, policy=policy, ended=self._on_ended)
        self._held: dict[str, Held] = {}
        self._finished: list[str] = []
        self._controls: list[Call[Any]] = []
        self._said: set[tuple[str, str]] = set()
        self._claim_at = 0.0
        self._nonce = ""
        self._limited = False
        self._last_start = 0.0
        self._wake_at = 0.0
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self._admitting = 0
        self._side: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until `stop`; then finish what is in flight and give back the rest. Raises `EpochChanged`."""
        await self._join()
        self._poster.start()
        side = [asyncio.create_task(self._renew_forever()), asyncio.create_task(self._listen())]
        try:
            while not self._stopping:
                await self._pause()
                await self._exchange()
                for task in side:
                    if task.done():
                        task.result()
            await self._drain()
        finally:
            for task in (*side, *self._side):
                task.cancel()
            await asyncio.gather(*side, *self._side, return_exceptions=True)
            await self._poster.stop()

    def stop(self) -> None:
        """Claim nothing more; `run` returns when what is in flight has ended, or its time is up."""
        self._stopping = True
        self._wake.set()

    # -- when

    async def _pause(self) -> None:
        now = monotonic()
        self._wake_at = self._next_exchange(now)
        if self._wake_at <= now:
            await asyncio.sleep(0)
            return
        self._wake.clear()
        self._schedule(self._wake_at)
        await self._wake.wait()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake_at = 0.0

    def _schedule(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, at - monotonic()), self._wake.set)
        self._wake_at = at

    def _nudge(self, at: float) -> None:
        """Let the next exchange start at `at` if it was to start later."""
        if at < self._wake_at:
            self._schedule(at)

    def _on_ended(self, held: Held) -> None:
        self._close_if_done(held)
        earliest = self._last_start + GAP_SECONDS
        if self._wake_at > earliest:
            self._nudge(earliest)

    def _next_exchange(self, now: float) -> float:
        soonest = self._last_start + GAP_SECONDS
        at = now + IDLE_SECONDS
        if self._poster.has_results() or self._finished or self._controls:
            at = soonest
        if self._room() > 0:
            first = self._plan.next_at()
            if first is not None:
                at = min(at, max(soonest, first - ASK_SECONDS))
        if self._wants_claim():
            at = min(at, max(soonest, self._claim_at))
        return at

    def _room(self) -> int:
        room = GROUP - len(self._poster.ready)
        return room if room >= GROUP // 2 else 0

    def _wants_claim(self) -> bool:
        if self._plan.unsent >= PLAN_AT_MOST or self._admitting:
            return False
        return not self._limited or self._plan.unsent < ENOUGH

    # -- the exchange

    async def _exchange(self) -> None:
        now = self._last_start = monotonic()
        asked = self._ask(now)
        results = self._poster.take_results()
        finished, self._finished = self._finished, []
        controls, self._controls = [*self._controls, *self._react()], []
        calls: list[Call[Any]] = []
        if results:
            calls.append(recording.record(self.worker, results))
        calls += controls
        if finished:
            calls.append(claims.release(self.worker, finished))
        if asked:
            calls.append(
                claims.intend(
                    self.worker, self._optouts.epoch, [_group(held, items) for held, items in asked]
                )
            )
        claiming = not self._stopping and self._claim_at <= now + GAP_SECONDS and self._wants_claim()
        if claiming:
            self._nonce = self._nonce or secrets.token_hex(6)
            calls.append(
                claims.claim(
                    self.worker,
                    self._nonce,
                    lanes=200,
                    records=PLAN_AT_MOST - self._plan.unsent,
                    horizon_seconds=HORIZON_SECONDS,
                )
            )
        if not calls:
            return
        sent_at, worker = monotonic(), self.worker
        answers = await self._insist(calls)
        answered_at = monotonic()
        self._metrics.redis_roundtrip.observe_many([answered_at - sent_at])
        if claiming:
            self._claimed(answers.pop(), answered_at)
        if asked:
            late = worker != self.worker or answered_at - sent_at > LATE_SECONDS
            await self._let_go(asked, answers.pop(), late=late)
        if results:
            self._recorded(answers[0])
        for answer in answers:
            if isinstance(answer, EpochChanged):
                raise answer
            if isinstance(answer, StoreError) and not isinstance(answer, LeaseLost):
                log.error("redis.refused", error=str(answer))
        self._poster.report(self._metrics)

    async def _insist(self, calls: list[Call[Any]]) -> list[Any]:
        """Ask until there is an answer; every script may be run twice. POSTs go on meanwhile."""
        wait, waited = 0.05, 0.0
        while True:
            try:
                answers = await self._store.run_each(calls)
            except Unreachable as error:
                if not waited:
                    log.warning("redis.unreachable", error=str(error), in_flight=self._poster.in_flight)
                self._metrics.redis_failed("exchange")
                await asyncio.sleep(wait)
                waited += wait
                wait = min(1.0, wait * 2)
            else:
                if waited:
                    log.info("redis.back", waited_seconds=round(waited, 1))
                return answers

    def _ask(self, now: float) -> list[tuple[Held, list[Item]]]:
        """Choose the messages to ask the gate for: due by the time it has answered, and not opted out."""
        room = 0 if self._stopping else self._room()
        if not room:
            return []
        portions, ended = self._plan.take(now, now + ASK_SECONDS, room)
        self._limited = sum(len(items) for _, items in portions) >= room
        if self._optouts:
            portions = [(held, self._without_opted_out(held, items)) for held, items in portions]
        for held in ended:
            self._close_if_done(held)
        return [(held, items) for held, items in portions if items]

    def _without_opted_out(self, held: Held, items: list[Item]) -> list[Item]:
        batch = self._contents.get(held.slice.broadcast, held.slice.batch)
        if batch is None:
            return items
        kept = []
        for item in items:
            if self._optouts.blocks(batch.address(item.row), held.slice.lane):
                self._poster.skip(held, item, Reason.OPTED_OUT)
            else:
                kept.append(item)
        return kept

    async def _let_go(self, asked: list[tuple[Held, list[Item]]], verdicts: Any, *, late: bool) -> None:
        """Hand what the gate let go to the poster; a yes that took too long to arrive is turned back, unsent."""
        if isinstance(verdicts, StoreError):
            for held, items in asked:
                held.open -= len(items)
                self._give_up(held)
            return
        stale_optouts = False
        for (held, items), verdict in zip(asked, verdicts, strict=True):
            if verdict.refused:
                held.open -= len(items)
                self._metrics.intents_refused(verdict.refused, len(items))
                stale_optouts = stale_optouts or verdict.refused == "optouts"
                self._give_up(held, lost=verdict.refused == "claim")
                continue
            batch = self._contents.get(held.slice.broadcast, held.slice.batch)
            if batch is None:
                raise RuntimeError("a slice was admitted without its batch")
            going = [
                Message(held, item, batch) for item, yes in zip(items, verdict.yes, strict=True) if yes == "1"
            ]
            held.open -= len(items) - len(going)
            if late:
                self._poster.turn_back(going)
            else:
                self._poster.approve(going)
            self._close_if_done(held)
        if stale_optouts:
            await self._refresh_optouts()

    def _give_up(self, held: Held, *, lost: bool = False) -> None:
        self._plan.drop(held)
        if lost:
            self._held.pop(held.slice.claim, None)
        else:
            self._close_if_done(held)

    def _close_if_done(self, held: Held) -> None:
        if held.open <= 0 and held.position >= len(held.slice.items) and held.slice.claim in self._held:
            del self._held[held.slice.claim]
            self._finished.append(held.slice.claim)

    def _recorded(self, answer: Any) -> None:
        if isinstance(answer, StoreError):
            return
        if answer.caused:
            self._metrics.duplicate_caused(answer.caused)
            log.error("duplicate.caused", count=answer.caused)
        for broadcast, reason in answer.paused:
            log.warning("broadcast.paused", broadcast=broadcast, reason=reason)
        for broadcast in answer.completed:
            self._spawn(self._say_completed(broadcast))

    def _claimed(self, answer: Any, now: float) -> None:
        if isinstance(answer, Exception):
            self._nonce = ""
            self._claim_at = now + (0.05 if isinstance(answer, LeaseLost) else IDLE_SECONDS)
            return
        self._nonce = ""
        if answer.stopped != self.stopped_by:
            self.stopped_by = answer.stopped
            log.warning("account.stopped" if answer.stopped else "account.resumed", reason=answer.stopped)
        wait = IDLE_SECONDS if answer.next_seconds is None else answer.next_seconds - LEAD_SECONDS
        self._claim_at = now + min(IDLE_SECONDS, max(0.0, wait))
        if not answer.slices:
            return
        self._metrics.claimed(len(answer.slices))
        self._admitting += 1
        self._spawn(self._admit(answer.slices, now))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._side.add(task)
        task.add_done_callback(self._side.discard)

    async def _say_completed(self, broadcast: str) -> None:
        """Write a broadcast's one canonical line."""
        try:
            snapshot = await read_broadcast(self._store, broadcast)
        except (RedisError, OSError):
            return
        if snapshot is not None:
            log.info("broadcast.completed", **snapshot.summary())

    async def _admit(self, slices: list[claims.Slice], now: float) -> None:
        """Fetch what the slices say, then plan them."""
        for slice_ in slices:
            self._held[slice_.claim] = Held(slice_, now + slice_.delay_seconds)
        worker = self.worker
        while worker == self.worker:
            try:
                await self._contents.load(slices)
                break
            except (RedisError, OSError):
                await asyncio.sleep(0.2)
        for slice_ in slices:
            held = self._held.get(slice_.claim)
            if held is None:
                continue
            self._plan.add(held)
            if self._contents.get(slice_.broadcast, slice_.batch) is None:
                log.error("batch.missing", broadcast=slice_.broadcast, batch=slice_.batch)
                self._give_up(held)
        self._admitting -= 1
        self._nudge(monotonic())

    def _react(self) -> list[Call[Any]]:
        """Turn outcomes that concern more than one message into stops, holds and opt-outs."""
        signals, self._poster.signals = self._poster.signals, []
        calls: list[Call[Any]] = []
        for signal in signals:
            calls += self._reaction(signal)
        return calls

    def _reaction(self, signal: Signal) -> list[Call[Any]]:
        decision, lane = signal.decision, signal.lane
        reason = f"{decision.code}: {meaning(decision.code)}"
        match decision.stop:
            case Stop.ACCOUNT:
                log.error("account.stop", reason=reason)
                return [control.pause_account(reason)]
            case Stop.LANE:
                log.error("lane.stop", lane=lane, reason=reason)
                return [control.pause_lane(lane, reason)]
            case Stop.HOLD_LANE:
                log.warning("lane.hold", lane=lane, seconds=decision.stop_seconds, reason=reason)
                return [control.hold_lane(lane, decision.stop_seconds, reason)]
            case Stop.NOTHING:
                return (
                    [opt_out([signal.address], f"twilio:{decision.code}", lane)] if decision.opts_out else []
                )

    # -- lease

    async def _join(self) -> None:
        while True:
            try:
                self.worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
                about = {
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "concurrency": self._limits.concurrency,
                }
                asked_at = monotonic()
                standing = await self._store.run(
                    claims.join(
                        self.worker,
                        about,
                        lease_seconds=self._limits.lease_seconds,
                        initial=self._limits.account_initial,
                        most=self._limits.account_most,
                    )
                )
                self._poster.lease_until = asked_at + self._limits.lease_seconds
                await self._refresh_optouts()
            except Unreachable:
                await asyncio.sleep(0.5)
            else:
                self._poster.share(standing.share)
                self._claim_at = 0.0
                return

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(self._limits.renew_seconds)
            tally = self._poster.tally
            accepted, throttled, full = tally.accepted, tally.throttled, tally.full
            tally.accepted = tally.throttled = 0
            tally.full = False
            asked_at = monotonic()
            try:
                standing = await self._store.run(
                    claims.renew(
                        self.worker,
                        lease_seconds=self._limits.lease_seconds,
                        accepted=accepted,
                        throttled=throttled,
                        full=full,
                        initial=self._limits.account_initial,
                        most=self._limits.account_most,
                    )
                )
            except LeaseLost:
                await self._start_over()
                continue
            except Unreachable:
                continue
            self._poster.lease_until = asked_at + self._limits.lease_seconds
            self._poster.share(standing.share)
            if standing.optout_epoch != self._optouts.epoch:
                await self._refresh_optouts()

    async def _start_over(self) -> None:
        """The lease is gone, and with it the claims: begin under a new name. Outcomes in flight still count."""
        log.warning("lease.lost", worker=self.worker, in_flight=self._poster.in_flight)
        self._poster.recall()
        self._plan.drop_all()
        self._held.clear()
        self._finished.clear()
        await self._join()

    async def _refresh_optouts(self) -> None:
        """Become current. Where Redis does not answer, the gate refuses until this has worked."""
        try:
            await self._optouts.refresh(self._store)
        except (RedisError, OSError) as error:
            log.warning("optouts.unread", error=str(error))

    async def _listen(self) -> None:
        """Hear that there is new work sooner than by looking once a second."""
        while True:
            try:
                if await self._store.redis.blpop([self._store.keys.plain("wake")], timeout=IDLE_SECONDS):
                    self._claim_at = 0.0
                    self._nudge(monotonic())
            except (RedisError, OSError):
                await asyncio.sleep(IDLE_SECONDS)

    # -- the end

    async def _drain(self) -> None:
        """Finish what is in flight within the budget; give back everything else."""
        for held in self._plan.drop_all():
            self._close_if_done(held)
        try:
            async with asyncio.timeout(self._limits.drain_seconds):
                while self._poster.in_flight or self._poster.ready:
                    await self._exchange()
                    await asyncio.sleep(0.01)
                await self._exchange()
                while await self._store.run(claims.leave(self.worker)):
                    pass
        except (TimeoutError, StoreError) as error:
            log.warning("drain.incomplete", in_flight=self._poster.in_flight, error=str(error))


def _group(held: Held, items: list[Item]) -> claims.Group:
    slice_ = held.slice
    wanted = [value for item in items for value in (item.row, item.attempt)]
    return claims.Group(slice_.claim, slice_.lane, slice_.broadcast, slice_.batch, wanted)
