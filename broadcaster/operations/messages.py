"""Single messages: one that has not left can be stopped."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from broadcaster.domain.record import State
from broadcaster.lanes.control import cancel_message
from broadcaster.operations import audit
from broadcaster.operations.errors import Conflict, NotFound
from broadcaster.operations.removals import check_kept
from broadcaster.reporting.bodies import read_spec
from broadcaster.reporting.messages import read_message

if TYPE_CHECKING:
    from broadcaster.operations.actor import Actor
    from broadcaster.reporting.messages import Attempt, MessageView
    from broadcaster.store.connection import Store


async def cancel(store: Store, actor: Actor, message: str) -> tuple[MessageView, list[Attempt]]:
    """End an unsent message, by its id. Raises NotFound, or Conflict where it may have left."""
    found = await read_message(store, message)
    if found is None:
        await check_kept(store, message)
        raise NotFound("message", message)
    view, _ = found
    done = await store.run(cancel_message(view.broadcast, view.sender, view.batch, view.index))
    if not done.changed and (done.state is None or done.state.label != "skipped"):
        state = done.state.label if done.state else "gone"
        if done.state is State.ACCEPTED and await _waits_at_twilio(store, view):
            told = f"message {message} waits at Twilio for its hour: cancel it by its SID, {view.record.sid}"
            raise Conflict(told, state=state)
        raise Conflict(f"message {message} is {state}, so it can't be stopped any more", state=state)
    if done.changed:
        await audit.record(
            store, actor, "message.cancel", message, old=view.record.state.label, new="skipped"
        )
    after = await read_message(store, message)
    return after or found


async def _waits_at_twilio(store: Store, view: MessageView) -> bool:
    spec = await read_spec(store, view.broadcast)
    return spec is not None and view.record.sid is not None and spec.send_at > time.time()
