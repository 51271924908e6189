"""A system that loses its Redis in the middle of everything, and goes on from a backup on an empty one."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import httpx
from deployment import PREFIX, Deployment, deployment_on
from loading import counts, load, number, records
from losing import command, crash, ended, restore, standing, taken
from servers import RDB, Server
from serving import Api, serving
from truth import the_truth

from broadcaster.domain.record import Reason, State
from broadcaster.lanes import control
from broadcaster.store.connection import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from truth import Truth

LANES: Final = {"+15550000001": 0.5, "+15550000002": 0.3, "+15550000003": 0.2}
SNAPSHOT, FILES, COMMAND = "snapshot", "files", "command"
#: Far behind the campaign's own people, so that these have not had their turn when Redis is lost.
PAUSED_FIRST: Final = 1_000_000
SINGLE_FIRST: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """A campaign of `total`; the backup is taken, and Redis lost, when so many shares of it were sent."""

    kind: str = SNAPSHOT
    total: int = 20_000
    rate: float = 250.0
    paused: int = 400
    backup_at: float = 0.25
    lost_at: float = 0.5
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Told:
    """What became of it all."""

    accepted_at_backup: int = 0
    accepted_at_loss: int = 0
    backup_seconds: float = 0.0
    in_doubt: int = 0
    whole_seconds: float = 0.0
    by_evidence: Counter[str] = field(default_factory=Counter)
    campaign: Truth | None = None
    paused: Truth | None = None
    twice: int = 0
    singles: int = 0
    singles_before: int = 0
    singles_sent: int = 0
    singles_of_backup_sent: int = 0
    spared: list[str] = field(default_factory=list)
    stops_before_sent: int = 0
    stops_after_sent: int = 0
    stops_after: int = 0

    def breaches(self) -> list[str]:
        """Return every promise that was not kept."""
        assert self.campaign is not None
        assert self.paused is not None
        found = []
        for truth in (self.campaign, self.paused):
            spared = [f"{who} is skipped {Reason.OPTED_OUT:d} " for who in self.spared]
            found += [*truth.twice, *truth.lost]
            found += [told for told in truth.wrong if not told.startswith(tuple(spared))]
            found += [f"{n} in doubt" for s, n in truth.states.items() if s is State.IN_DOUBT]
        if self.twice:
            found.append(f"{self.twice} people have a message twice")
        if self.stops_before_sent:
            found.append(f"{self.stops_before_sent} who said STOP before the backup got a message")
        if self.singles_of_backup_sent != self.singles_before:
            found.append(
                f"of {self.singles_before} singles in the backup {self.singles_of_backup_sent} were sent"
            )
        return found


class Around:
    """What goes on beside the campaign: single messages, and people who want no more."""

    def __init__(self, run: Deployment, api: Api) -> None:
        self._run = run
        self._api = api
        self.singles: list[str] = []
        self._places = itertools.count(SINGLE_FIRST)

    async def send_singles(self) -> None:
        """Hand in a message five times a second, until cancelled or refused."""
        while True:
            to = number(next(self._places))
            form = {"to": to, "body": "Your order is ready."}
            try:
                answer = await self._api.client.post(
                    "/v1/messages", json=form, headers={"Idempotency-Key": to}
                )
            except httpx.TransportError:
                return
            if answer.status_code < 300:
                self.singles.append(to)
            await asyncio.sleep(0.2)

    async def stop(self, people: list[str]) -> None:
        """Let people be opted out by a service."""
        for who in people:
            answer = await self._api.client.post("/v1/opt-outs", json={"address": who})
            assert answer.status_code < 300, answer.text


async def lose_everything(folder: Path, plan: Plan) -> Told:
    """Send, back up, send on, lose Redis and all processes, restore onto an empty Redis, send the rest."""
    told = Told()
    backup = folder / "backup"
    async with AsyncExitStack() as stack:
        server = stack.enter_context(Server(folder / "redis"))
        run = await stack.enter_async_context(
            deployment_on(server, server.url, folder, workers=0, latency_ms=100, latency_jitter_ms=40)
        )
        for name in ("SETTLE_SECONDS", "SETTLE_ALONE_SECONDS", "LEASE_SECONDS"):
            del run.environment[f"BROADCASTER_{name}"]
        run.environment.update(plan.settings)
        ours = {k: v for k, v in run.environment.items() if k.startswith(("TWILIO_", "BROADCASTER_"))}
        api = await stack.enter_async_context(serving(run.store, TWILIO_PHONE_NUMBER="+15550000001", **ours))
        around = Around(run, api)
        workers = [run.start_worker() for _ in range(2)]
        bid, paused = await _begin(run, plan)
        late = [number(_rows(plan)[lane][-1 - i]) for lane in LANES for i in range(2)]
        await around.stop(late[:3])
        singles = asyncio.create_task(around.send_singles())
        await taken(run, int(plan.total * plan.backup_at), plan.total)

        began = time.monotonic()
        told.accepted_at_backup = await taken(run)
        known_before = len(around.singles)
        taken_at = await _back_up(run, server, backup, plan.kind)
        told.backup_seconds = time.monotonic() - began
        told.singles_before = known_before

        await run.store.run(control.resume(paused))
        await around.stop(late[3:])
        told.stops_after = len(late[3:])
        await taken(run, int(plan.total * plan.lost_at), plan.total)
        await run.until(lambda c: set(c) == {State.ACCEPTED}, paused, 240)
        server.kill()
        shutil.rmtree(server.data_dir)
        api.kill()
        for worker in workers:
            crash(worker)
        await singles
        told.accepted_at_loss = await taken(run)
        told.singles = len(around.singles)

        empty = stack.enter_context(Server(folder / "empty"))
        empty.put_back(backup)
        store = await open_store(empty.url, f"{PREFIX}:")
        stack.push_async_callback(store.close)
        again = replace(run, redis=empty, store=store, environment=run.environment | {"REDIS_URL": empty.url})
        again.environment["BROADCASTER_DATA_DIR"] = str(folder / "another-host")
        began = time.monotonic()
        told.in_doubt = await restore(again, taken_at, "--workers-gone")
        # its epoch is another one now
        again.store = await open_store(empty.url, f"{PREFIX}:")
        stack.push_async_callback(again.store.close)
        for _ in range(2):
            again.start_worker()
        code, _, err = await command(again, "broadcasts", "resume", paused)
        assert code == 0, err
        for each in (bid, paused):
            await ended(again, each, 900)
        await _singles_ended(again)
        told.whole_seconds = time.monotonic() - began
        await _judge(again, plan, told, around, names=(bid, paused), late=late)
    return told


def _rows(plan: Plan) -> dict[str, range]:
    """Return which people each lane has."""
    found, first = {}, 0
    for lane, share in LANES.items():
        found[lane] = range(first, first + int(plan.total * share))
        first = found[lane].stop
    return found


async def _begin(run: Deployment, plan: Plan) -> tuple[str, str]:
    """Start the campaign; and another broadcast, which is paused in its middle."""
    sizes = {lane: len(rows) for lane, rows in _rows(plan).items()}
    rates = {lane: share * plan.rate for lane, share in LANES.items()}
    lane = "+15550000009"
    paused = await load(run.store, {lane: plan.paused}, rates={lane: 50}, first=PAUSED_FIRST)
    await run.until(lambda c: c.get(State.ACCEPTED, 0) >= plan.paused // 8, paused, 240)
    await run.store.run(control.pause(paused, "by request"))
    return await load(run.store, sizes, rates=rates, batch=200), paused


async def _back_up(run: Deployment, server: Server, to: Path, kind: str) -> datetime | None:
    """Take a backup in one of the documented ways; return what `restore` is told, None for nothing."""
    taken_at = datetime.now(UTC)
    if kind == COMMAND:
        await asyncio.to_thread(to.mkdir)
        code, _, err = await command(run, "backup", str(to / RDB), "--json")
        assert code == 0, err
        return None
    await asyncio.to_thread(server.back_up_snapshot if kind == SNAPSHOT else server.back_up_files, to)
    return taken_at


async def _singles_ended(run: Deployment) -> None:
    """Wait until no single message is open."""
    for raw in await run.store.redis.zrange(run.store.keys.plain("streams"), 0, -1):
        await run.until(
            lambda c: not {State.QUEUED, State.SENDING, State.RETRY, State.IN_DOUBT} & c.keys(),
            raw.decode(),
            300,
        )


async def _judge(
    run: Deployment, plan: Plan, told: Told, around: Around, *, names: tuple[str, str], late: list[str]
) -> None:
    got = await run.simulator.accepted()
    mine = {number(i) for i in range(plan.total)}
    hers = {number(i) for i in range(PAUSED_FIRST, PAUSED_FIRST + plan.paused)}
    singles = set(around.singles)
    others: set[str] = got.keys() - mine
    told.campaign = await the_truth(run, names[0], plan.total, others)
    told.paused = await the_truth(run, names[1], plan.paused, got.keys() - hers)
    told.twice = sum(n > 1 for n in got.values())
    told.by_evidence = Counter(r.evidence.label for r in (await records(run.store, names[0])).values())
    told.singles_sent = len(singles & got.keys())
    told.singles_of_backup_sent = len(set(around.singles[: told.singles_before]) & got.keys())
    told.spared = late[:3]
    told.stops_before_sent = sum(who in got for who in late[:3])
    told.stops_after_sent = sum(who in got for who in late[3:])
    assert await standing(run, names[0]) == await counts(run.store, names[0])


def explain(told: Told, plan: Plan) -> str:
    """Return the figures in a few lines."""
    assert told.campaign is not None
    listed, later = told.by_evidence["list"], told.singles_sent - told.singles_of_backup_sent
    return (
        f"  backup in {told.backup_seconds:.1f} s at {told.accepted_at_backup} accepted, lost at "
        f"{told.accepted_at_loss}; {told.in_doubt} in doubt after the restore\n"
        f"  whole {told.whole_seconds:.0f} s after the restore began: {told.campaign.accepted} of "
        f"{plan.total} have it, {listed} of them found in Twilio's list, the others by an answer\n"
        f"  twice {told.twice}; singles: {told.singles} handed in, {told.singles_before} before the backup, "
        f"of which {told.singles_of_backup_sent} were sent; of the others {later} (more went with Redis)\n"
        f"  opt-outs: of 3 before the backup {told.stops_before_sent} got it, of {told.stops_after} after "
        f"it {told.stops_after_sent} (to be made again: deploy/operations.md)"
    )
