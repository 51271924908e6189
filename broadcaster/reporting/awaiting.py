"""What messages await that Twilio has taken: their final state, and when it is asked for next."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster.domain.polling import AWAITING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.domain.record import State
    from broadcaster.store.connection import Store


class Polled(msgspec.Struct, frozen=True, kw_only=True):
    """How far a broadcast's final states were asked for, as the process that asks wrote it. Unix seconds.

    All moments up to `done` have been asked for; a pass that is under way began at `began` (0: none) and
    goes on at place (`lane`, `batch`); `soonest` is the next moment that it has found by then (0: none).
    `given_up` messages are too old to be asked for, in the last whole pass; `giving_up` counts them in this
    one. `gone` are those that Twilio does not have any more. `refused`: why Twilio told nothing last.
    """

    done: float = 0.0
    began: float = 0.0
    lane: int = 0
    batch: int = 0
    soonest: float = 0.0
    given_up: int = 0
    giving_up: int = 0
    gone: int = 0
    refused: str = ""


class Awaiting(msgspec.Struct, frozen=True, kw_only=True):
    """How many of a broadcast await their final state; `next_at` is when some are asked for, None if never.

    `given_up` and `gone` of them are not asked for any more: nothing was heard for too long, or Twilio does
    not have them. `refused`: why Twilio told nothing.
    """

    count: int
    next_at: int | None = None
    given_up: int = 0
    gone: int = 0
    refused: str | None = None

    def words(self) -> str:
        """Say it in a line; times are UTC."""
        asked = self.count - self.given_up - self.gone
        parts = [f"{self.count:,} await their final state"]
        if asked > 0 and self.next_at is not None:
            parts.append(f"Twilio is asked next at {_clock(self.next_at)}")
        if self.given_up:
            parts.append(f"{self.given_up:,} are not asked for any more: nothing was heard for too long")
        if self.gone:
            parts.append(f"{self.gone:,} Twilio does not have any more")
        if self.refused:
            parts.append(f"Twilio did not answer: {self.refused}")
        return "; ".join(parts)

    def summary(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> Awaiting:
        """Return what `summary` told of."""
        return msgspec.convert(dict(summary), cls)


async def read_awaiting(store: Store, broadcast: str, counts: Mapping[State, int]) -> Awaiting | None:
    """Read it; None where nothing awaits anything. Raises redis' errors."""
    count = sum(counts.get(state, 0) for state in AWAITING)
    if not count:
        return None
    async with store.redis.pipeline(transaction=False) as pipe:
        pipe.zscore(store.keys.plain("polls"), broadcast)
        pipe.get(store.keys.broadcast(broadcast, ":polled"))
        pipe.time()
        at, raw, (now, _) = await pipe.execute()
    polled = Polled() if raw is None else msgspec.json.decode(raw, type=Polled)
    return Awaiting(
        count=count,
        next_at=None if at is None else max(int(at), now),
        given_up=min(polled.given_up, count),
        gone=min(polled.gone, count),
        refused=polled.refused or None,
    )


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
