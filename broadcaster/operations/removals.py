"""A broadcast's people removed by request, before their time; what to say of one whose people are gone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from broadcaster.domain.record import State
from broadcaster.intake.streams import remove_fallbacks
from broadcaster.ledger.removing import mark, remove_marked, removed_at
from broadcaster.operations import audit
from broadcaster.operations.broadcasts import existing
from broadcaster.operations.errors import Conflict, NotFound
from broadcaster.reporting.broadcasts import could_be_id

if TYPE_CHECKING:
    from broadcaster.operations.actor import Actor
    from broadcaster.reporting.broadcasts import BroadcastView
    from broadcaster.store.connection import Store

_ENDED: Final = ("completed", "canceled", "failed")


async def kept(store: Store, broadcast: str) -> BroadcastView:
    """Read one whose messages are there. Raises NotFound, or Conflict where they are removed."""
    view = await existing(store, broadcast)
    if view.removed_at is not None:
        raise removed_conflict(broadcast, view.removed_at)
    return view


async def removable(store: Store, broadcast: str) -> BroadcastView:
    """Read one whose people can be removed: it has ended, and nothing of it is open.

    Raises NotFound, or Conflict, also where they are removed already.
    """
    view = await kept(store, broadcast)
    if view.state not in _ENDED:
        raise _not_removable(broadcast, view.state)
    if view.unsent + view.counts.get(State.SENDING, 0) + view.in_doubt:
        raise _not_removable(broadcast, "open")
    return view


async def remove(store: Store, actor: Actor, broadcast: str, *, ended_at: int | None = None) -> BroadcastView:
    """Remove the people of one that has ended; its counts stay. Twice changes nothing.

    `ended_at`: only if it ended then, and has not been sent on since. Raises NotFound or Conflict. A death
    half way leaves it marked: a worker, or the next call, ends what was begun.
    """
    before = await existing(store, broadcast)
    marked = await store.run(mark(broadcast, before.spec, ended_at=ended_at))
    if marked.verdict == "gone":
        raise NotFound("broadcast", broadcast)
    if marked.verdict not in ("ok", "removed"):
        raise _not_removable(broadcast, marked.verdict)
    if marked.verdict == "ok":
        await audit.record(store, actor, "broadcast.remove", broadcast, old={"total": before.total})
    await remove_fallbacks(store, [broadcast])
    await remove_marked(store, broadcast)
    return await existing(store, broadcast)


def removed_conflict(broadcast: str, since: int) -> Conflict:
    """Return what to say of a broadcast whose messages are removed."""
    day = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(since))
    return Conflict(
        f"the messages of broadcast {broadcast} are removed since {day}: only its counts are left",
        state="removed",
    )


def _not_removable(broadcast: str, why: str) -> Conflict:
    if why == "changed":
        text = f"broadcast {broadcast} was sent on since: archive it again"
        return Conflict(text, state="changed")
    if why == "handed":
        text = (
            f"messages of broadcast {broadcast} wait at Twilio for their hour: who opts out until then could "
            "not be found any more"
        )
        return Conflict(text, state="handed")
    if why == "open":
        text = f"messages of broadcast {broadcast} are unsent, on their way, in doubt or kept back by Twilio"
        return Conflict(text, state="open", retry_after_seconds=60)
    text = f"broadcast {broadcast} is {why}: the people of one that has ended can be removed, a draft deleted"
    return Conflict(text, state=why)


async def check_kept(store: Store, message: str) -> None:
    """Raise Conflict where a message (its id, or its broadcast's) is removed with its broadcast's people."""
    broadcast = message.partition(".")[0]
    since = await removed_at(store, broadcast) if could_be_id(broadcast) else None
    if since is not None:
        raise removed_conflict(broadcast, since)
