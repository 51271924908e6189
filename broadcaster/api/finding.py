"""One message by any of its names: our id, the SID that we gave it, or Twilio's own."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from broadcaster.domain.message_ids import id_of
from broadcaster.reporting.messages import find_number, read_message
from broadcaster.twilio.rest import TwilioError

if TYPE_CHECKING:
    from broadcaster.api.parts import Parts
    from broadcaster.reporting.messages import Attempt, MessageView

_SID: Final = re.compile(r"[SM]M[0-9a-f]{32}")
Found = tuple["MessageView", "list[Attempt]"]


async def find_message(parts: Parts, name: str) -> Found | None:
    """Return a message and its attempts, or None. Raises a store error, `TwilioError`, `TwilioUnreachable`.

    A SID of Twilio's is in our records, but under the number that it went to: Twilio is asked for that.
    """
    if not _SID.fullmatch(name):
        return await read_message(parts.store, name)
    ours = id_of(name)
    if ours is not None and (found := await read_message(parts.store, ours)) is not None:
        return found
    return await _by_twilios_sid(parts, name)


async def _by_twilios_sid(parts: Parts, sid: str) -> Found | None:
    if parts.twilio is None:
        return None
    try:
        theirs = await parts.twilio.fetch(sid)
    except TwilioError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise
    async for view in find_number(parts.store, None, theirs.to or ""):
        found = await read_message(parts.store, view.id)
        if found and sid in {found[0].record.sid, *(attempt.sid for attempt in found[1])}:
            return found
    return None
