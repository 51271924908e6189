"""Marks of who wrote to which sender when: raised, never lowered; Twilio refutes them until the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from driving import everything
from replying import write
from windowing import DAY, HOUR, OTHER, PERSON, SENDER, person

from broadcaster.domain.replies import digest_of
from broadcaster.domain.whatsapp_window import Mark, Window, together
from broadcaster.ledger import inbound
from broadcaster.ledger.pools import keep_pool, share_pool

if TYPE_CHECKING:
    from broadcaster.store.connection import Store
    from broadcaster.store.scripts import Call

SERVICE = "MG" + "0" * 32


async def run(store: Store, calls: list[Call[int]]) -> int:
    """Run writes, and again, which must change nothing."""
    raised: int = sum(await store.run_all(calls))
    before = await everything(store)
    assert sum(await store.run_all(calls)) == 0
    assert await everything(store) == before
    return raised


async def marks(store: Store, *people: str, lane: str = SENDER, senders: Any = (SENDER,)) -> list[list[Mark]]:
    known = await inbound.read_marks(store, [inbound.Asked(lane, senders, people)])
    return known.marks[0]


async def test_marks_are_only_ever_raised_and_never_ahead_of_the_clock(store: Store) -> None:
    now = (await store.redis.time())[0]
    assert await run(store, inbound.wrote(SENDER, {PERSON: now - HOUR, person(1): now - DAY - 1})) == 1
    assert await marks(store, PERSON, person(1)) == [[Mark(now - HOUR)], [Mark()]]
    assert await run(store, inbound.wrote(SENDER, {PERSON: now - 2 * HOUR})) == 0
    assert sum(await store.run_all(inbound.wrote(SENDER, {PERSON: now + HOUR}))) == 1
    assert now <= (await marks(store, PERSON))[0][0].wrote <= now + 5
    key = store.keys.plain(f"inbound:{SENDER}")
    assert DAY - 60 < await store.redis.ttl(key) <= DAY
    await store.redis.zadd(key, {digest_of(PERSON): now - DAY - 1})
    await run(store, inbound.wrote(SENDER, {person(1): now - HOUR}))
    assert await store.redis.zcard(key) == 1, "what is older than a day goes"
    assert await run(store, inbound.wrote(SENDER, {person(i): now - 60 for i in range(5000)})) == 5000


async def test_a_refusal_closes_until_they_write_again(store: Store) -> None:
    async def window() -> Window:
        return together((await marks(store, PERSON))[0], now)

    now = (await store.redis.time())[0]
    await run(store, inbound.wrote(SENDER, {PERSON: now - HOUR, person(1): now - HOUR}))
    assert await window() is Window.OPEN
    await run(store, inbound.refused(SENDER, {PERSON: now - 60}))
    assert await window() is Window.CLOSED
    await run(store, inbound.wrote(SENDER, {PERSON: now - 120}))
    assert await window() is Window.CLOSED, "what they wrote before does not count"
    assert (await marks(store, person(1))) == [[Mark(now - HOUR)]], "others are not concerned"
    await write(store, "hello", person=PERSON, to=SENDER)
    assert await window() is Window.OPEN


async def test_a_service_has_the_marks_of_its_pool_and_refusals_of_its_own(store: Store) -> None:
    now = (await store.redis.time())[0]
    assert await inbound.senders_of(store, SERVICE) == ()
    await store.run(keep_pool(SERVICE, [SENDER, "+14155550197", OTHER]))
    senders = await inbound.senders_of(store, SERVICE)
    assert (senders, await inbound.senders_of(store, SENDER)) == ((SENDER, OTHER), (SENDER,))
    await run(store, inbound.wrote(SENDER, {PERSON: now - 10}))
    await run(store, inbound.refused(SERVICE, {PERSON: now - 60}))
    asked = [
        inbound.Asked(SERVICE, senders, [PERSON, person(1)]),
        inbound.Asked(OTHER, (OTHER,), []),
        inbound.Asked(SENDER, (SENDER,), [PERSON]),
        inbound.Asked(SERVICE, (), [PERSON]),
    ]
    known = await inbound.read_marks(store, asked)
    assert abs(known.now - now) < 60
    assert known.marks == [
        [[Mark(now - 10, now - 60), Mark(0, now - 60)], [Mark(), Mark()]],
        [],
        [[Mark(now - 10)]],
        [[]],
    ]


async def test_a_forgotten_person_leaves_no_mark(store: Store) -> None:
    now = (await store.redis.time())[0]
    await store.run(share_pool(SENDER, SERVICE))
    for name in (SENDER, SERVICE):
        await store.redis.sadd(store.keys.plain("lanes"), name)
        await run(store, inbound.wrote(name, {PERSON: now - 10, person(1): now - 10}))
        await run(store, inbound.refused(name, {PERSON: now - 60}))
    assert await inbound.forget_marks(store, [PERSON, PERSON.removeprefix("whatsapp:")]) == 4
    assert await inbound.forget_marks(store, [PERSON]) == 0
    assert await marks(store, PERSON, person(1)) == [[Mark()], [Mark(now - 10)]]


async def test_until_when_the_list_was_read_is_kept_beside(store: Store) -> None:
    now = (await store.redis.time())[0]
    assert await inbound.list_read_at(store, SENDER) == 0
    await run(store, inbound.list_read(SENDER, now - 5))
    assert await inbound.list_read_at(store, SENDER) == now - 5
