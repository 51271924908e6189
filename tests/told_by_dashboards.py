"""Queries of the dashboards' panels, found by title, beside what the ledger and the simulated Twilio say."""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from promql import replaced
from watched_campaign import BY_HAND, BY_REPLY, HELD, URGENT

from broadcaster.domain.record import Evidence, Reason, State
from broadcaster.ledger.callbacks import STATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from observing import Vector
    from watched_campaign import Line, Watched

PROMISE_SECONDS: Final = 5
LARGEST_BATCH: Final = 500
BOARDS: Final = ("campaigns", "senders", "failures", "workers-and-redis", "runbook")
FOLDER: Final = Path(__file__).parents[1] / "deploy" / "grafana" / "dashboards"
_RATE: Final = re.compile(r"rate\(([^\[\]]+)\[\$__rate_interval\]\)")
#: Labels that only make words or links of another one.
_DECORATION: Final = frozenset({"meaning", "documentation"})

Told = dict[str, float]


@dataclass(frozen=True, slots=True)
class Compared:
    """One panel's query: what Prometheus says, and the truth; `how` it was evaluated.

    `within`: by how much single values may be off, where they are estimates by design; their sum may by
    no more than rounding makes.
    """

    panel: str
    query: str
    how: str
    prometheus: Told
    truth: Told
    within: float = 0.0

    @property
    def equal(self) -> bool:
        """Whether they name the same and agree; zeros count as not there."""
        ours, theirs = _without_zeros(self.prometheus), _without_zeros(self.truth)
        return (
            ours.keys() == theirs.keys()
            and all(
                math.isclose(ours[name], theirs[name], rel_tol=1e-9, abs_tol=self.within) for name in ours
            )
            and abs(sum(ours.values()) - sum(theirs.values())) <= (len(ours) / 2 if self.within else 1e-6)
        )


def _without_zeros(told: Told) -> Told:
    return {name: value for name, value in told.items() if value}


