"""The slices this worker holds: claimed, fetched, planned, and ended again."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis.exceptions import RedisError

from broadcaster.lanes import claims
from broadcaster.store.ending import end
from broadcaster.store.errors import LeaseLost
from workers.clock import Moments, RoundTrips
from workers.contents import Contents
from workers.exhausted import watch
from workers.plan import STALE_SECONDS, Held, Plan, Speed
from workers.slices import SliceLog
from workers.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.lanes.claims import Claimed, Slice
    from broadcaster.store.connection import Store
    from broadcaster.store.scripts import Call
    from broadcaster.telemetry.metrics import Metrics
    from broadcaster.twilio.callback_urls import CallbackUrls
    from workers.contents import Batch

log = structlog.get_logger("slices")

#: Claims reach this far ahead of a lane's next permit, and are made this long before it; both by as much more
#: as a slice is on its way.
HORIZON_SECONDS: Final = 0.04
LEAD_SECONDS: Final = 0.01
IDLE_SECONDS: Final = 1.0
#: Who has nothing to do hears of work: of new work at once, of any within a second as it renews its lease.
UNASKED_SECONDS: Final = 10.0
LANES_AT_ONCE: Final = 200
UNSENT_AT_MOST: Final = 4000
#: Nobody holds more unsent than would leave within so long, which is how long a slice lasts (claim.lua), and
#: of a faster lane no more than there is room for: permits of what is late are lost to all.
SLICE_SECONDS: Final = 0.5
ENOUGH: Final = 256
FASTEST: Final = Speed(math.inf, UNSENT_AT_MOST)
_NOBODY: Final[frozenset[int]] = frozenset()


class Holding:
    """Asks for slices when there is room, keeps their batches at hand, and ends their claims.

    `finished` are claims to end in the next round trip; `limited` is set while more could be sent than may be
    asked for. While Twilio is silent `probes` says how many messages may be claimed; else it is None.
    """

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        on_change: Callable[[], None],
        callbacks: CallbackUrls | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.plan = Plan()
        self.contents = Contents(store, callbacks, now)
        self.slices = SliceLog()
        self._windows = Windows(store)
        self.finished: list[str] = []
        self.unsent: dict[str, list[int]] = {}
        self.limited = False
        #: How many the gate is being asked for: they are neither here nor with the poster.
        self.asking = 0
        self.claim_at = 0.0
        self.stopped_by = ""
        self.probes: int | None = None
        #: What the worker can send now.
        self.speed: Callable[[], Speed] = lambda: FASTEST
        self._metrics = metrics
        self._on_change = on_change
        self._held: dict[str, Held] = {}
        self._nonce = ""
        self._asked = 0
        self._moments = Moments()
        self._round_trips = RoundTrips()
        self._woken = -math.inf
        self._probing = False
        self._admitting: set[asyncio.Task[None]] = set()

    def wants(self) -> bool:
        """Whether there is room for more slices."""
        speed, unsent = self.speed(), self.plan.unsent
        if self._admitting or unsent >= _most(speed) or self.probes == 0 or self._short(speed):
            return False
        # who is behind takes more only when that is all but sent: others are ahead
        meanwhile = speed.a_second * (2 * LEAD_SECONDS + self._on_its_way())
        return not self.limited or unsent < max(1.0, min(ENOUGH, meanwhile))

    def short_of_room(self) -> bool:
        """Whether there is room for too few; a probe leaves beside requests that hang."""
        return self._short(self.speed())

    def _short(self, speed: Speed) -> bool:
        few = max(1.0, min(ENOUGH, speed.a_second * STALE_SECONDS / 2))
        return self.probes is None and self._room(speed) < few

    def _room(self, speed: Speed) -> float:
        return speed.spare - self.asking + speed.a_second * self._on_its_way()

    def ask(self, worker: str, known: int) -> Call[Claimed]:
        """Return the claim to make. Until it is answered the nonce stays, so that it gets one answer."""
        if not self._nonce:
            self._asked += 1
            self._woken = -math.inf  # this one sees what came before it
            self._nonce = f"{self._asked}.{secrets.token_hex(6)}"
        self._probing = bool(self.probes)
        speed = self.speed()
        records = self.probes or max(1, _most(speed) - self.plan.unsent)
        if self._probing:
            self.probes = 0
        return claims.claim(
            worker,
            self._nonce,
            lanes=LANES_AT_ONCE,
            records=records,
            horizon_seconds=HORIZON_SECONDS + self._on_its_way(),
            a_second=speed.a_second,
            at_once=max(1, int(min(UNSENT_AT_MOST, self._room(speed))) - self.plan.unsent),
            known=known,
            probing=self._probing,
        )

    def answered(self, answer: Any, asked: float, now: float) -> None:
        """Take the answer, which arrived at `now`, to a claim that was first `asked` for then."""
        self._nonce = ""
        self._round_trips.note(asked, now)
        if isinstance(answer, Exception):
            self.claim_at = now + (0.05 if isinstance(answer, LeaseLost) else IDLE_SECONDS)
            return
        if answer.stopped != self.stopped_by:
            self.stopped_by = answer.stopped
            log.warning("account.stopped" if answer.stopped else "account.resumed", reason=answer.stopped)
        lead = LEAD_SECONDS + self._on_its_way()
        wait = UNASKED_SECONDS if answer.next_seconds is None else answer.next_seconds - lead
        # another worker's permits go on where these end: a slice must not move because its answer came late
        made = self._moments.of(answer.at, asked, now)
        # there may be more than this claim has seen
        self.claim_at = now if self._woken >= asked else min(now + UNASKED_SECONDS, max(now, made + wait))
        if answer.slices:
            self._metrics.claimed(len(answer.slices))
            self._metrics.permit_wait.observe_many([s.delay_seconds for s in answer.slices])
            for slice_ in answer.slices:
                held = Held(slice_, made + slice_.delay_seconds, began=now)
                self._held[slice_.claim] = held
                if self.probes is not None and not self._probing:  # the silence began meanwhile
                    self.give_up(held)
            task = watch(asyncio.create_task(self._admit(answer.slices)))
            self._admitting.add(task)
            task.add_done_callback(self._admitted)

    def wake(self) -> None:
        """Claim at once: there is work that the last answer did not tell of."""
        self._woken = monotonic()
        self.claim_at = 0.0
        self._on_change()

    def hear(self, due_seconds: float | None) -> None:
        """Claim no later than a lane is due, which a renewal has said; None: none has work."""
        if due_seconds is not None:
            at = monotonic() + max(0.0, due_seconds - LEAD_SECONDS - self._on_its_way())
            self.claim_at = min(self.claim_at, at)
            self._on_change()

    def _on_its_way(self) -> float:
        """For how long a slice is on its way here: it is claimed, then fetched."""
        return 2 * self._round_trips.quickest

    async def _admit(self, slices: list[Slice]) -> None:
        """Fetch what the slices say, then plan them; those that were dropped meanwhile are left."""
        closed: dict[str, frozenset[int]] = {}
        batches: dict[tuple[str, str], Batch] = {}
        while any(slice_.claim in self._held for slice_ in slices):
            try:
                batches = await self.contents.load(slices)
                closed = await self._windows.closed(slices, batches)
                break
            except (RedisError, OSError):
                await asyncio.sleep(0.2)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - what was not fetched must go back, or it is never sent
                log.error("admit.failed", error=repr(error))  # noqa: TRY400 - no rows in logs
                break
        for slice_ in slices:
            held = self._held.get(slice_.claim)
            if held is None or held.dropped:
                continue
            self.plan.add(held)
            held.batch = batches.get((slice_.broadcast, slice_.batch))
            held.closed = closed.get(slice_.claim, _NOBODY)
            if held.batch is None:
                log.error("batch.missing", broadcast=slice_.broadcast, batch=slice_.batch)
                self.give_up(held)

    def _admitted(self, task: asyncio.Task[None]) -> None:
        self._admitting.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("admit.failed", error=repr(error))
        self._on_change()

    def give_up(self, held: Held, *, lost: bool = False) -> None:
        """Drop what is left of a slice; its records go back when its claim ends, unless the claim is lost."""
        self.plan.drop(held)
        if lost:
            self._held.pop(held.slice.claim, None)
        else:
            self.close_if_done(held)

    def close_if_done(self, held: Held) -> bool:
        """End a slice's claim once all of its messages have an end that is written, or were given up.

        Whether some of them go back that came too late for their permits: then it is time to claim again.
        """
        claim = held.slice.claim
        if held.open > 0 or held.position < len(held.slice.items) or claim not in self._held:
            return False
        del self._held[claim]
        self.finished.append(claim)
        if held.unsent:
            self.unsent[claim] = held.unsent
        if held.late:
            self._woken, self.claim_at = monotonic(), 0.0
        elif held.batch is not None and held.batch.ends_at(held.slice.items[-1].row):
            self.contents.done_with(held.slice.broadcast, held.slice.batch)
        self.slices.ended(held, monotonic())
        return held.late > 0

    def forget_all(self) -> None:
        """Let go of everything: the lease is lost, none of the claims is ours any more."""
        self.plan.drop_all()
        self._held.clear()
        self.finished.clear()
        self.unsent.clear()
        self._nonce = ""
        self.claim_at = 0.0

    def give_back_all(self) -> None:
        """Drop what was not asked for, as the process ends: its claims end as soon as the rest has."""
        for held in list(self._held.values()):
            self.give_up(held)

    async def close(self) -> None:
        """End what is being fetched."""
        await end(self._admitting)


def _most(speed: Speed) -> int:
    return max(1, int(min(UNSENT_AT_MOST, speed.a_second * SLICE_SECONDS)))
