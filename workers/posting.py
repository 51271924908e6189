"""POSTs: messages the gate let go are sent, at most so many at once; their ends become ledger results."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from broadcaster.domain.content import RenderError
from broadcaster.domain.failures import Kind, Outcome
from broadcaster.domain.handing import TooSoonError
from broadcaster.domain.record import Reason, State
from broadcaster.ledger.outcomes import Decision, RetryPolicy, Stop, decide
from broadcaster.ledger.recording import Result, Results
from broadcaster.store.ending import end
from broadcaster.twilio.codes import lookup
from workers.allowance import Allowance, about_concurrency
from workers.clock import lease_clock
from workers.exhausted import watch
from workers.outgoing import NOT_KEPT_BACK, Lines, Message, Sends, Sent, Signal, Tally
from workers.plan import STALE_SECONDS, Speed
from workers.slices import CODE
from workers.tracing import trace_sent, trace_skipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.lanes.claims import Item, Standing
    from broadcaster.telemetry.bounded import Sample
    from broadcaster.telemetry.metrics import Metrics
    from workers.plan import Held

log = structlog.get_logger("posting")

MICRO: Final = 1_000_000
#: Where Twilio can't be reached a runner rests before its next try, twice as long after each failed round.
REST_SECONDS: Final = 0.05
ROUNDS: Final = 5
_WITHOUT_CODE: Final = {Kind.NOT_SENT: Reason.NOT_SENT, Kind.UNKNOWN: Reason.NO_ANSWER}
_NOT_SENT: Final = Outcome(kind=Kind.NOT_SENT, detail="the yes came too late")
_RAISED: Final = Outcome(kind=Kind.UNKNOWN, detail="the HTTP engine failed")


class Poster:
    """Runs the POSTs. `approve` gives it messages; `results` are taken by the dispatcher's next exchange.

    Nothing leaves once `lease_until` (on `clock.lease_clock`) has passed: whoever took over may be sending it
    by then.
    """

    def __init__(
        self, sender: Sends, *, concurrency: int, policy: RetryPolicy, ended: Callable[[Held], None]
    ) -> None:
        self.in_flight = 0
        self.allowance = Allowance(concurrency)
        self.lease_until = 0.0
        self.ready: deque[Message] = deque()
        self.signals: list[Signal] = []
        self.tally = Tally()
        self.sample: Sample | None = None
        self._sender = sender
        self._concurrency = concurrency
        self._policy = policy
        self._ended = ended
        self._results: dict[tuple[str, str, str], list[Result]] = {}
        self._count = 0
        self._unreached = 0
        self._lines = Lines()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the runners, one for each request that may be in flight."""
        self._tasks = [
            watch(asyncio.create_task(self._run(), name=f"post-{i}")) for i in range(self._concurrency)
        ]

    async def stop(self) -> None:
        """End the runners. Call only when nothing is in flight: a canceled POST is a doubt."""
        await end(self._tasks)

    def approve(self, messages: list[Message]) -> None:
        """Take messages that the gate let go; while Twilio is silent none leaves but a probe."""
        allowance = self.allowance
        if allowance.open:
            probes = min(allowance.probes, len(messages))
            allowance.probes -= probes
            self.turn_back(messages[probes:])
            messages = messages[:probes]
        self.ready.extend(messages)
        self.wake()

    def free(self) -> bool:
        """Whether another request could start now."""
        return self.in_flight < self._concurrency and not self.ready

    def speed(self) -> Speed:
        """Return what could be sent beside what has a yes, if requests take as long as they do now."""
        a_second = self.allowance.a_second
        most = max(1, self.allowance.now) + int(a_second * STALE_SECONDS)
        return Speed(a_second, most - self.in_flight - len(self.ready))

    def hear(self, standing: Standing) -> None:
        """Take what a renewal says about Twilio, and about this worker's share of it."""
        self.allowance.hear(standing)
        self.wake()

    def draw_line(self) -> asyncio.Event:
        """Return what is set once every request that is in flight now has ended."""
        return self._lines.draw(self.in_flight)

    def wake(self) -> None:
        """Let idle runners look for work."""
        wanted = min(len(self.ready), self._most() - self.in_flight)
        while wanted > 0 and self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                wanted -= 1

    def has_results(self) -> bool:
        """Whether there is something to record."""
        return self._count > 0

    def take_results(self) -> list[Results]:
        """Return what ended since the last call, by batch."""
        results, self._results, self._count = self._results, {}, 0
        return [Results(lane, bid, batch, outcomes) for (lane, bid, batch), outcomes in results.items()]

    def add_result(self, held: Held, result: Result) -> None:
        """Note the end of one message of a slice."""
        slice_ = held.slice
        self._results.setdefault((slice_.lane, slice_.broadcast, slice_.batch), []).append(result)
        self._count += 1
        held.open -= 1
        held.ended += 1

    def recall(self) -> None:
        """Take back every message that has not left: what approved it no longer holds."""
        messages = [*self.ready]
        self.ready.clear()
        self.turn_back(messages)

    def turn_back(self, messages: list[Message]) -> None:
        """Note messages that got their yes too late as surely not sent."""
        for message in messages:
            self._settle(message, _NOT_SENT, self.tally.of(message))

    def skip(self, held: Held, item: Item, reason: Reason) -> None:
        """Note that a message was not asked for at the gate at all."""
        if self.sample:
            trace_skipped(self.sample, held, item, reason)
        held.note("skipped")
        self.add_result(held, Result(item.row, item.attempt, State.SKIPPED, reason, b"", 0, 0, 0, 0))

    def report(self, metrics: Metrics) -> None:
        """Add what happened since the last call to the metrics."""
        metrics.in_flight.set(self.in_flight)
        self.tally.report(metrics)

    def _most(self) -> int:
        # requests that hang must not keep a probe from leaving
        return self._concurrency if self.allowance.open else self.allowance.now

    async def _run(self) -> None:  # noqa: C901 - a call less for each message
        loop = asyncio.get_running_loop()
        ready, post, allowance, lines = self.ready, self._sender.post, self.allowance, self._lines
        while True:
            while not ready or (self.in_flight >= allowance.now and self.in_flight >= self._most()):
                waiter = loop.create_future()
                self._idle.append(waiter)
                await waiter
            message = ready.popleft()
            started = monotonic()
            if started > message.good_until:  # it has waited too long for its turn
                self._settle(message, _NOT_SENT, self.tally.of(message))
                continue
            self.in_flight += 1
            in_flight = self.in_flight
            line = lines.drawn
            if in_flight == 1:
                allowance.alone(started)
            outcome = _NOT_SENT
            form = self._form(message)
            if isinstance(form, bytes) and lease_clock() < self.lease_until:
                try:
                    outcome = await post(form)
                except asyncio.CancelledError:
                    raise
                except BaseException as error:  # noqa: BLE001 - a panic of the engine (PyO3's is no Exception)
                    log.error("post.raised", error=type(error).__name__)  # noqa: TRY400 - no rows in logs
                    outcome = _RAISED
            self.in_flight -= 1
            if line != lines.drawn:
                lines.cross(line)
            if isinstance(form, Decision):
                message.held.note("too_soon" if form.state is State.RETRY else "unrendered")
                self._end(message, form)
                continue
            sent = self.tally.of(message)
            rest = self._heard(sent, outcome, in_flight, started)
            self._settle(message, outcome, sent)
            if rest:
                await self._rest(outcome, rest)

    def _heard(self, sent: Sent, outcome: Outcome, in_flight: int, started: float) -> float:
        """Note what an outcome says about Twilio as a whole. Returns for how many seconds to rest."""
        ended = monotonic()
        sent.latencies.append(ended - started)
        kind = outcome.kind
        if kind is Kind.ACCEPTED:
            self._unreached = 0
            self.allowance.admitted(in_flight, started, ended)
            return 0.0
        if kind is Kind.NOT_SENT:
            if outcome is not _NOT_SENT:  # else it is the lease that is over
                self.allowance.unreached()
            self._unreached = min(self._unreached + 1, ROUNDS * self._concurrency)
            return REST_SECONDS * 2.0 ** (self._unreached // self._concurrency)
        self._unreached = 0
        if kind is Kind.UNKNOWN:
            self.allowance.unknown(started)
        elif kind is Kind.THROTTLED and about_concurrency(outcome):
            return self.allowance.throttled(outcome, in_flight, started, self.in_flight)
        else:
            self.allowance.admitted(in_flight, started, ended)
        return 0.0

    async def _rest(self, outcome: Outcome, seconds: float) -> None:
        if outcome.kind is Kind.NOT_SENT:
            await asyncio.sleep(seconds)
            return
        await self.allowance.rest(seconds)
        self.wake()

    def _form(self, message: Message) -> bytes | Decision:
        """Return what to POST, or what becomes of it without; whatever the reason, nothing has been sent."""
        try:
            return message.batch.form(message.item.row, message.item.attempt + 1)
        except MemoryError:  # says nothing about the row
            raise
        except TooSoonError as soon:
            return Decision(State.RETRY, Reason.NOT_SENT, delay_seconds=soon.seconds)
        except Exception as error:  # noqa: BLE001 - one broken row must not end the runner
            at = message.held.slice
            reason = error.reason if isinstance(error, RenderError) else type(error).__name__
            log.error("message.unrendered", broadcast=at.broadcast, batch=at.batch, reason=reason)  # noqa: TRY400 - a traceback would show the row
            return _UNRENDERED

    def _settle(self, message: Message, outcome: Outcome, sent: Sent) -> None:
        kind, item = outcome.kind, message.item
        if self.sample:
            trace_sent(self.sample, message, outcome)
        if kind is Kind.ACCEPTED:
            sent.accepted += 1
            sent.segments += item.segments
            self._accepted(message, outcome.sid or "")
            return
        message.held.note(kind.value)
        if answered := outcome.code or outcome.http_status:
            message.held.note(f"{CODE}{answered}")
        sent.others[kind.value] = sent.others.get(kind.value, 0) + 1
        self.tally.codes[outcome.code or outcome.http_status or _WITHOUT_CODE.get(kind, 0)] += 1
        remedy = lookup(outcome.code or outcome.http_status, outcome.http_status).remedy
        decision = decide(outcome, remedy, spent=item.spent, tries=item.attempt + 1, policy=self._policy)
        if outcome.code in NOT_KEPT_BACK and (wait := message.batch.goes_itself_in()):
            decision = Decision(State.RETRY, outcome.code, spends=True, delay_seconds=wait)
        if decision.state is State.RETRY:
            self.tally.retries[kind.value] += 1
            message.held.note("retries")
        if decision.stop is not Stop.NOTHING or decision.opts_out:
            self.signals.append(Signal(message.held.slice.lane, message.batch.address(item.row), decision))
        self._end(message, decision)

    def _accepted(self, message: Message, sid: str) -> None:
        held, item = message.held, message.item
        flags = message.batch.flag | (sid[:1] == "M")
        raw = bytes.fromhex(sid[2:])
        self.add_result(held, Result(item.row, item.attempt + 1, _ACCEPTED, 0, raw, flags, 0, 0, 0))
        self._ended(held)

    def _end(self, message: Message, decision: Decision) -> None:
        item, delay_us = message.item, int(decision.delay_seconds * MICRO)
        spent, content = int(decision.spends), int(decision.about_content)
        self.add_result(
            message.held,
            Result(
                item.row, item.attempt + 1, decision.state, decision.code, b"", 0, spent, delay_us, content
            ),
        )
        self._ended(message.held)


_ACCEPTED: Final = State.ACCEPTED
_UNRENDERED: Final = Decision(State.DEAD, Reason.RENDERING, spends=True)
