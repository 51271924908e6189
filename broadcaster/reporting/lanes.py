"""The lanes as people see them: each sender's pace, what stops it, and how many broadcasts wait on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from broadcaster.domain.addresses import AddressError
from broadcaster.domain.senders import pace_warning, parse_sender
from broadcaster.reporting.replicas import missing_replicas
from broadcaster.reporting.silence import explain_silence
from broadcaster.reporting.waits import stopped_by

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

_FIELDS: Final = ("rate", "paused", "hold", "hold_reason", "pool")
_CLASSES: Final = (":u", ":n", ":b", ":later")


@dataclass(frozen=True, slots=True)
class LaneView:
    """One sender now. `rate` is in segments a second, None if it never had one.

    `state` is `paused`, `held` (goes on by itself, after `held_seconds` where that is known), `sending` or
    `idle`; `reason` says why it is stopped. `shares` is the service whose permits it spends too. `broadcasts`
    have work on it.
    """

    name: str
    kind: str
    rate: float | None
    state: str
    reason: str
    held_seconds: float | None
    shares: str
    broadcasts: int

    def summary(self) -> dict[str, Any]:
        """Return the object that `senders list --json` and the API show, in JSON's types."""
        return {
            "name": self.name,
            "kind": self.kind,
            "rate": self.rate,
            "state": self.state,
            "state_reason": self.reason or None,
            "held_seconds": None if self.held_seconds is None else round(self.held_seconds, 1),
            "shares_permits_of": self.shares or None,
            "broadcasts": self.broadcasts,
            "warning": pace_warning(self.name, self.rate or 0.0),
        }


async def list_lanes(store: Store) -> list[LaneView]:
    """Read every lane there ever was, by name. Raises redis' errors."""
    names = await lane_names(store)
    return [view for name in names if (view := await read_lane(store, name)) is not None]


async def lane_names(store: Store) -> list[str]:
    """Return the names of every lane there ever was, in order."""
    return sorted(raw.decode() for raw in await store.redis.smembers(store.keys.plain("lanes")))


async def read_lane(store: Store, name: str) -> LaneView | None:
    """Read one lane, or None if there never was one of that name."""
    keys = store.keys
    async with store.redis.pipeline(transaction=False) as pipe:
        pipe.sismember(keys.plain("lanes"), name)
        pipe.hmget(keys.lane(name), *_FIELDS)
        pipe.time()
        pipe.hmget(keys.plain("account"), "paused", "rewind", "silent")
        for part in _CLASSES:
            pipe.zrange(keys.lane(name, part), 0, -1)
        known, fields, now, (stopped, rewind, silent), *flows = await pipe.execute()
    if not known:
        return None
    broadcasts = await _running(store, {raw.decode() for flow in flows for raw in flow})
    rate, paused, hold, hold_reason, pool = [(field or b"").decode() for field in fields]
    held = float(hold or 0) / 1e6 - (now[0] + now[1] / 1e6)
    state, reason = "sending" if broadcasts else "idle", ""
    if paused:
        state, reason = "paused", paused
    elif held > 0:
        state, reason = "held", hold_reason
    elif broadcasts:
        reason = stopped_by((stopped or b"").decode(), int(rewind or 0)) or await missing_replicas(store)
        reason = reason or explain_silence(silent)
        if reason:
            state = "paused" if stopped and not rewind else "held"
    return LaneView(
        name=name,
        kind=_kind(name),
        rate=float(rate) if rate else None,
        state=state,
        reason=reason,
        held_seconds=held if held > 0 and state == "held" else None,
        shares=pool,
        broadcasts=broadcasts,
    )


async def _running(store: Store, broadcasts: set[str]) -> int:
    """Count those that are running: an ended one stays on its lane until a claim finds it there."""
    if not broadcasts:
        return 0
    async with store.redis.pipeline(transaction=False) as pipe:
        for broadcast in broadcasts:
            pipe.hget(store.keys.broadcast(broadcast), "state")
        return sum(state == b"running" for state in await pipe.execute())


def _kind(name: str) -> str:
    try:
        return str(parse_sender(name).kind)
    except AddressError:
        return "unknown"
