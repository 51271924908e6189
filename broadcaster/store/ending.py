"""Ending tasks for sure."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Between two cancels; a task that ends in good order needs far less.
AGAIN_SECONDS: Final = 0.5


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until all are done; what they raise is theirs.

    One cancel is not enough: Python 3.11's `asyncio.wait_for`, through which redis-py writes, can swallow it
    when the write ends in the same moment (cpython issue 86296).
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()
