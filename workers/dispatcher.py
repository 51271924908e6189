"""The dispatcher: claim → gate → POST → record, in one loop of round trips.

Each round trip ("exchange") carries whatever there is: outcomes to record, claims to end, messages to ask the
gate for, and a claim for more. Nothing is asked ahead of need: of all messages with a yes, at most
`gate.GROUP` wait for a connection, so that is what a crash can put in doubt besides the requests in flight
and the outcomes that wait for company.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis.exceptions import RedisError

from broadcaster.lanes import claims
from broadcaster.ledger import recording
from broadcaster.reporting.completed import say_completed
from broadcaster.store.ending import end
from broadcaster.store.errors import StoreError, Unreachable
from broadcaster.telemetry.pulse import Pulse
from workers.beat import Beat
from workers.clock import RedisClock
from workers.duty import Duty
from workers.gate import Gate
from workers.holding import IDLE_SECONDS, Holding
from workers.insisting import Insisting
from workers.lease import Lease, Limits
from workers.owner import say_done
from workers.posting import Poster
from workers.reactions import reactions
from workers.redis_clock import ClockWatch, first_heard
from workers.watch import LATE_SECONDS, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from broadcaster.lanes.claims import Standing
    from broadcaster.ledger.outcomes import RetryPolicy
    from broadcaster.ledger.recording import Recorded
    from broadcaster.store.connection import Store
    from broadcaster.store.scripts import Call
    from broadcaster.telemetry.bounded import Sample
    from broadcaster.telemetry.metrics import Metrics
    from broadcaster.twilio.callback_urls import CallbackUrls
    from workers.outgoing import Sends
    from workers.plan import Held

log = structlog.get_logger("dispatcher")

#: Exchanges start no closer together than this, but for new work: each costs as much as ten messages.
GAP_SECONDS: Final = 0.004
#: Outcomes alone wait this long for something to travel with.
COMPANY_SECONDS: Final = 0.02
#: This loop, to the process's pulse.
LOOP: Final = "dispatcher"


class Dispatcher:
    """Serves lanes from one process: `run` until `stop` is called; a lost Redis makes it wait, not end."""

    def __init__(
        self,
        store: Store,
        sender: Sends,
        limits: Limits,
        policy: RetryPolicy,
        metrics: Metrics,
        *,
        callbacks: CallbackUrls | None = None,
        sample: Sample | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        self._store = store
        self._limits = limits
        self._metrics = metrics
        self.clock = RedisClock()
        self._beat = Beat()
        self._pulse = pulse or Pulse("worker")
        self._holding = Holding(store, metrics, self._beat.nudge, callbacks, self.clock.now)
        self._poster = Poster(sender, concurrency=limits.concurrency, policy=policy, ended=self._on_ended)
        self._holding.speed = self._poster.speed
        self._poster.allowance.changed = self._on_circuit
        self._insisting = Insisting(store, lambda: self._poster.in_flight, self._moved)
        self._holding.slices.about = lambda: (self._lease.worker, self._poster.in_flight)
        self._poster.sample = sample
        self._gate = Gate(store, self._holding, self._poster, metrics)
        self._watch = Watch(store, self._poster)
        self._lease = Lease(
            store,
            limits,
            self._poster,
            beside=(self._watch, ClockWatch(self.clock, metrics)),
            on_standing=self._on_standing,
            on_lost=self._on_lease_lost,
            moved=lambda: self._pulse.beat("lease"),
        )
        self._started = 0.0
        #: When outcomes are written at the latest; 0 while there are none.
        self._write_by = 0.0
        #: Whether the gate or a claim waits for room, which the end of any message gives.
        self._crowded = False
        self._stop_by: float | None = None
        self._side: set[asyncio.Task[None]] = set()
        self.duty = Duty()
        #: Called once when somebody has asked this worker to drain; it ends by `stop`.
        self.on_drain: Callable[[], None] | None = None

    async def run(self) -> None:
        """Serve until `stop`; then finish what is in flight and give back the rest. Raises `EpochChanged`."""
        await self._lease.join()
        await first_heard(self._store, self.clock)
        self._poster.start()
        always = asyncio.create_task(self._lease.renew_forever()), asyncio.create_task(self._listen())
        self._side.update(always)
        try:
            while self._stop_by is None:
                await self._beat.wait_until(self._next_exchange(monotonic()))
                self._moved()
                await self._insisting.write_again()
                await self._exchange()
                for task in always:
                    if task.done():
                        task.result()
            await end(always[1:])  # what there is to hear is for others now
            await self._drain()
            # or it finds the lease gone, and takes another
            await end(always[:1])
            await self._leave()
        except Unreachable as error:
            log.warning("drain.incomplete", in_flight=self._poster.in_flight, error=str(error))
        finally:
            for loop in (LOOP, "lease"):
                self._pulse.ended(loop)
            await end(self._side)
            await self._holding.close()
            await self._poster.stop()

    def stop(self) -> None:
        """Claim nothing more; `run` returns when what is in flight has ended, or its time is up."""
        self._stop_by = self._insisting.until = monotonic() + self._limits.drain_seconds
        self._beat.nudge()

    def _moved(self) -> None:
        self._pulse.beat(LOOP)

    # -- when

    def _next_exchange(self, now: float) -> float:
        if self._stop_by is not None:
            return now
        soonest = self._started + GAP_SECONDS
        at = now + IDLE_SECONDS
        to_ask = self._gate.next_at()
        wants, soon = self._wants(), self._holding.claim_at <= now + COMPANY_SECONDS
        full = to_ask is None and self._gate.waited_for()
        self._crowded = full or (soon and self._holding.short_of_room())
        if self._poster.has_results() or self._holding.finished:
            self._write_by = self._write_by or now + COMPANY_SECONDS
            hurried = self._crowded or self._poster.signals
            at = soonest if hurried else max(soonest, self._write_by)
        if to_ask is not None:
            at = min(at, max(soonest, to_ask))
        if wants:
            at = min(at, max(soonest, self._holding.claim_at))
        return at

    def _wants(self) -> bool:
        return self._gate.confirmed and self._holding.wants()

    def _on_ended(self, held: Held) -> None:
        if self._holding.close_if_done(held) or self._crowded or self._poster.signals:
            self._beat.nudge(self._started + GAP_SECONDS)
        elif not self._write_by:
            self._write_by = monotonic() + COMPANY_SECONDS
            self._beat.nudge(self._write_by)

    # -- the exchange

    async def _exchange(self) -> None:
        now = self._started = monotonic()
        self._holding.slices.write_due(now)
        worker, holding = self._lease.worker, self._holding
        asked = [] if self._stop_by is not None else self._gate.choose(now)
        holding.asking = sum(len(items) for _, items in asked)
        results, self._write_by = self._poster.take_results(), 0.0
        calls: list[Call[Any]] = [recording.record(worker, results)] if results else []
        calls += reactions(self._poster)
        finished, holding.finished = holding.finished, []
        unsent, holding.unsent = holding.unsent, {}
        if finished:
            calls.append(claims.release(worker, finished, unsent))
        if asked:
            calls.append(self._gate.question(worker, asked))
        claiming = self._stop_by is None and holding.claim_at <= now + GAP_SECONDS and self._wants()
        if claiming:
            calls.append(holding.ask(worker, self._store.guard.known))
        if not calls:
            return
        answers = await self._insisting.ask(calls)
        holding.asking = 0
        answered = monotonic()
        self._metrics.redis_roundtrip.observe_many([answered - now])
        claimed = answers.pop() if claiming else None
        if claiming and worker == self._lease.worker:
            holding.answered(claimed, now, answered)
        if asked:
            late = worker != self._lease.worker or answered - now > LATE_SECONDS
            await self._gate.answered(
                asked, answers.pop(), asked_at=now, late=late, repeated=self._insisting.repeated
            )
            if not self._gate.confirmed:
                self._beside(self._watch.until_confirmed(self._gate))
        if results:
            self._recorded(answers[0])
        self._poster.report(self._metrics)

    def _recorded(self, answer: Recorded) -> None:
        for broadcast in answer.completed:
            self._beside(say_completed(self._store, broadcast))

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._side.add(task)
        task.add_done_callback(self._side.discard)

    # -- beside the exchange

    async def _on_standing(self, standing: Standing) -> None:
        self.duty.hear(on=standing.on_duty)
        await self._gate.hear(standing.optout_epoch)
        if self._watch.another_server():
            lost = self._insisting.another_server()
            await self._gate.read_anew()
            log.warning("redis.another_server", written_again=lost)
            self._beat.nudge()
        if standing.draining and self.on_drain is not None:
            log.info("worker.draining", worker=self._lease.worker, in_flight=self._poster.in_flight)
            asked, self.on_drain = self.on_drain, None
            asked()
        if self._poster.allowance.open:
            self._probe(self._poster.allowance.probes)
        self._holding.hear(standing.due_seconds)

    def _on_circuit(self, opened: bool) -> None:  # noqa: FBT001 - a callback of one word
        """Let nothing more leave when Twilio has stopped answering; what had a yes has not left."""
        self._metrics.circuit_open.set(opened)
        self._holding.probes = 0 if opened else None
        if opened:
            self._gate.give_back()
            self._holding.give_back_all()
            self._poster.recall()
        else:
            self._holding.claim_at = 0.0
        self._beat.nudge()

    def _probe(self, messages: int) -> None:
        self._holding.probes = messages
        if messages:
            self._holding.claim_at = 0.0
            self._beat.nudge()

    def _on_lease_lost(self) -> None:
        """Keep what had a yes and has not left from leaving; outcomes in flight still count."""
        self._gate.forget()
        self._poster.recall()
        self._holding.forget_all()
        self._beside(say_done(self._store, self._lease.worker, self._poster.draw_line()))

    async def _listen(self) -> None:
        """Hear of new work sooner than by the renewal once a second."""
        while True:
            try:
                if await self._store.redis.blpop([self._store.keys.plain("wake")], timeout=IDLE_SECONDS):
                    self._holding.wake()
            except (RedisError, OSError):
                await asyncio.sleep(IDLE_SECONDS)

    async def _drain(self) -> None:
        """Finish what is in flight within the budget, write its outcomes, give back everything else."""
        self._holding.give_back_all()
        self._gate.give_back()
        until = self._stop_by or 0.0
        while (self._poster.in_flight or self._poster.ready) and monotonic() < until:
            await self._exchange()
            await asyncio.sleep(GAP_SECONDS * 5)
        await self._exchange()
        self._holding.slices.write_all()

    async def _leave(self) -> None:
        try:
            while await self._store.run(claims.leave(self._lease.worker)):
                pass
        except StoreError as error:
            log.warning("leave.failed", error=str(error))
        if self._poster.in_flight:
            log.warning("drain.incomplete", in_flight=self._poster.in_flight)
