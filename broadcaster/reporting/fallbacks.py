"""What a broadcast's SMS are: those that went in place of messages that WhatsApp could not deliver."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from broadcaster.domain.record import State

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

_OPEN: Final = (State.QUEUED, State.SENDING, State.RETRY)


@dataclass(frozen=True, slots=True)
class FallbackCounts:
    """How many SMS there are, and of these in each state; none of them is in their broadcast's own counts.

    Once the people of the broadcast are removed only `total` is known.
    """

    total: int
    counts: dict[State, int] = field(default_factory=dict)

    @property
    def open(self) -> int:
        """How many have yet to go."""
        return sum(self.counts.get(state, 0) for state in _OPEN)

    def summary(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {"total": self.total, "counts": {state.label: self.counts.get(state, 0) for state in State}}


async def fallback_streams(store: Store, broadcast: str) -> list[str]:
    """Return the streams that hold a broadcast's SMS. Raises redis' errors."""
    key = store.keys.broadcast(broadcast, ":fallbacks")
    return sorted(raw.decode() for raw in await store.redis.smembers(key))
