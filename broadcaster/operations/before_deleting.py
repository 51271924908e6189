"""What a message that is to be deleted at Twilio tells of ours in doubt, while it is there.

An answer that never came is settled by Twilio's list of messages (workers/settling.py): what it does not show
is sent again. So a message that may be ours is never deleted before its record knows of it. What is decided
here is decided by the settler's own rules (domain/evidence.py), and all else is left to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broadcaster.domain.data_format import NewerSpecError
from broadcaster.domain.evidence import OUTBOUND, fits
from broadcaster.domain.record import Evidence, State
from broadcaster.ledger.doubts import doubts_to
from broadcaster.ledger.settling import Found, accept
from broadcaster.operations.errors import Conflict

if TYPE_CHECKING:
    from broadcaster.domain.evidence import Listed
    from broadcaster.store.connection import Store

#: Who is gone, and since when, only an absence depends on, which is not judged here.
_OWNER_GONE_SECONDS: Final = 900.0
#: A `Date` header has whole seconds, cut off: half a second is missing on average.
_HALF_SECOND: Final = 0.5
#: A POST is answered, or in doubt, after that long; doubt is looked into every few seconds.
_AGAIN_SECONDS: Final = 10.0
_REWINDING: Final = (
    "Redis has lost writes, and what left then is looked for in Twilio's list of messages: until that is "
    "settled nothing is deleted there, since it would be sent again. Try again in a minute"
)


async def settle_by(store: Store, listed: Listed, server_seconds: int | None) -> bool:
    """End the doubt that this message ends, which no record holds; tells whether there was one.

    `server_seconds` is Twilio's clock when it was read, None if it did not say. Raises Conflict where it may
    be a message of ours whose record doesn't know of it and that can't be decided yet; and redis' errors.
    """
    if listed.to is None or listed.direction != OUTBOUND:
        return False
    if await store.redis.hexists(store.keys.plain("account"), "rewind"):
        raise Conflict(_REWINDING, state="rewinding", retry_after_seconds=60.0)
    seconds, micro = await store.redis.time()
    now = seconds + micro / 1e6
    skew = 0.0 if server_seconds is None else server_seconds + _HALF_SECOND - now
    try:
        open_ = await doubts_to(store, listed.to, _OWNER_GONE_SECONDS)
    except NewerSpecError as error:
        raise Conflict(
            _undecided(listed.sid), state="in_doubt", retry_after_seconds=_AGAIN_SECONDS
        ) from error
    if any(listed.sid in doubt.explained for doubt in open_):
        return False
    questions = [(doubt, q) for doubt in open_ for q in (*doubt.earlier, doubt.question)]
    fitting = [(doubt, q) for doubt, q in questions if fits(q, listed, skew)]
    if not fitting:
        return False
    if len(fitting) > 1 or fitting[0][0].record.state is State.SENDING:
        raise Conflict(_undecided(listed.sid), state="in_doubt", retry_after_seconds=_AGAIN_SECONDS)
    doubt, question = fitting[0]
    found = Found(doubt.lane, doubt.broadcast, doubt.batch, doubt.row, question.attempt, listed.sid)
    await store.run(accept([found], Evidence.LIST))
    return True


def _undecided(sid: str) -> str:
    return (
        f"{sid} may be a message of ours whose answer has not come, and it is the only sign of having been "
        "sent: deleted now, it would be sent again. A worker finds it in Twilio's list "
        "by itself; try again then"
    )
