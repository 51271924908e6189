"""Single messages: one that has not left can be stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.lanes.control import cancel_message
from broadcaster.operations import audit
from broadcaster.operations.errors import Conflict, NotFound
from broadcaster.operations.removals import check_kept
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
        raise Conflict(f"message {message} is {state}, so it can't be stopped any more", state=state)
    if done.changed:
        await audit.record(
            store, actor, "message.cancel", message, old=view.record.state.label, new="skipped"
        )
    after = await read_message(store, message)
    return after or found