@cache
def _board(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def expression(board: str, title: str, ref: str = "A") -> str:
    """Return a panel's query as Grafana has it, variables and all."""
    [panel] = [one for one in _board(board)["panels"] if one["title"] == title]
    [target] = [one for one in panel["targets"] if one["refId"] == ref]
    return str(target["expr"])


async def compared(
    made: Watched, board: str, title: str, truth: Mapping[Any, float], ref: str = "A"
) -> Compared:
    """Ask a panel's query, all variables chosen, over the whole run.

    What a panel shows as a rate is asked for as the counter itself: all processes began with the run, so
    their counters are what happened in it, and nothing is extrapolated. Panels over "the time shown" are
    asked as they stand: each series is younger than that time and counts from 0 (`grown` in queries.py).
    """
    text = expression(board, title, ref)
    how = "as it stands"
    if "$__range" in text:
        how = "as it stands, the whole run shown"
    if _RATE.search(text):
        text, how = _RATE.sub(r"\1", text), "the counter for its rate()"
    text = replaced(text, __range=f"{math.ceil(time.time() - made.began) + 60}s")
    found = _flat(await made.prometheus.ask(text))
    query = f"{board}: {title}" + ("" if ref == "A" else f" ({ref})")
    return Compared(query, text, how, found, {_name(key): float(value) for key, value in truth.items()})


async def without_data(made: Watched) -> tuple[int, list[str]]:
    """Ask every query of every panel; return how many there are, and the panels of those without a series."""
    empty, asked = [], 0
    for board in BOARDS:
        for panel in _board(board)["panels"]:
            for target in panel.get("targets") or ():
                asked += 1
                if not await made.prometheus.series(replaced(target["expr"], __rate_interval="10s")):
                    empty.append(f"{board}: {panel['title']} ({target['refId']})")
    return asked, empty


def _flat(vector: Vector) -> Told:
    return {
        " ".join(value for name, value in sorted(labels) if name not in _DECORATION): value
        for labels, value in vector.items()
    }


def _name(key: Any) -> str:
    return key.label if isinstance(key, State) else str(key)


async def while_paused(made: Watched) -> list[Compared]:
    """Compare what the exporter shows while nothing moves with every record of the ledger."""
    await made.scraped()
    lines = await made.ledger(made.main)
    states = Counter(line.record.state for line in lines)
    waiting = {state: states[state] for state in (State.QUEUED, State.RETRY)}
    lanes = Counter(line.sender for line in lines if line.record.state in waiting)
    listed = (await made.api.client.get("/v1/broadcasts")).json()["data"]
    shown = (await made.api.client.get(f"/v1/broadcasts/{made.main}")).json()
    assert shown["state"] == "paused"
    assert shown["eta"] is None
    table = "Which broadcasts run, how far are they, when are they done, what do they wait for?"
    left = sum(waiting.values())
    return [
        await compared(made, "campaigns", "What waits, in which state?", waiting),
        await compared(made, "campaigns", "In which states are their messages?", states),
        await compared(made, "campaigns", "How many messages have not ended?", {"": left}),
        await compared(made, "campaigns", "How many could leave now, but for pace?", {"": 0}),
        await compared(
            made,
            "campaigns",
            "How many broadcasts are in which state?",
            Counter(one["state"] for one in listed),
        ),
        await compared(made, "campaigns", table, {made.main: (len(lines) - left) / len(lines)}, "C"),
        await compared(made, "campaigns", table, {}, "F"),
        await compared(made, "campaigns", table, {f"{made.main} broadcast_paused": 1}, "G"),
        replace(
            await compared(made, "senders", "How much waits for each sender?", lanes),
            within=LARGEST_BATCH,  # of a broadcast's queue a lane's share is known by its batches
        ),
    ]


async def at_the_end(made: Watched) -> list[Compared]:
    """Compare what processes counted with what Twilio saw and what the ledger has become."""
    lines = await made.ledger(made.main, made.held)
    taken = await made.run.simulator.lines("accepted")
    tries = await made.run.simulator.lines("decisions")
    finals = await made.run.simulator.lines("finals")
    unheard = [one for one in tries if one["status"] == 0 or one["status"] >= 500]
    answered = [one for one in taken if one["sid"] not in {told["sid"] for told in unheard}]
    refused = [one for one in tries if 400 <= one["status"] < 500 and one["status"] != 429]
    dead = [line for line in lines if line.record.state is State.DEAD]
    outcomes = {
        "accepted": len(answered),
        "rejected": len(refused),
        "throttled": sum(one["status"] == 429 for one in tries),
        "unknown": len(unheard),
    }
    # what never reached Twilio it can't tell of: the ledger gave it a number all the same
    outcomes["not_sent"] = await made.attempts() - sum(outcomes.values())
    codes = Counter(str(one["code"]) for one in tries if one["status"])
    codes["not_sent"] = outcomes["not_sent"]
    segments = Counter[str]()
    for one in answered:
        segments[one["from"]] += one["segments"]
    twice = len(taken) - len({one["to"] for one in taken})
    deliveries = Counter(STATES[one["final"]] for one in finals if STATES[one["final"]] > State.SENT)
    share, unknown = await _in_time(made)
    return [
        await compared(made, "campaigns", "How fast do messages leave, and how do they end?", outcomes),
        await compared(made, "senders", "How fast does each sender go?", segments),
        await compared(
            made,
            "failures",
            "Which codes did Twilio refuse messages with?",
            codes,
        ),
        await compared(
            made,
            "failures",
            "Which codes did deliveries fail with?",
            Counter(one["code"] for one in finals if one["code"]),
        ),
        await compared(made, "failures", "What became of messages?", deliveries),
        await compared(made, "failures", "How was doubt settled?", await _settled(made, unheard, lines)),
        await compared(made, "failures", "What became dead letters, and why?", Counter(map(_why_dead, dead))),
        await compared(made, "failures", "How many dead letters wait for somebody?", {"": len(dead)}),
        await compared(made, "failures", "Who was left out, and why?", _skipped(lines)),
        await compared(
            made,
            "failures",
            "Who opts out, and how do we know?",
            {
                "reply": BY_REPLY,
                "hand": BY_HAND,
                "twilio": sum(one["code"] == 21610 for one in tries),
            },
        ),
        await compared(made, "failures", "Duplicates that we caused", {"": twice}),
        await compared(
            made,
            "campaigns",
            "How fast do recipients come in?",
            {"list": made.recipients + HELD, "message": URGENT},
        ),
        replace(
            await compared(made, "campaigns", "How many urgent messages left within 5 seconds?", {"": share}),
            within=unknown,
        ),
    ]


def _why_dead(line: Line) -> str:
    code = line.record.code
    return "unknown" if code == Reason.UNKNOWN else "budget_spent" if code == 14107 else "rejected"


async def _settled(made: Watched, unheard: list[Any], lines: list[Line]) -> Counter[str]:
    """Return how the doubt of each try without an answer ended, by its message's history.

    Where a callback came before anybody looked into Twilio's list, nothing was to be settled.
    """
    doubtful = {one["to"] for one in unheard}
    found = Counter[str]()
    for line in (line for line in lines if line.to in doubtful):
        told = await made.history(line.id)
        if line.record.state is State.DEAD and line.record.code == Reason.UNKNOWN:
            found["dead"] += 1
        elif any(one.evidence == Evidence.LIST.label for one in told):
            found["list"] += 1
        elif told[-1].attempt > told[0].attempt:
            found["retried"] += 1
    return found


def _skipped(lines: list[Line]) -> Counter[str]:
    reasons = Counter[str]()
    for line in lines:
        if line.record.state is State.SKIPPED:
            reasons["opted_out" if line.record.code == Reason.OPTED_OUT else str(line.record.code)] += 1
    return reasons


async def _in_time(made: Watched) -> tuple[float, float]:
    """Return the share of urgent messages that got their first yes within 5 s, and what is not known of it.

    The ledger has the second of the yes, and we the moments between which the API accepted.
    """
    surely = perhaps = 0
    for message, before, after in made.urgent:
        [first, *_] = await made.history(message)
        surely += first.began + 1 - before <= PROMISE_SECONDS
        perhaps += first.began - after <= PROMISE_SECONDS < first.began + 1 - before
    return (surely + perhaps) / len(made.urgent), perhaps / len(made.urgent)
