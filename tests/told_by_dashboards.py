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

from broadcaster.domain.record import Reason, State
from broadcaster.ledger.callbacks import STATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from observing import Vector
    from watched_campaign import Line, Watched

LARGEST_BATCH: Final = 500
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
        await compared(made, "failures", "How was doubt settled?", _settled(unheard, dead)),
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
        await compared(
            made, "campaigns", "How many urgent messages left within 5 seconds?", {"": _in_time(made, taken)}
        ),
    ]


def _why_dead(line: Line) -> str:
    code = line.record.code
    return "unknown" if code == Reason.UNKNOWN else "budget_spent" if code == 14107 else "rejected"


def _settled(unheard: list[Any], dead: list[Line]) -> Counter[str]:
    """Of each try without an answer: Twilio had it, or not; then it was sent again, or held."""
    held = {line.to for line in dead if line.record.code == Reason.UNKNOWN}
    return Counter("list" if one["sid"] else "dead" if one["to"] in held else "retried" for one in unheard)


def _skipped(lines: list[Line]) -> Counter[str]:
    reasons = Counter[str]()
    for line in lines:
        if line.record.state is State.SKIPPED:
            reasons["opted_out" if line.record.code == Reason.OPTED_OUT else str(line.record.code)] += 1
    return reasons


def _in_time(made: Watched, taken: list[Any]) -> float:
    arrived = {one["to"]: one["received_at"] for one in taken}
    in_time = [to for at, to in made.urgent if arrived[to] - at <= 5]
    return len(in_time) / len(made.urgent)
