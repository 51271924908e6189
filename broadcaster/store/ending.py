"""Ending tasks for sure."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

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


async def end_rest(seconds: float) -> list[str]:
    """End every task but the caller's own, as the process ends; returns what would not end in time.

    A loop that is closed cancels each once more, and waits for it for ever if that is swallowed, too.
    """
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    ending = asyncio.ensure_future(end(rest))
    await asyncio.wait({ending}, timeout=seconds)
    ending.cancel()
    return sorted(f"{task.get_name()} {task.get_coro()}" for task in rest if not task.done())


async def in_peace(work: Coroutine[Any, Any, None], seconds: float) -> None:
    """Do what must be done though we are being cancelled, in a task of its own, for at most so long.

    In the cancelled one Python 3.11.2 cancels the next request, too, that redis-py waits for.
    """
    task = asyncio.ensure_future(work)
    until = time.monotonic() + seconds
    while not task.done() and (left := until - time.monotonic()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task}, timeout=left)
    if task.done():
        task.result()
    else:
        task.cancel()
