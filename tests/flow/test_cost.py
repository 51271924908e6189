"""What a message costs, in what does not depend on the machine; the benches tell it in time.

A bound that is broken says that each message now does more: `tests/bench/send_path.py` and `stages.py` show
what that takes. Where it has to be, raise the bound.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any, Final

import measured
import pytest
from counting_calls import counting_calls
from dispatching import Accepting, dispatching
from driving import LANE, group, join, result, take, tell
from loading import counts, load

from broadcaster.domain.record import State
from broadcaster.lanes import claims
from broadcaster.ledger.recording import Results, record
from broadcaster.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.store.connection import Store

MESSAGES: Final = 2_000
#: What the gate is asked for at once, more or less, while all goes well (workers/gate.py).
GROUP: Final = 64
#: Seen: 1.59 commands for a message in slices of 500, 35.7 for one that is alone on its lane.
COMMANDS_IN_COMPANY: Final = 1.75
COMMANDS_ALONE: Final = 38.0
#: Seen: 21.3 calls of our functions, 22.5 of built-in ones by them; more where fewer travel together.
OUR_CALLS: Final = 26.0
BUILT_IN_CALLS: Final = 28.0
#: Seen: 1.05 round trips for a message of a lane at 150/s; 2 where outcomes have trips of their own.
EXCHANGES_AT_150: Final = 1.4
#: Seen: 0.58 to 1.03, by machine and by what else runs there.
CPU_RATIO: Final = 0.25
SEND_PATH: Final = Path(__file__).parents[1] / "bench" / "send_path.py"


async def processed(store: Store) -> int:
    """Return how many commands Redis has carried out, those of scripts too."""
    return int((await store.redis.info("stats"))["total_commands_processed"])


async def test_commands_in_redis_for_a_message_among_others(store: Store) -> None:
    """By hand: how much travels together depends on how fast the machine is."""
    bid = await load(store, {LANE: 10 * GROUP}, batch=10 * GROUP, rates={LANE: 100_000.0})
    await join(store)
    before, sent = await processed(store), 0
    while sent < 10 * GROUP:
        for held in await take(store):
            for at in range(0, len(held.items), GROUP):
                items = held.items[at : at + GROUP]
                (verdict,) = await store.run(claims.intend("w1", "0", [group(held, items)]))
                assert verdict.yes == "1" * len(items)
                await tell(store, held, [accepted(item.row) for item in items])
                sent += len(items)
            await store.run(claims.release("w1", [held.claim]))
    spent = await processed(store) - before
    assert await counts(store, bid) == {State.ACCEPTED: sent}
    assert spent / sent < COMMANDS_IN_COMPANY


async def test_commands_in_redis_for_a_message_alone_on_its_lane(store: Store) -> None:
    lanes = {f"+1415556{i:04d}": 2 for i in range(50)}
    bid = await load(store, lanes, rates=dict.fromkeys(lanes, 1.0))
    await join(store)
    before = await processed(store)
    slices = await take(store)
    assert [len(held.items) for held in slices] == [1] * len(lanes)
    verdicts = await store.run(claims.intend("w1", "0", [group(held) for held in slices]))
    assert all(verdict.yes == "1" for verdict in verdicts)
    ends = [Results(held.lane, held.broadcast, held.batch, [accepted(held.items[0].row)]) for held in slices]
    await store.run(record("w1", ends))
    await store.run(claims.release("w1", [held.claim for held in slices]))
    spent = await processed(store) - before
    assert await counts(store, bid) == {State.QUEUED: len(lanes), State.ACCEPTED: len(lanes)}
    assert spent / len(lanes) < COMMANDS_ALONE


def accepted(row: int) -> Any:
    """A first attempt that Twilio took."""
    return result(row, 1, State.ACCEPTED, sid=row.to_bytes(16, "big"))


async def test_calls_of_functions_for_a_message(store: Store, wait_until: Callable[..., Any]) -> None:
    bid = await load(store, {LANE: MESSAGES}, batch=500, rates={LANE: 100_000.0})
    key = store.keys.broadcast(bid)

    async def completed() -> bool:
        return bool(await store.redis.hget(key, "state") == b"completed")

    with counting_calls() as calls:
        async with dispatching(store, Accepting(), concurrency=GROUP, renew_seconds=1.0):
            await wait_until(completed, timeout=50)
    assert await counts(store, bid) == {State.ACCEPTED: MESSAGES}
    assert calls.ours / MESSAGES < OUR_CALLS
    assert calls.built_in / MESSAGES < BUILT_IN_CALLS


async def test_outcomes_travel_with_the_next_question(store: Store, wait_until: Callable[..., Any]) -> None:
    bid = await load(store, {LANE: 200}, batch=100, rates={LANE: 150.0})
    key, metrics = store.keys.broadcast(bid), Metrics()

    async def completed() -> bool:
        return bool(await store.redis.hget(key, "state") == b"completed")

    async with dispatching(store, Accepting(), metrics, renew_seconds=1.0):
        await wait_until(completed, timeout=50)
    exchanges = metrics.registry.get_sample_value("broadcaster_redis_roundtrip_seconds_count")
    assert exchanges is not None
    assert exchanges / 200 < EXCHANGES_AT_150


async def test_an_outcome_does_not_wait_for_company_that_does_not_come(
    store: Store, wait_until: Callable[..., Any]
) -> None:
    bid = await load(store, {LANE: 2}, rates={LANE: 0.01})

    async def accepted_one() -> bool:
        return (await counts(store, bid)).get(State.ACCEPTED) == 1

    twilio = Accepting()
    async with dispatching(store, twilio, renew_seconds=5.0):
        await wait_until(lambda: twilio.sent == 1)
        await wait_until(accepted_one, timeout=0.8)  # it looks again in a second anyway


@pytest.mark.slow
@pytest.mark.skipif(which("nginx") is None, reason="the sink is nginx")
def test_cpu_time_beside_the_bare_client(tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    subprocess.run([sys.executable, str(SEND_PATH), "--quick", "--json", str(found)], check=True, timeout=300)
    (ratio,) = [row for row in measured.read(found).rows if row.id == "send.plain.cpu_ratio"]
    assert ratio.median > CPU_RATIO
