"""Reading a list beside the event loop, in a thread that never holds up the end of the program.

Standard input can keep a reader waiting for minutes; leases have to be renewed meanwhile, and Ctrl-C obeyed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_T = TypeVar("_T")
_AT_MOST: Final = 64
_AT_MOST_SECONDS: Final = 0.25


class ReadAhead(Generic[_T]):
    """Takes items of an iterator, which runs in a thread of its own, several at a time."""

    def __init__(self, items: Iterator[_T]) -> None:
        self._items = items
        self._asked: SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Future[list[_T]]] | None] = (
            SimpleQueue()
        )
        threading.Thread(target=self._serve, name="reading", daemon=True).start()

    async def take(self) -> list[_T]:
        """Return up to 64 items, [] at the end. Raises what the iterator raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[_T]] = loop.create_future()
        self._asked.put((loop, future))
        return await future

    def close(self) -> None:
        """Let the thread end, at once or when what it waits for has come."""
        self._asked.put(None)

    def _serve(self) -> None:
        ended = False
        while not ended and (asked := self._asked.get()) is not None:
            loop, future = asked
            taken: list[_T] = []
            try:
                until = time.monotonic() + _AT_MOST_SECONDS
                while len(taken) < _AT_MOST and time.monotonic() < until:
                    taken.append(next(self._items))
            except StopIteration:
                ended = not taken
            except BaseException as error:  # noqa: BLE001 - whoever waits gets it
                ended = True
                _tell(loop, _fail, future, error)
                continue
            _tell(loop, _answer, future, taken)


async def in_thread(function: Callable[[], _T]) -> _T:
    """Call `function` in a thread of its own, which may wait there for as long as it likes."""

    def once() -> Iterator[_T]:
        yield function()

    ahead = ReadAhead(once())
    try:
        return (await ahead.take())[0]
    finally:
        ahead.close()


def _tell(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(function, *arguments)


def _answer(future: asyncio.Future[list[_T]], taken: list[_T]) -> None:
    if not future.done():
        future.set_result(taken)


def _fail(future: asyncio.Future[list[_T]], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
