"""Running a command's work so that Ctrl-C ends it for sure."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from broadcaster.store.ending import end

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def run(work: Coroutine[object, object, T]) -> T:
    """Do as `asyncio.run` does; what Ctrl-C cancels is cancelled until it ends.

    One cancel, all that `asyncio.run` gives, may be swallowed below redis-py (see `store/ending.py`):
    the command would go on as if nobody had asked it to stop.
    """
    return asyncio.run(_insisting(work))


async def _insisting(work: Coroutine[object, object, T]) -> T:
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await end([task])
        raise
