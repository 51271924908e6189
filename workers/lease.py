"""A worker's lease: the name under which it holds claims, and how long it may still POST."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import structlog

from broadcaster.domain.circuit import Steering, steer
from broadcaster.domain.concurrency import Level
from broadcaster.lanes import claims
from broadcaster.lanes.claims import Answer
from broadcaster.store.errors import EpochChanged, LeaseLost, StoreError, Unreachable
from workers.clock import lease_clock
from workers.owner import identity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from broadcaster.domain.circuit import Word
    from broadcaster.lanes.claims import Standing, Turn
    from broadcaster.store.connection import Store
    from broadcaster.store.scripts import Call
    from workers.posting import Poster

log = structlog.get_logger("lease")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one worker does at once, and how long others wait before they take over its work."""

    concurrency: int = 64
    lease_seconds: float = 5.0
    renew_seconds: float = 1.0
    drain_seconds: float = 40.0
    account_initial: int = 100
    account_most: int = 1000


class Asks(Protocol):
    """What else a worker asks every second: with the renewal, as each write wakes Redis and its disk."""

    async def question(self, worker: str) -> Call[Any]:
        """Return the question."""
        ...

    def heard(self, found: Any, began: float, answered: float) -> None:
        """Take the answer, maybe a `StoreError`, and by `lease_clock` when it was asked and came."""
        ...


class Lease:
    """Joins, renews every second, and begins again under a new name when the lease was lost.

    Every standing goes to the poster (its share, until when it may POST) and to `on_standing`, after those
    `beside` have heard theirs; `moved` is told each time round.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits,
        poster: Poster,
        *,
        beside: Sequence[Asks] = (),
        on_standing: Callable[[Standing], Awaitable[None]],
        on_lost: Callable[[], None],
        moved: Callable[[], None],
    ) -> None:
        self.worker = ""
        self._store = store
        self._limits = limits
        self._poster = poster
        self._beside = beside
        self._on_standing = on_standing
        self._on_lost = on_lost
        self._moved = moved

    async def join(self) -> None:
        """Take a lease under a new name; waits for Redis."""
        before = self.worker
        while True:
            self._moved()
            self.worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
            about = {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "concurrency": self._limits.concurrency,
                **identity(),
            }
            call = claims.join(
                self.worker,
                about,
                lease_seconds=self._limits.lease_seconds,
                initial=self._limits.account_initial,
                before=before,
            )
            try:
                standing = await self._ask(call, self._beside)
            except Unreachable:
                await asyncio.sleep(0.5)
                continue
            await self._on_standing(standing)
            return

    async def renew_forever(self) -> None:
        """Renew every second, and at once where the others should hear something. Raises `EpochChanged`."""
        allowance = self._poster.allowance
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(allowance.soon.wait(), self._limits.renew_seconds)
            allowance.soon.clear()
            self._moved()
            try:
                await self._renew()
            except LeaseLost:
                log.warning("lease.lost", worker=self.worker, in_flight=self._poster.in_flight)
                self._on_lost()
                await self.join()
            except Unreachable:
                continue
            except EpochChanged:
                raise
            except StoreError as error:  # ends no worker: its POSTs would be cut off, each into doubt
                log.warning("lease.unrenewed", worker=self.worker, error=str(error))

    async def _renew(self) -> None:
        poster = self._poster
        poster.allowance.look(poster.in_flight)
        word, urgent = poster.allowance.word(), poster.allowance.insists()
        told = self._renewal(seen=poster.allowance.take(), urgent=urgent, could_probe=poster.free())
        standing = await self._ask(told, self._beside)
        if standing.turn is not None:
            answer = self._answer(standing, standing.turn, word)
            standing = await self._ask(self._renewal(answer=answer, could_probe=poster.free()))
        await self._on_standing(standing)

    def _renewal(self, **told: Any) -> Call[Standing]:
        return claims.renew(
            self.worker,
            lease_seconds=self._limits.lease_seconds,
            initial=self._limits.account_initial,
            **told,
        )

    async def _ask(self, call: Call[Standing], beside: Sequence[Asks] = ()) -> Standing:
        questions = [await each.question(self.worker) for each in beside]
        asked_at = lease_clock()
        standing, *answers = await self._store.run_each([call, *questions])
        answered = lease_clock()
        for each, answer in zip(beside, answers, strict=True):
            each.heard(answer, asked_at, answered)
        if isinstance(standing, StoreError):
            raise standing
        renewed: Standing = standing
        self._take(renewed, asked_at)
        return renewed

    def _answer(self, standing: Standing, turn: Turn, word: Word) -> Answer:
        """Say what follows from what all workers saw in the last second."""
        known = (
            msgspec.json.decode(turn.remembered, type=Steering)
            if turn.remembered
            else Steering(Level(standing.limit))
        )
        now, most = round(time.time(), 3), float(self._limits.account_most)
        state = steer(known, turn.second, word, now=now, most=most)
        log.debug("account.steered", second=turn.second, state=state)
        remembered = msgspec.json.encode(state).decode()
        return Answer(turn.name, remembered, state.level.limit, state.circuit.since)

    def _take(self, standing: Standing, asked_at: float) -> None:
        # counted from before the question: Redis' lease began after that, so ours ends first
        self._poster.lease_until = asked_at + self._limits.lease_seconds
        self._poster.hear(standing)
