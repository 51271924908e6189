"""People write STOP while a campaign that they are in is being sent: over the real webhook."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from deployment import Deployment, deployment
from loading import counts, load, number
from serving import ITSELF, serving

from broadcaster.domain.record import State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: A short code: Twilio itself does nothing there, so whatever we post to somebody is accepted, and seen.
SENDER: Final = "12345"
ANSWER: Final = "You are out & get nothing more <3"
WORDS: Final = ("STOP", "stop!", "Unsubscribe", "BAJA", "S T O P", "arr\u00eat")
_UNSENT: Final = frozenset({State.QUEUED, State.SENDING, State.RETRY})


@dataclass(slots=True)
class Stopped:
    """One person: whose turn was so many messages away, when it was said and answered (unix seconds)."""

    person: str
    ahead: int
    said: float
    answered: float
    posted: float | None = None

    @property
    def late_seconds(self) -> float:
        """How long after it was *said* the last POST to this person came; the answer came later still."""
        return -1.0 if self.posted is None else self.posted - self.said


@dataclass(slots=True)
class Outcome:
    """What was seen; `longest_answer_seconds`: from saying STOP to the webhook's answer, at most.

    `unanswered`: whose STOP was not confirmed, once, by the text that is set.
    """

    stopped: list[Stopped]
    accepted: int = 0
    skipped: int = 0
    twice: int = 0
    rate: float = 0.0
    longest_answer_seconds: float = 0.0
    unanswered: list[object] = field(default_factory=list)

    @property
    def late(self) -> list[Stopped]:
        """Who got something more than a second after the webhook's answer."""
        return [s for s in self.stopped if s.posted is not None and s.posted > s.answered + 1.0]


async def campaign(
    folder: Path,
    *,
    recipients: int,
    rate: float,
    every_seconds: float,
    ahead: Sequence[int],
    callbacks: bool = False,
    latency_ms: float = 0.0,
) -> Outcome:
    """Send a campaign; every so often those say STOP whose turn is so many messages `ahead`."""
    config: dict[str, Any] = {"senders": {SENDER: 10_000.0}, "latency_ms": latency_ms}
    async with deployment(folder, workers=0, **config) as run:
        ours = {k: v for k, v in run.environment.items() if k.startswith(("TWILIO_", "BROADCASTER_"))}
        ours |= {
            "TWILIO_PHONE_NUMBER": SENDER,
            "BROADCASTER_PUBLIC_URL": ITSELF,
            "BROADCASTER_STOP_ANSWER": ANSWER,
        }
        async with serving(run.store, **ours) as api:
            await run.simulator.configure(inbound_url=f"{api.url}/webhooks/twilio/inbound#rc=5&rp=all")
            run.start_worker(**({"BROADCASTER_PUBLIC_URL": api.url} if callbacks else {}))
            bid = await load(run.store, {SENDER: recipients}, rates={SENDER: rate}, batch=500)
            await run.until(lambda found: State.ACCEPTED in found, bid)
            outcome = Outcome([])
            people = itertools.count()
            said = set[str]()
            while (unsent := await _unsent(run, bid)) > max(ahead):
                some = [number(recipients - unsent + k) for k in ahead]
                if not said & set(some):
                    said |= set(some)
                    outcome.stopped += await _say(run, some, ahead, people, outcome)
                await asyncio.sleep(every_seconds)
            await run.settled(bid, timeout=recipients / rate + 60)
            await _see(run, bid, outcome)
            return outcome


async def _unsent(run: Deployment, bid: str) -> int:
    """Return how many of a campaign are still to be sent."""
    return sum(n for state, n in (await counts(run.store, bid)).items() if state in _UNSENT)


async def _say(
    run: Deployment, some: list[str], ahead: Sequence[int], people: itertools.count[int], outcome: Outcome
) -> list[Stopped]:
    """Let some say it at once; return them when the webhook has answered to all of them."""
    written = [{"from": who, "to": SENDER, "body": WORDS[next(people) % len(WORDS)]} for who in some]
    began = time.time()
    answers = await asyncio.gather(
        *(run.simulator.http.post("/_simulator/inbound", json=one, timeout=30) for one in written)
    )
    now = time.time()
    rows = [answer.json() for answer in answers]
    outcome.unanswered += [row for row in rows if [reply["body"] for reply in row["replies"]] != [ANSWER]]
    outcome.longest_answer_seconds = max(outcome.longest_answer_seconds, now - began)
    return [Stopped(who, k, began, now) for who, k in zip(some, ahead, strict=True)]


async def _see(run: Deployment, bid: str, outcome: Outcome) -> None:
    """Read what the other side saw."""
    lines = await run.simulator.lines("accepted")
    outcome.twice = len(lines) - len({line["to"] for line in lines})
    assert not await run.simulator.lines("decisions"), "whatever was posted was accepted"
    last: dict[str, float] = {}
    for line in lines:
        last[line["to"]] = max(line["received_at"], last.get(line["to"], 0.0))
    for one in outcome.stopped:
        one.posted = last.get(one.person)
    found = await counts(run.store, bid)
    outcome.accepted = sum(n for state, n in found.items() if state >= State.ACCEPTED and state < State.DEAD)
    outcome.skipped = found.get(State.SKIPPED, 0)
    outcome.rate = (await run.simulator.pace())[SENDER]["rate"]
