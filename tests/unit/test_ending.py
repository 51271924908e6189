"""What is left as a process ends is ended, though it swallows a cancel."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broadcaster.store import ending

if TYPE_CHECKING:
    import pytest


class Deaf:
    """Waits, and swallows cancels until it may hear."""

    def __init__(self, cancels: int) -> None:
        self.cancels = cancels
        self.waits = asyncio.Event()

    async def run(self) -> None:
        while self.cancels > 0:
            self.waits.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancels -= 1


async def test_a_swallowed_cancel_is_made_again_and_what_stays_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ending, "AGAIN_SECONDS", 0.001)
    soon, never = Deaf(3), Deaf(10**9)
    first = asyncio.create_task(soon.run())
    other = asyncio.create_task(never.run(), name="stubborn")
    await asyncio.gather(soon.waits.wait(), never.waits.wait())
    (left,) = await ending.end_rest(0.3)
    assert first.done()
    assert left.startswith("stubborn")
    never.cancels = 1
    await ending.end([other])
