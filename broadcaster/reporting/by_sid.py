"""A message of ours by Twilio's SID, which is in its record and its history but in no index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.reporting.messages import find_number, read_history

if TYPE_CHECKING:
    from broadcaster.reporting.messages import MessageView
    from broadcaster.store.connection import Store


async def find_sid(store: Store, address: str, sid: str) -> tuple[MessageView, int] | None:
    """Return the message to `address` of which an attempt has Twilio's `sid`, and that attempt, or None.

    Reads what the person index names for the number. Raises redis' errors.
    """
    async for view in find_number(store, None, address):
        if view.record.sid == sid:
            return view, view.record.attempt
        for attempt in await read_history(store, view):
            if attempt.sid == sid:
                return view, attempt.attempt
    return None
