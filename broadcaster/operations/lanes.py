"""Senders: their pace, set; paused, and let go on. One that has never been used begins to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from broadcaster.domain.senders import parse_sender
from broadcaster.lanes import control
from broadcaster.operations import audit
from broadcaster.operations.errors import NotFound
from broadcaster.reporting.lanes import read_lane

if TYPE_CHECKING:
    from broadcaster.operations.actor import Actor
    from broadcaster.reporting.lanes import LaneView
    from broadcaster.store.connection import Store
    from broadcaster.store.scripts import Call

log = structlog.get_logger("operations")
_DONE: Final = {"pause": "paused", "resume": "resumed", "rate": "rate_set"}


async def existing(store: Store, sender: str) -> LaneView:
    """Read a sender that has been used or set. Raises AddressError or NotFound."""
    view = await read_lane(store, parse_sender(sender).name)
    if view is None:
        raise NotFound("sender", sender)
    return view


async def set_rate(store: Store, actor: Actor, sender: str, segments_per_second: float) -> LaneView:
    """Set a sender's pace, also while it is sending. Raises AddressError."""
    name = parse_sender(sender).name
    return await _change(store, actor, name, "rate", control.set_rate(name, segments_per_second))


async def pause(store: Store, actor: Actor, sender: str, reason: str = "by request") -> LaneView:
    """Stop one sender. Raises AddressError."""
    name = parse_sender(sender).name
    return await _change(store, actor, name, "pause", control.pause_lane(name, reason or "by request"))


async def resume(store: Store, actor: Actor, sender: str) -> LaneView:
    """Let a stopped or held sender go on. Raises AddressError."""
    name = parse_sender(sender).name
    return await _change(store, actor, name, "resume", control.resume_lane(name))


async def _change(store: Store, actor: Actor, name: str, verb: str, call: Call[str]) -> LaneView:
    before = await _facts(store, name)
    await store.run(call)
    after = await _facts(store, name)
    if changed := [fact for fact in after if before[fact] != after[fact]]:
        old, new = ({fact: facts[fact] for fact in changed} for facts in (before, after))
        await audit.record(store, actor, f"lane.{verb}", name, old=old, new=new)
        event = f"lane.{_DONE[verb]}"
        log.info(event, lane=name, actor=actor.who, old=old, new=new)
    return await existing(store, name)


async def _facts(store: Store, name: str) -> dict[str, Any]:
    """Return what people can change of a sender, and None for what isn't so."""
    rate, paused, hold = await store.redis.hmget(store.keys.lane(name), "rate", "paused", "hold")
    now, _ = await store.redis.time()
    held_until = float(hold or 0) / 1e6
    return {
        "rate": float(rate) if rate else None,
        "paused": (paused or b"").decode() or None,
        "held_until": round(held_until) if held_until > now else None,
    }
