"""Starting scheduled broadcasts when their time has come.

What a broadcast needs from others is looked at once more: a template that was paused or rejected meanwhile
pauses the broadcast in place of starting it, in the same step (start.lua). Until that step it stays scheduled
and due, whoever dies on the way: another round looks again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import structlog

from broadcaster.lanes import control
from broadcaster.operations.template_starts import to_be_asked, why_not_start

if TYPE_CHECKING:
    from broadcaster.domain.broadcast import BroadcastSpec
    from broadcaster.store.connection import Store
    from broadcaster.twilio.content import Templates

log = structlog.get_logger("jobs")

_AT_ONCE: Final = 100
#: Broadcasts about which Twilio is being asked: rounds begin every second, and an answer may take longer.
_asking: Final[WeakKeyDictionary[Store, set[str]]] = WeakKeyDictionary()


async def start_due(store: Store, templates: Templates | None) -> None:
    """Start what is due: at once what names no templates, the rest as soon as Twilio has answered.

    Without `templates` nobody is asked. Raises redis' errors or a `StoreError`; what was not started then is
    found again.
    """
    now, _ = await store.redis.time()
    due = await store.redis.zrangebyscore(store.keys.plain("scheduled"), "-inf", now, start=0, num=_AT_ONCE)
    to_ask: list[tuple[str, BroadcastSpec]] = []
    for broadcast in (raw.decode() for raw in due):
        spec = None if templates is None else await to_be_asked(store, broadcast)
        if spec is None:
            await _start(store, broadcast)
        else:
            to_ask.append((broadcast, spec))
    if templates is not None and to_ask:
        asked = (_ask_and_start(store, templates, *one) for one in to_ask)
        for failed in filter(None, await asyncio.gather(*asked, return_exceptions=True)):
            raise failed


async def _ask_and_start(store: Store, templates: Templates, broadcast: str, spec: BroadcastSpec) -> None:
    asking = _asking.setdefault(store, set())
    if broadcast in asking:
        return
    asking.add(broadcast)
    try:
        await _start(store, broadcast, await why_not_start(store, templates, broadcast, spec))
    finally:
        asking.discard(broadcast)


async def _start(store: Store, broadcast: str, why_not: str = "") -> None:
    verdict = await store.run(control.start(broadcast, from_states=("scheduled",), paused_for=why_not))
    if why_not:
        log.warning("broadcast.not_started", broadcast=broadcast, verdict=verdict, reason=why_not)
    else:
        log.info("broadcast.started", broadcast=broadcast, verdict=verdict)
    if verdict != "ok":
        await store.redis.zrem(store.keys.plain("scheduled"), broadcast)
