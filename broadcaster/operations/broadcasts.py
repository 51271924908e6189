"""Steering broadcasts: start, pause, resume, cancel, delete. What is so already is not changed again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from broadcaster.intake.load import remove_data
from broadcaster.intake.streams import remove_fallbacks
from broadcaster.lanes import control
from broadcaster.ledger.removing_replies import remove_answering
from broadcaster.operations import audit
from broadcaster.operations.errors import Conflict, NotFound
from broadcaster.operations.template_starts import refuse_start
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.store.scripts import Call

if TYPE_CHECKING:
    from broadcaster.intake.windows import Windows
    from broadcaster.operations.actor import Actor
    from broadcaster.reporting.broadcasts import BroadcastView
    from broadcaster.store.connection import Store
    from broadcaster.twilio.content import Templates

log = structlog.get_logger("operations")
BY_REQUEST: Final = "by request"
#: What is left of a broadcast once its batches are removed.
_PARTS: Final = (
    "",
    ":lanes",
    ":codes",
    ":dead",
    ":doubt",
    ":looks",
    ":polled",
    ":unasked",
    ":run",
    ":importer",
    ":fallbacks",
)
_SETS: Final = ("active", "importing", "skipping", "doubtful", "removing")


async def existing(store: Store, broadcast: str) -> BroadcastView:
    """Read a broadcast. Raises NotFound."""
    view = await read_broadcast(store, broadcast)
    if view is None:
        raise NotFound("broadcast", broadcast)
    return view


async def start(
    store: Store,
    actor: Actor,
    broadcast: str,
    templates: Templates | None = None,
    windows: Windows | None = None,
) -> BroadcastView:
    """Start a draft, or a scheduled one before its time. Raises NotFound or Conflict.

    Conflict also where `templates` says that it can't be sent as it is; `windows` learns who wrote meanwhile.
    """
    if templates is not None:
        await refuse_start(store, templates, broadcast)
    if windows is not None:
        await windows.before_start(broadcast)
    return await _steer(store, actor, broadcast, "start", control.start(broadcast))


async def pause(store: Store, actor: Actor, broadcast: str, reason: str = BY_REQUEST) -> BroadcastView:
    """Stop a running one; `reason` is shown to whoever asks why it waits. Raises NotFound or Conflict."""
    call = control.pause(broadcast, reason or BY_REQUEST)
    return await _steer(store, actor, broadcast, "pause", call, reason=reason or BY_REQUEST)


async def resume(store: Store, actor: Actor, broadcast: str) -> BroadcastView:
    """Let a paused one go on. Raises NotFound or Conflict."""
    return await _steer(store, actor, broadcast, "resume", control.resume(broadcast))


async def cancel(store: Store, actor: Actor, broadcast: str, reason: str = BY_REQUEST) -> BroadcastView:
    """End one: what has not left is skipped. Raises NotFound or Conflict."""
    call = control.cancel(broadcast, reason or BY_REQUEST)
    return await _steer(store, actor, broadcast, "cancel", call, reason=reason or BY_REQUEST)


#: What each verb makes of a broadcast, and the state in which there is nothing to do.
_DONE: Final = {
    "start": ("started", "running"),
    "pause": ("paused", "paused"),
    "resume": ("resumed", "running"),
    "cancel": ("canceled", "canceled"),
}


async def _steer(
    store: Store, actor: Actor, broadcast: str, verb: str, call: Call[str], **more: str
) -> BroadcastView:
    before = await existing(store, broadcast)
    verdict = await store.run(call)
    done, already = _DONE[verb]
    if verdict == "gone":
        raise NotFound("broadcast", broadcast)
    if verdict not in ("ok", already):
        raise Conflict(f"broadcast {broadcast} is {verdict}, so it can't be {done}", state=verdict)
    after = await existing(store, broadcast)
    if verdict == "ok":
        new: dict[str, Any] = {"state": after.state, **more}
        await audit.record(store, actor, f"broadcast.{verb}", broadcast, old={"state": before.state}, new=new)
        event = f"broadcast.{done}"
        log.info(event, broadcast=broadcast, actor=actor.who, was=before.state, **more)
    return after


async def delete(store: Store, actor: Actor, broadcast: str) -> None:
    """Remove one that has ended, or a draft, with all its messages and the replies to them.

    Raises NotFound or Conflict.

    A death half way leaves it `deleting`; deleting it again ends what was begun.
    """
    before = await existing(store, broadcast)
    verdict, state = await store.run(_mark(broadcast))
    if verdict == "gone":
        raise NotFound("broadcast", broadcast)
    if verdict == "open":
        raise Conflict(
            f"messages of broadcast {broadcast} are on their way or in doubt: it can be deleted once it is "
            "known what became of them",
            state=state,
            retry_after_seconds=60,
        )
    if verdict == "handed":
        raise Conflict(
            f"messages of broadcast {broadcast} wait at Twilio for their hour: cancel it first, and a worker "
            "cancels them there",
            state="handed",
            retry_after_seconds=60,
        )
    if verdict != "ok":
        raise Conflict(
            f"broadcast {broadcast} is {verdict}: only a draft, or one that has ended, can be deleted",
            state=state,
        )
    if state != "deleting":
        old = {"name": before.name, "state": state, "total": before.total}
        await audit.record(store, actor, "broadcast.delete", broadcast, old=old)
    await remove_fallbacks(store, [broadcast])
    await remove_data(store, broadcast)
    await remove_answering(store, [broadcast])
    keys = store.keys
    async with store.redis.pipeline(transaction=True) as pipe:
        pipe.unlink(*(keys.broadcast(broadcast, part) for part in _PARTS))
        for name in _SETS:
            pipe.srem(keys.plain(name), broadcast)
        pipe.zrem(keys.plain("bcs"), broadcast)
        await pipe.execute()


def _mark(broadcast: str) -> Call[tuple[str, str]]:
    """Mark a broadcast as being deleted; what forbids it, and its state before."""
    return Call("delete", (broadcast,), lambda r: (r[0].decode(), r[1].decode()), lasting=True)
