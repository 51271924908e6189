"""Staying with a broadcast to its end: with a worker of ours where no REDIS_URL is set, else as onlooker."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from broadcaster.cli.home import live_workers
from broadcaster.cli.output import say
from broadcaster.cli.waiting import wait_for_end
from broadcaster.reporting.broadcasts import read_broadcast

if TYPE_CHECKING:
    from broadcaster.cli.home import Home
    from broadcaster.reporting.broadcasts import BroadcastView
    from broadcaster.store.connection import Store


async def attend(store: Store, broadcast: str, home: Home | None) -> tuple[int, BroadcastView]:
    """Wait until nothing moves any more; return the exit code and the last view.

    With a `home` a worker lives meanwhile. Raises InputError, SettingsError or CommandFailedError.
    """
    try:
        view = await read_broadcast(store, broadcast)
        if home is None and view is not None and not view.settled and not await live_workers(store):
            say("No worker is running; waiting for one. Start it with: broadcaster worker")
        return await wait_for_end(
            store, broadcast, care=None if home is None else partial(home.ensure, store)
        )
    except asyncio.CancelledError:
        if home is not None and not home.up:
            say(
                f"Stopped; broadcast {broadcast} goes on with the next `broadcaster send`, "
                f"or with: broadcaster broadcasts watch {broadcast}"
            )
        else:
            say(f"It goes on. Watch it with: broadcaster broadcasts watch {broadcast}")
        raise


async def tell_others(store: Store) -> None:
    """Say what stays unfinished when the embedded server ends with this command."""
    active = await store.redis.scard(store.keys.plain("active"))
    scheduled = await store.redis.zcard(store.keys.plain("scheduled"))
    if active or scheduled:
        say(
            f"Broadcasts not finished here: {active + scheduled}. `broadcaster broadcasts list` shows them, "
            "`broadcaster broadcasts watch ID` goes on with them."
        )
