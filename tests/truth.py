"""What became of everybody: our ledger and counters beside what the simulator accepted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loading import counts, records

from broadcaster.domain.record import Reason, State
from broadcaster.store.batches import unpack_batch

if TYPE_CHECKING:
    from collections.abc import Container

    from deployment import Deployment

    from broadcaster.domain.record import Record

MOVING = frozenset({State.QUEUED, State.SENDING, State.RETRY})


async def check_truth(run: Deployment, bid: str, total: int) -> dict[State, int]:
    """Compare our ledger with what the simulator accepted; return our counters."""
    taken = await run.simulator.accepted()
    ledger = await records(run.store, bid)
    told = await counts(run.store, bid)
    states: dict[State, int] = {}
    for record in ledger.values():
        states[record.state] = states.get(record.state, 0) + 1
    assert states == told, "counters equal the records"
    assert sum(told.values()) == total
    assert not [to for to, copies in taken.items() if copies > 1], "nobody twice"
    assert (
        told.get(State.ACCEPTED, 0) <= len(taken) <= told.get(State.ACCEPTED, 0) + told.get(State.IN_DOUBT, 0)
    )
    return told


@dataclass(frozen=True, slots=True)
class Truth:
    """Everybody of one broadcast. The lists name the recipients for whom a promise was broken, with why."""

    states: dict[State, int]
    dead: dict[int, int]
    accepted: int
    twice: list[str]
    lost: list[str]
    wrong: list[str]

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not (self.twice or self.lost or self.wrong)


async def the_truth(run: Deployment, bid: str, total: int, others: Container[str] = ()) -> Truth:
    """Compare each recipient's record with what was accepted for it; `others` got other broadcasts."""
    taken = {to: n for to, n in (await run.simulator.accepted()).items() if to not in others}
    ledger = await _by_address(run, bid)
    told = await counts(run.store, bid)
    states = Counter(record.state for record in ledger.values())
    wrong = [] if states == told else [f"counters {told} are not the records {dict(states)}"]
    if len(ledger) != total:
        wrong.append(f"{len(ledger)} records for {total} recipients")
    state = await run.store.redis.hget(run.store.keys.broadcast(bid), "state")
    if not states[State.IN_DOUBT] and state != b"completed":
        wrong.append(f"the broadcast ended as {state}")
    lost = []
    for to, record in ledger.items():
        about = f"{to} is {record.state.label} {record.code} at attempt {record.attempt}"
        if record.state in MOVING:
            wrong.append(f"{about}, still")
        elif record.state is State.ACCEPTED and not taken.get(to):
            lost.append(f"{about}, and never arrived")
        elif record.state is State.DEAD and not record.code:
            lost.append(f"{about}, without a reason")
        elif record.state is State.DEAD and taken.get(to) and record.code != Reason.UNKNOWN:
            wrong.append(f"{about}, and arrived")
        elif record.state not in (State.ACCEPTED, State.DEAD, State.IN_DOUBT):
            wrong.append(f"{about}, why?")
    lost += [f"{to} arrived and has no record" for to in taken.keys() - ledger.keys()]
    return Truth(
        states=told,
        dead=dict(Counter(int(r.code) for r in ledger.values() if r.state is State.DEAD)),
        accepted=len(taken),
        twice=[f"{to} arrived {n} times: {_said(ledger.get(to))}" for to, n in taken.items() if n > 1],
        lost=lost,
        wrong=wrong,
    )


def _said(record: Record | None) -> str:
    return "no record" if record is None else f"{record.state.label} {record.code}, attempt {record.attempt}"


async def _by_address(run: Deployment, bid: str) -> dict[str, Record]:
    found, packed = {}, dict[str, list[str]]()
    for (batch, index), record in (await records(run.store, bid)).items():
        if batch not in packed:
            raw = await run.store.redis.get(run.store.keys.batch(bid, batch))
            packed[batch] = unpack_batch(raw).to
        found[packed[batch][index]] = record
    return found
