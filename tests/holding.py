"""What Redis holds when lists were loaded, messages posted, broadcasts sent: for bounds on bytes."""

from __future__ import annotations

import asyncio
import hashlib
import random
from typing import TYPE_CHECKING

from driving import ask as ask_gate
from driving import join, result, take, tell
from posting import no_pool, settings

from broadcaster.api.messages import accepted_answer
from broadcaster.api.once import Turn
from broadcaster.api.once import take as take_turn
from broadcaster.domain.content import Content
from broadcaster.domain.record import State
from broadcaster.domain.senders import SenderKind
from broadcaster.intake.read_json import ValuesReader
from broadcaster.intake.senders import Lane
from broadcaster.intake.singles import Person, SingleMessages, SingleRequest
from broadcaster.intake.submission import Submission
from broadcaster.intake.submit import submit
from broadcaster.lanes import claims
from broadcaster.lanes.control import start
from broadcaster.ledger.kept_answers import turn_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.store.connection import Store

SENDER = "+14155550100"
#: As long as an API key's id.
KEY_ID = "w2x8kg78p9"
_FAST = 100_000.0
#: A server counts anew once a second what its connections take.
_COUNTED_SECONDS = 1.1


async def used_bytes(store: Store) -> int:
    """What the server says it uses, without what it holds for its connections and for the file it writes."""
    await asyncio.sleep(_COUNTED_SECONDS)
    told = await store.redis.info("memory")
    used: int = told["used_memory"] - told["mem_clients_normal"] - told["mem_aof_buffer"]
    return used


async def held_bytes(store: Store) -> int:
    """What all keys take, by MEMORY USAGE: the tables that they stand in are left out."""
    keys = [key async for key in store.redis.scan_iter(count=1000)]
    async with store.redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.memory_usage(key, samples=0)
        return sum(await pipe.execute())


async def warm(store: Store) -> None:
    """Have the server load every script that is used here: they stay when its data goes."""
    await completed(store, await loaded(store, [(SENDER[:-1] + "1",)]), 0.0)
    await single_messages(store, 1, 1, kept=True)


def random_number(chance: random.Random) -> str:
    """A number in North America, which packs as badly as numbers do."""
    return f"+1{chance.randrange(2 * 10**9, 10**10)}"


async def loaded(store: Store, rows: Iterable[tuple[str, ...]], rate: float = 50.0) -> str:
    """Load rows of a number and its values, of which the text uses all; returns the broadcast."""
    people = [
        {"to": to, "variables": {f"v{place}": value for place, value in enumerate(values)}}
        for to, *values in rows
    ]
    names = people[0]["variables"] if people else {}
    body = " ".join(["Hi", *(f"{{{{ {name} }}}}" for name in names)])
    lane = Lane(SENDER, SenderKind.LONG_CODE, rate, "the test")
    order = Submission(name="held", content=Content(body=body), lanes=(lane,))
    return (await submit(store, ValuesReader(people), order)).broadcast


async def completed(store: Store, broadcast: str, dead: float) -> None:
    """Send a broadcast by hand: delivered all, but for a share of dead letters."""
    chance = random.Random(1)
    await store.redis.hset(store.keys.lane(SENDER), "rate", repr(_FAST))
    assert await store.run(start(broadcast)) == "ok"
    await join(store)
    while slices := await take(store):
        for held in slices:
            assert "0" not in (await ask_gate(store, held)).yes
            lost = {item.row for item in held.items if chance.random() < dead}
            for state in (State.ACCEPTED, State.DELIVERED):
                outcomes = [
                    result(i.row, i.attempt + 1, State.DEAD, code=21211)
                    if i.row in lost
                    else result(i.row, i.attempt + 1, state, sid=chance.randbytes(16))
                    for i in held.items
                ]
                await tell(store, held, outcomes)
            await store.run(claims.release("w1", [held.claim]))


async def an_hour_later(store: Store) -> None:
    """Take away what expires an hour after an answer was kept (once.lua)."""
    memos = [key async for key in store.redis.scan_iter(store.keys.plain("append:r:*"), count=1000)]
    for start_at in range(0, len(memos), 1000):
        await store.redis.delete(*memos[start_at : start_at + 1000])


async def single_messages(store: Store, count: int, together: int, *, kept: bool, first: int = 0) -> None:
    """Post single messages, `together` at a time; `kept`: as the API does with an Idempotency-Key."""
    singles = SingleMessages(store, settings(), no_pool)
    turns = iter(range(first, first + count))

    async def post() -> None:
        for i in turns:
            person = Person(f"+1415{i:07d}", {"code": f"{i:06d}"})
            nonce = hashlib.md5(b"%d" % i).hexdigest() if kept else ""  # noqa: S324 - random letters
            turn = turn_of(KEY_ID, nonce)
            if kept:
                await store.run(take_turn(turn, "0123456789abcdef", nonce * 2))
            content = Content(body="Your code is {{ code }}")
            request = SingleRequest(KEY_ID, content, [person], nonce=nonce, turn=turn)
            answer = accepted_answer(request, await singles.post(request))
            if kept:
                mine = Turn(nonce, _store=store, _name=turn, _token="0123456789abcdef")
                await mine.keep(answer, nonce * 2)

    await asyncio.gather(*(post() for _ in range(together)))
    await singles.close()
