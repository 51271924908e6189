"""A person's messages redacted in Twilio's account: it keeps numbers and texts for as long as it likes.

Every message to and from each of their addresses loses its body (Twilio has no way to empty its numbers; a
message can only be deleted, with its price and its state). What is scheduled there is canceled first. Media
are not deleted: they are counted.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from broadcaster.twilio.codes import meaning
from broadcaster.twilio.rest import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from broadcaster.twilio.resources import Message
    from broadcaster.twilio.rest import TwilioRest

#: Changes a second: a person's messages are few, and campaigns need the account's concurrency.
_EVERY_SECONDS: Final = 0.05
_TRIES: Final = 4
_REST_SECONDS: Final = 1.0
_PASSING: Final = frozenset((429, 500, 502, 503, 504))
#: So many failures are named.
_NAMED: Final = 100


@dataclass(slots=True)
class AtTwilio:
    """What became of a person's messages at Twilio. `failures`: each `sid` (None: a list), `code`, why.

    `media`: how many of them have media, which stay there until somebody deletes them.
    """

    found: int = 0
    redacted: int = 0
    canceled: int = 0
    media: int = 0
    failed: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {
            "found": self.found,
            "redacted": self.redacted,
            "canceled": self.canceled,
            "media": self.media,
            "failed": self.failed,
            "failures": self.failures,
        }

    def fail(self, sid: str | None, error: TwilioError | TwilioUnreachable) -> None:
        """Note what could not be done."""
        self.failed += 1
        if len(self.failures) < _NAMED:
            code = error.code or None if isinstance(error, TwilioError) else None
            why = meaning(code) if code else str(error)
            self.failures.append({"sid": sid, "code": code, "meaning": why or str(error)})


class _Pace:
    """At most so many calls a second."""

    def __init__(self, every_seconds: float) -> None:
        self._every = every_seconds
        self._next = 0.0

    async def turn(self) -> None:
        now = monotonic()
        wait = self._next - now
        self._next = max(now, self._next) + self._every
        if wait > 0:
            await asyncio.sleep(wait)


async def redact_person(
    twilio: TwilioRest, addresses: Sequence[str], *, every_seconds: float = _EVERY_SECONDS
) -> AtTwilio:
    """Redact every message to and from these addresses. What fails is told, and may be tried again.

    Never raises Twilio's errors: a person's other messages are redacted all the same.
    """
    done, pace, seen = AtTwilio(), _Pace(every_seconds), set[str]()
    for address in addresses:
        for direction in ("to", "from_"):
            try:
                async for message in _listed(twilio, pace, direction, address):
                    if message.sid not in seen:
                        seen.add(message.sid)
                        await _redact(twilio, pace, message, done)
            except (TwilioError, TwilioUnreachable) as error:
                done.fail(None, error)
    return done


async def _listed(twilio: TwilioRest, pace: _Pace, direction: str, address: str) -> AsyncIterator[Message]:
    await pace.turn()
    found = twilio.list_messages(to=address) if direction == "to" else twilio.list_messages(from_=address)
    async for message in found:
        yield message


async def _redact(twilio: TwilioRest, pace: _Pace, message: Message, done: AtTwilio) -> None:
    done.found += 1
    if (message.num_media or "0") != "0":
        done.media += 1
    try:
        if message.status == "scheduled":
            await _patiently(pace, twilio, "cancel", message.sid)
            done.canceled += 1
        if message.body:
            await _patiently(pace, twilio, "redact", message.sid)
            done.redacted += 1
    except (TwilioError, TwilioUnreachable) as error:
        done.fail(message.sid, error)


async def _patiently(pace: _Pace, twilio: TwilioRest, act: str, sid: str) -> None:
    """Change a message, again where that may help: both changes may be made twice."""
    for left in reversed(range(_TRIES)):
        await pace.turn()
        try:
            await (twilio.cancel(sid) if act == "cancel" else twilio.redact(sid))
        except (TwilioError, TwilioUnreachable) as error:
            passing = not isinstance(error, TwilioError) or error.status in _PASSING
            if not passing or not left:
                raise
            wish = error.retry_after_seconds if isinstance(error, TwilioError) else None
            await asyncio.sleep(min(wish or _REST_SECONDS, 30.0))
        else:
            return
