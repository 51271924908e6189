"""Starting scheduled broadcasts when their time has come.

What a broadcast needs from others is looked at once more: a template that was paused or rejected meanwhile
pauses the broadcast in place of starting it, in the same step (start.lua). Until that step it stays scheduled
and due, whoever dies on the way: another round looks again. So it does where Twilio gives no answer, for a
minute; then the broadcast starts unchecked, and says so.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import OutOfMemoryError

from broadcaster.lanes import control
from broadcaster.operations.template_starts import NOTHING_WRONG, look, to_be_asked

if TYPE_CHECKING:
    from broadcaster.domain.broadcast import BroadcastSpec
    from broadcaster.operations.template_starts import Look
    from broadcaster.store.connection import Store
    from broadcaster.twilio.content import Templates

log = structlog.get_logger("jobs")

_AT_ONCE: Final = 500
#: So long one round waits for Twilio. Rounds begin every second, and a later one finds what was answered.
ROUND_SECONDS: Final = 1.0
#: So long a broadcast waits for an answer before it starts without.
UNANSWERED_SECONDS: Final = 60.0
_ASKED_KEPT_SECONDS: Final = 600


async def start_due(store: Store, templates: Templates | None) -> None:
    """Start what is due: at once what names no templates, the rest as soon as Twilio has answered.

    Without `templates` nobody is asked. Takes a second for Twilio at most. Raises redis' errors or a
    `StoreError`; what was not started then is found again.
    """
    to_ask: list[tuple[str, BroadcastSpec]] = []
    for broadcast in await _due(store):
        spec = None if templates is None else await to_be_asked(store, broadcast)
        if spec is None:
            await _start(store, broadcast)
        else:
            to_ask.append((broadcast, spec))
    if templates is not None and to_ask:
        asked = (_ask_and_start(store, templates, *one) for one in to_ask)
        for failed in filter(None, await asyncio.gather(*asked, return_exceptions=True)):
            raise failed


async def _due(store: Store) -> list[str]:
    """Return all broadcasts that are due: those that wait for Twilio's answer must not hide the others."""
    now, _ = await store.redis.time()
    due: list[str] = []
    while True:
        some = await store.redis.zrangebyscore(
            store.keys.plain("scheduled"), "-inf", now, start=len(due), num=_AT_ONCE
        )
        due += [raw.decode() for raw in some]
        if len(some) < _AT_ONCE:
            return due


async def _ask_and_start(store: Store, templates: Templates, broadcast: str, spec: BroadcastSpec) -> None:
    found = await look(store, templates, broadcast, spec, ROUND_SECONDS)
    if found.unanswered and await _may_wait(store, broadcast):
        return
    await _start(store, broadcast, found)


async def _may_wait(store: Store, broadcast: str) -> bool:
    """Tell whether it is less than a minute since Twilio was first asked about a broadcast in vain."""
    now, _ = await store.redis.time()
    key = store.keys.plain(f"unanswered:{broadcast}")
    try:
        since = await store.redis.set(key, int(now), nx=True, get=True, ex=_ASKED_KEPT_SECONDS)
    except OutOfMemoryError:  # it would wait for as long as Redis is full
        return False
    return since is None or int(now) - int(since) < UNANSWERED_SECONDS


async def _start(store: Store, broadcast: str, found: Look = NOTHING_WRONG) -> None:
    call = control.start(
        broadcast, from_states=("scheduled",), paused_for=found.refusal, warning=found.unanswered
    )
    verdict = await store.run(call)
    if found.refusal:
        log.warning("broadcast.not_started", broadcast=broadcast, verdict=verdict, reason=found.refusal)
    elif found.unanswered:
        log.warning("broadcast.started_unchecked", broadcast=broadcast, reason=found.unanswered)
    else:
        log.info("broadcast.started", broadcast=broadcast, verdict=verdict)
    if verdict != "ok":
        await store.redis.zrem(store.keys.plain("scheduled"), broadcast)
