"""A process without memory ends at once, as by `kill -9`, rather than going on half.

After a MemoryError nobody knows which callback was lost: a worker might renew its lease for ever and send
nothing. What it held is then treated like any killed worker's: given back, or settled by evidence.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

EXIT_CODE: Final = 70
_SAID: Final = b"broadcaster worker: out of memory; it ends here, and other workers take over what it held\n"


def end_if_exhausted(error: BaseException | None) -> None:
    """End the process if this error, or what it came from, is a lack of memory."""
    while error is not None:
        if isinstance(error, MemoryError):
            os.write(2, _SAID)
            os._exit(EXIT_CODE)
        error = error.__cause__ or error.__context__


def watch(task: asyncio.Task[Any]) -> asyncio.Task[Any]:
    """End the process when this task ends for lack of memory."""
    task.add_done_callback(_ended)
    return task


def on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle what nobody else caught: errors of callbacks, and of tasks that nobody awaits."""
    error = context.get("exception")
    end_if_exhausted(error)
    if isinstance(error, RuntimeError) and "the handler is closed" in str(error):
        return  # uvloop, as it reads the rest of a TLS connection that was closed here: there is none left
    loop.default_exception_handler(context)


def _ended(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        end_if_exhausted(task.exception())
