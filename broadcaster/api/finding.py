"""One message by any of its names: our id, the SID that we gave it, or Twilio's own."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from broadcaster.domain.message_ids import id_of
from broadcaster.reporting.by_sid import find_sid
from broadcaster.reporting.messages import read_history, read_message
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
    found = await find_sid(parts.store, theirs.to or "", sid)
    return None if found is None else (found[0], await read_history(parts.store, found[0]))
