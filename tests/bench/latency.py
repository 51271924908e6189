"""How soon it takes effect, under full load: an urgent message, a pause, a cancel, a STOP.

    python tests/bench/latency.py [--urgent 100] [--repeats 5] [--json FILE] [--quick]

Two workers, the API and a sink. One sender's backlog is sent as fast as the workers' core can; another keeps
100/s, with a backlog too. Urgent messages are posted to the API one by one: from the request's first byte to
the POST at the sink. The others count from the API's answer to the last POST at the sink that it forbids; 0
says that nothing came after it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import quantiles
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fleet import ACCOUNT, Fleet, fleet
from loading import load, number
from measured import Report, Row, told, write
from replying import form
from serving import ITSELF, Api, serving
from webhooks import INBOUND, TOKEN, call

from broadcaster.domain.broadcast import Priority
from broadcaster.domain.record import State
from broadcaster.lanes.control import set_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND: Final = "python tests/bench/latency.py"
PACED: Final = "+15550000100"
FAST: Final = "+15550000200"
SHORT_CODE: Final = "12345"
FASTEST: Final = 100_000.0
QUIET_SECONDS: Final = 1.3


@dataclass
class Load:
    """What is running: numbers are never used twice."""

    run: Fleet
    api: Api
    backlog: int
    first: count[int] = field(default_factory=lambda: count(1_000_000, 1_000_000))

    async def bulk(self, lane: str, size: int, rate: float, **more: Any) -> str:
        """Start a bulk broadcast and wait until it is being sent."""
        broadcast = await load(
            self.run.store,
            {lane: size},
            rates={lane: rate},
            batch=500,
            priority=Priority.BULK,
            first=next(self.first),
            **more,
        )
        await self.run.until(lambda c: c.get(State.ACCEPTED, 0) > 0, broadcast)
        return broadcast

    async def post(self, path: str, **body: Any) -> None:
        """Call the API."""
        (await self.api.client.post(path, json=body)).raise_for_status()


async def urgent(now: Load, lane: str, messages: int) -> list[float]:
    """Post urgent messages one by one; return the seconds until the sink had each."""
    asked: dict[int, float] = {}
    for i in range(messages):
        to = f"+1628{len(lane) + int(lane[-3:]):03d}{i:04d}"
        asked[int(to[1:])] = monotonic()
        await now.post("/v1/messages", to=to, body="leave now", priority="urgent", **{"from": lane})
        await asyncio.sleep(0.03)
    deadline = monotonic() + 30
    while True:
        seen = now.run.sink.arrivals()
        came = {to: at for to, at in zip(seen.recipients, seen.times, strict=True) if to in asked}
        if len(came) == messages:
            return [came[to] - at for to, at in asked.items()]
        assert monotonic() < deadline, f"{messages - len(came)} urgent messages did not come"
        await asyncio.sleep(0.2)


async def silence(now: Load, answered: float, recipients: range | None = None, lane: str = FAST) -> float:
    """Wait until it would have been seen; return how long after the answer the last forbidden one came."""
    await asyncio.sleep(QUIET_SECONDS)
    seen = now.run.sink.arrivals()
    rows = zip(seen.times, seen.senders, seen.recipients, strict=True)
    last = [at for at, by, to in rows if by == lane and (recipients is None or to in recipients)]
    assert last, "nothing was sent at all"
    return max(0.0, last[-1] - answered)


async def pauses(now: Load, repeats: int) -> list[float]:
    """Pause and resume what is sent as fast as it can be."""
    broadcast = await now.bulk(FAST, now.backlog, FASTEST)
    took = []
    for _ in range(repeats):
        await now.post(f"/v1/broadcasts/{broadcast}/pause")
        took.append(await silence(now, monotonic()))
        now.run.sink.forget()
        await now.post(f"/v1/broadcasts/{broadcast}/resume")
        await asyncio.sleep(0.7)
    await now.post(f"/v1/broadcasts/{broadcast}/cancel")
    await asyncio.sleep(QUIET_SECONDS)
    return took


async def cancels(now: Load, repeats: int) -> list[float]:
    """Cancel what is sent as fast as it can be."""
    took = []
    for _ in range(repeats):
        broadcast = await now.bulk(FAST, now.backlog // 4, FASTEST)
        await asyncio.sleep(0.3)
        await now.post(f"/v1/broadcasts/{broadcast}/cancel")
        took.append(await silence(now, monotonic()))
        now.run.sink.forget()
    return took


async def stops(now: Load, repeats: int) -> list[float]:
    """Let somebody write STOP to whom 200 messages a second are going, beside the fastest sender."""
    await now.bulk(FAST, now.backlog, FASTEST)
    took = []
    for i in range(repeats):
        who = number(9_000_000 + i)
        people = range(int(who[1:]), int(who[1:]) + 1)
        broadcast = await now.bulk(SHORT_CODE, 2_000, 200.0, address=lambda _, to=who: to)
        await asyncio.sleep(0.3)
        answer = await call(
            now.api.client, INBOUND, form("STOP", person=who, to=SHORT_CODE), origin=now.api.url
        )
        answer.raise_for_status()
        took.append(await silence(now, monotonic(), people, SHORT_CODE))
        await now.run.until(lambda c: not c.get(State.QUEUED), broadcast)
        now.run.sink.forget()
    return took


def row(name: str, what: str, seconds: Sequence[float], note: str = "") -> Row:
    """Return a row in milliseconds, with its tail in words."""
    ms = sorted(second * 1000 for second in seconds)
    if len(ms) > 1:
        cuts = quantiles(ms, n=100, method="inclusive")
        tail = f"p50 {cuts[49]:.0f} p99 {cuts[98]:.0f} most {ms[-1]:.0f} ms"
        note = f"{note}; {tail}" if note else tail
    return Row(name, what, "ms", tuple(ms), COMMAND, note)


async def bench(options: argparse.Namespace) -> Report:
    """Run all of it."""
    async with fleet() as run:
        ours = {
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_AUTH_TOKEN": TOKEN,
            "TWILIO_API_BASE_URL": run.sink.url,
            "TWILIO_PHONE_NUMBER": PACED,
            "BROADCASTER_PUBLIC_URL": ITSELF,
        }
        async with serving(run.store, **ours) as api:
            for _ in range(2):
                run.start_worker()
            await run.joined(2)
            now = Load(run, api, options.backlog)
            paused = await pauses(now, options.repeats)
            canceled = await cancels(now, options.repeats)
            stopped = await stops(now, options.repeats)
            # the fastest is still going
            await run.store.run(set_rate(PACED, 100.0))
            await now.bulk(PACED, 20_000, 100.0)
            paced = await urgent(now, PACED, options.urgent)
            run.sink.forget()
            await now.bulk(FAST, now.backlog, FASTEST)
            fastest = await urgent(now, FAST, options.urgent)
    return Report(
        "latency",
        (
            row("latency.urgent", "urgent past a bulk backlog at 100/s, accept to POST", paced),
            row("latency.urgent_fastest", "urgent past bulk at a worker's full speed", fastest),
            row("latency.pause", "pause to silence, at full speed", paused),
            row("latency.cancel", "cancel to silence, at full speed", canceled),
            row("latency.stop", "STOP to silence", stopped),
        ),
    )


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--urgent", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--backlog", type=int, default=200_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.urgent, options.repeats, options.backlog = 10, 1, 60_000
    report = asyncio.run(bench(options))
    print(told(report.rows))
    print("\n".join(f"{each.id}: {each.note}" for each in report.rows))
    write(report, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
