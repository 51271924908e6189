"""The whole installation: stopped, and let go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from broadcaster.lanes import control
from broadcaster.operations import audit

if TYPE_CHECKING:
    from broadcaster.operations.actor import Actor
    from broadcaster.store.connection import Store

log = structlog.get_logger("operations")


@dataclass(frozen=True, slots=True)
class Everything:
    """Whether everything is stopped, why ("" if it isn't), and whether what was asked changed that."""

    reason: str
    changed: bool

    def summary(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {"paused": bool(self.reason), "reason": self.reason or None, "changed": self.changed}


async def pause(store: Store, actor: Actor, reason: str = "by request") -> Everything:
    """Stop everything; who stopped it first has named the reason."""
    return await _change(store, actor, reason or "by request")


async def resume(store: Store, actor: Actor) -> Everything:
    """Let everything go on; senders and broadcasts that were paused by themselves stay so."""
    return await _change(store, actor, "")


async def _change(store: Store, actor: Actor, reason: str) -> Everything:
    account = store.keys.plain("account")
    before = (await store.redis.hget(account, "paused") or b"").decode()
    changed = await store.run(control.pause_account(reason) if reason else control.resume_account())
    if changed:
        what = "everything.pause" if reason else "everything.resume"
        old = {"paused": before or None}
        await audit.record(store, actor, what, "everything", old=old, new={"paused": reason or None})
        done = "everything.paused" if reason else "everything.resumed"
        log.info(done, actor=actor.who, reason=reason or None, was=before or None)
    after = (await store.redis.hget(account, "paused") or b"").decode()
    return Everything(after, bool(changed))
