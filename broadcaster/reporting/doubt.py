"""What messages in doubt wait for, as the process that settles them last wrote it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.store.connection import Store


class SearchState(msgspec.Struct, frozen=True, kw_only=True):
    """The search for evidence about one broadcast's doubts. Times are unix seconds.

    `absent_after`: none of them counts as absent from Twilio's list before that; None while all wait for
    their workers. `owners`: how many were in flight at a worker that lost its lease and isn't known to be
    gone; it counts as gone at `owners_until` at the latest. `refused`: why Twilio's list wasn't read when
    it was last tried.
    """

    since: int
    absent_after: float | None = None
    owners: int = 0
    owners_until: float | None = None
    looked: float = 0.0
    refused: str = ""

    def words(self, count: int) -> str:
        """Say it in a line: how many, what they wait for, until when (UTC)."""
        parts = [f"{count:,} in doubt: looking for evidence since {_clock(self.since)}"]
        if self.absent_after is not None:
            parts.append(f"absent not before {_clock(self.absent_after)}")
        if self.owners:
            until = f", at the latest at {_clock(self.owners_until)}" if self.owners_until else ""
            parts.append(f"{self.owners:,} until their worker is known to be gone{until}")
        if self.refused:
            parts.append(f"Twilio's list can't be read: {self.refused}")
        return "; ".join(parts)

    def summary(self, count: int) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {
            "count": count,
            "since": self.since,
            "absent_after": None if self.absent_after is None else round(self.absent_after),
            "owners_unknown": self.owners,
            "owners_until": None if self.owners_until is None else round(self.owners_until),
            "looked_at": round(self.looked),
            "refused": self.refused or None,
        }

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> SearchState:
        """Return what `summary` told of."""
        return cls(
            since=summary["since"],
            absent_after=summary["absent_after"],
            owners=summary["owners_unknown"],
            owners_until=summary["owners_until"],
            looked=summary["looked_at"],
            refused=summary["refused"] or "",
        )


async def read_search(store: Store, broadcast: str) -> SearchState | None:
    """Read it; None where nobody has looked yet. Raises redis' errors."""
    raw = await store.redis.get(store.keys.broadcast(broadcast, ":looks"))
    return None if raw is None else msgspec.json.decode(raw, type=SearchState)


def _clock(at: float | None) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(at))
