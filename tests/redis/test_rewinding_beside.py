"""What else goes on while everything unsent is put in doubt, and what is heard of it later, loses nobody."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from driving import LANE, ask, join, result, send_all, take, tell
from loading import load
from test_rewinding import lost, settled

from broadcaster.domain.record import State
from broadcaster.lanes import claims
from broadcaster.ledger.replaying import Letters, replay
from broadcaster.store.scripts import Call, packed, text

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


async def mark(store: Store, bid: str, batch: str, *, last: bool) -> int:
    """Put one batch in doubt, as one of the steps of `rewind`."""
    return await store.run(Call("rewind", (bid, LANE, packed([batch]), int(last)), int))


async def end(store: Store) -> None:
    """Let the rest go on, whoever is still under way."""
    at = int(await store.redis.hget(store.keys.plain("account"), "rewind_at"))
    assert await store.run(Call("rewound", (at, 0), text)) == "ok"


async def test_a_doer_that_comes_late_leaves_to_its_flow_what_it_has_not_seen(store: Store) -> None:
    """Another has ended the rewinding before a second one got beyond the first batch of a new broadcast."""
    await join(store)
    await lost(store)
    bid = await load(store, {LANE: 40}, batch=20)
    assert await mark(store, bid, "0.0", last=False) == 20
    await end(store)
    assert await mark(store, bid, "0.1", last=True) == -1
    assert await send_all(store) == 20
    await settled(store, bid)
    assert await send_all(store) == 20


async def test_what_is_replayed_while_another_batch_is_put_in_doubt_is_sent(store: Store) -> None:
    bid = await load(store, {LANE: 40}, batch=20)
    await join(store)
    (held,) = await take(store, records=1)
    assert (await ask(store, held)).yes == "1"
    await tell(store, held, [result(0, 1, State.DEAD, code=30003)])
    await store.run(claims.release("w1", [held.claim]))
    await lost(store)
    assert await mark(store, bid, "0.0", last=False) == 19
    letters = Letters(bid, LANE, "0.0", array("H", [0, 1]), (30003,))
    assert (await store.run(replay(letters))).changed == 1
    assert await mark(store, bid, "0.1", last=True) == 20
    await end(store)
    assert await send_all(store) == 1
