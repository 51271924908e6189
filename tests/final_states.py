"""A campaign up to the last final state, with callbacks and without, beside what became of it at Twilio."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from deployment import deployment
from loading import load
from serving import free_port, serving

from broadcaster.ledger.callbacks import STATES
from broadcaster.reporting.broadcasts import read_broadcast

if TYPE_CHECKING:
    from pathlib import Path

LANE: Final = "+15550000001"
Callbacks = Literal["off", "on", "half"]
#: Final state and code, and how many.
Ends = dict[tuple[str, int], int]
_OURS: Final = ("TWILIO_", "BROADCASTER_")


@dataclass(frozen=True, slots=True)
class Ended:
    """What a campaign came to. `sent_seconds` until all had left, `ended_seconds` until counts were right."""

    ours: Ends
    truth: Ends
    sent_seconds: float
    ended_seconds: float
    answers: dict[str, int]

    @property
    def right(self) -> bool:
        """Whether counts by state and code are the simulator's truth."""
        return self.ours == self.truth


async def campaign(
    folder: Path,
    recipients: int,
    callbacks: Callbacks,
    *,
    after_seconds: float = 2.0,
    patience_seconds: float = 60.0,
    **config: Any,
) -> Ended:
    """Send to so many and wait until counts are right, or patience ends."""
    fields: dict[str, Any] = {
        "senders": {LANE: 20_000.0},
        "delivery_seconds": 0.3,
        "delivery_failures": {"30003": 0.04, "30005": 0.03, "30006": 0.02},
        "no_receipts": 0.02,
        "callback_lost": 0.5 if callbacks == "half" else 0.0,
    }
    port = free_port()
    ours = {"BROADCASTER_POLL_AFTER_SECONDS": f"{after_seconds:g}"}
    if callbacks != "off":
        ours["BROADCASTER_PUBLIC_URL"] = f"http://127.0.0.1:{port}"
    async with contextlib.AsyncExitStack() as stack:
        run = await stack.enter_async_context(deployment(folder, workers=0, **(fields | config)))
        if callbacks != "off":
            shared = {k: v for k, v in run.environment.items() if k.startswith(_OURS)}
            await stack.enter_async_context(serving(run.store, port=port, **(shared | ours)))
        run.start_worker(**ours)
        began = time.monotonic()
        bid = await load(run.store, {LANE: recipients}, rates={LANE: 20_000.0}, batch=500)
        await run.settled(bid, patience_seconds)
        sent = time.monotonic()
        while True:
            counted, truth = await _counted(run.store, bid), await _truth(run.simulator)
            late = time.monotonic() > sent + patience_seconds
            if counted == truth or late:
                answers = (await run.simulator.counts())["answers"]
                return Ended(counted, truth, sent - began, time.monotonic() - sent, answers)
            assert "Traceback" not in run.logs(), run.logs()[-3000:]
            await asyncio.sleep(0.2)


async def _counted(store: Any, bid: str) -> Ends:
    view = await read_broadcast(store, bid)
    assert view is not None
    found: Ends = {(one.state.label, one.code): one.count for one in view.codes}
    for state, count in view.counts.items():
        rest = count - sum(n for (label, _), n in found.items() if label == state.label)
        if rest:
            found[state.label, 0] = rest
    return found


async def _truth(simulator: Any) -> Ends:
    return dict(Counter((STATES[m["final"]].label, m["code"]) for m in await simulator.lines("finals")))
