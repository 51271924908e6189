"""The opt-outs that each process keeps: whoever is current blocks exactly whom Redis says."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from driving import everything
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loading import number

from broadcaster.domain.opt_out_scopes import parts_of_scope, scope_for, scopes_concerning
from broadcaster.ledger.optouts import (
    OptOut,
    OptOuts,
    hash_opt_outs,
    opt_in,
    opt_out,
    opt_out_each,
    refused_by,
)
from broadcaster.ledger.people_key import hashed, is_hashed, people_key
from broadcaster.ledger.pools import keep_pool, share_pool

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

SERVICE, OTHER_SERVICE = "MG" + "1" * 32, "MG" + "2" * 32
ONE, TWO = "+14155550100", "+14155550101"
PEOPLE = [number(1), number(2), f"whatsapp:{number(1)}"]
SCOPES = ["*", "*#marketing", ONE, TWO, f"{TWO}#utility", SERVICE, f"{SERVICE}#marketing"]
ASKED = list(itertools.product([ONE, TWO, SERVICE, "12345"], [None, SERVICE], ["utility", "marketing"]))


async def text_of(store: Store) -> str:
    """All that Redis holds, as one text."""
    return repr(await everything(store))


@pytest.mark.parametrize(
    ("scope", "sender", "purpose"),
    [("*", "*", None), ("*#marketing", "*", "marketing"), (f"{SERVICE}#utility", SERVICE, "utility")],
)
def test_a_scope_is_a_sender_and_a_purpose(scope: str, sender: str, purpose: str | None) -> None:
    assert parts_of_scope(scope) == (sender, purpose)
    assert scope_for(sender, purpose) == scope


@pytest.mark.parametrize(
    ("lane", "services", "pool", "senders"),
    [
        (ONE, [], [], ["*", ONE]),
        (ONE, [SERVICE], [], ["*", ONE, SERVICE]),
        (SERVICE, [], [ONE, TWO], ["*", SERVICE, ONE, TWO]),
        (SERVICE, [SERVICE], [ONE], ["*", SERVICE, ONE]),
    ],
)
def test_who_concerns_a_message(lane: str, services: list[str], pool: list[str], senders: list[str]) -> None:
    found = scopes_concerning(lane, services, pool, "marketing")
    assert sorted(found) == sorted([*senders, *(f"{sender}#marketing" for sender in senders)])


@pytest.mark.parametrize(
    ("scope", "blocked"),
    [
        ("*", {(ONE, "utility"), (ONE, "marketing"), (SERVICE, "utility"), ("12345", "utility")}),
        ("*#marketing", {(ONE, "marketing")}),
        (ONE, {(ONE, "utility"), (ONE, "marketing"), (SERVICE, "utility")}),  # the service may choose it
        (SERVICE, {(ONE, "utility"), (ONE, "marketing"), (SERVICE, "utility")}),
        (f"{SERVICE}#marketing", {(ONE, "marketing")}),
        (TWO, {(SERVICE, "utility")}),
        ("12345", {("12345", "utility")}),
        (OTHER_SERVICE, set()),
    ],
)
async def test_each_scope_blocks_what_it_is_about(
    store: Store, scope: str, blocked: set[tuple[str, str]]
) -> None:
    await store.run(keep_pool(SERVICE, [ONE, TWO]))
    await store.run(opt_out([PEOPLE[0]], "a test", scope))
    known = OptOuts()
    await known.refresh(store)
    messages = [(ONE, "utility"), (ONE, "marketing"), (SERVICE, "utility"), ("12345", "utility")]
    found = {m for m in messages if known.blocks(PEOPLE[0], known.scopes(m[0], None, m[1]))}
    assert found == blocked
    assert not known.blocks(PEOPLE[1], known.scopes(ONE, None, "marketing"))
    only_those = known.scopes(ONE, None, "utility")
    assert known.blocked(PEOPLE, only_those) == [0] * ((ONE, "utility") in blocked)


async def test_a_pool_that_changes_is_learned_of_before_the_next_message(store: Store) -> None:
    await store.run(opt_out([PEOPLE[0]], "a test", SERVICE))
    known = OptOuts()
    await known.refresh(store)
    assert known.scopes(ONE, None, "utility") == ()
    assert known.scopes(ONE, SERVICE, "utility") == (SERVICE,)  # as the broadcast says
    assert [await store.run(share_pool(ONE, SERVICE)) for _ in range(2)] == [1, 0]
    assert await store.redis.get(store.keys.plain("optouts:epoch")) != known.epoch.encode()
    await known.refresh(store)
    assert known.scopes(ONE, None, "utility") == (SERVICE,)
    assert [await store.run(keep_pool(SERVICE, [TWO])) for _ in range(2)] == [2, 0]
    fresh = OptOuts()
    for one in (known, fresh):
        await one.refresh(store)
        assert one.scopes(ONE, None, "utility") == ()
        assert one.scopes(TWO, None, "utility") == (SERVICE,)


async def test_what_twilio_refuses_is_of_the_service_and_of_marketing_only_where_it_says_so(
    store: Store,
) -> None:
    await store.run(keep_pool(SERVICE, [ONE]))
    told = [(ONE, 21610), (TWO, 30630), (SERVICE, 21610), (ONE, 63050), ("whatsapp:" + TWO, 63033)]
    for lane, code in told:
        await store.run(refused_by(lane, PEOPLE[0], code))
    found = await store.redis.hgetall(store.keys.plain("optouts"))
    assert {name.decode(): value.decode().rpartition("|")[0] for name, value in found.items()} == {
        f"{SERVICE}|{PEOPLE[0]}": "twilio:21610",
        f"{TWO}|{PEOPLE[0]}": "twilio:30630",
        f"{SERVICE}#marketing|{PEOPLE[0]}": "twilio:63050",
        f"whatsapp:{TWO}#marketing|{PEOPLE[0]}": "twilio:63033",
    }


async def test_only_the_missed_lines_are_read(store: Store) -> None:
    known = OptOuts()
    await known.refresh(store)
    await store.run(opt_out([number(i) for i in range(50)], "a test"))
    await known.refresh(store)
    # what a current reader has is not read again: even if it were another's by now
    await store.redis.delete(store.keys.plain("optouts"))
    await store.run(opt_out([number(100)], "a test"))
    await known.refresh(store)
    assert (known.epoch, len(known)) == ("51", 51)


@pytest.mark.parametrize("kept", [0, 2])
async def test_who_has_missed_more_than_the_log_holds_reads_everything(store: Store, kept: int) -> None:
    known = OptOuts()
    await known.refresh(store)
    await store.run(opt_out(PEOPLE, "a test"))
    log = store.keys.plain("optouts:log")
    await (store.redis.ltrim(log, -kept, -1) if kept else store.redis.delete(log))
    await known.refresh(store)
    assert (known.epoch, len(known)) == ("3", 3)


async def test_a_forgotten_person_stays_opted_out_and_is_named_nowhere(store: Store) -> None:
    key = await people_key(store)
    assert key == await people_key(store)
    before, behind = OptOuts(), OptOuts()
    await store.run(opt_out_each([OptOut(one, "*#marketing", "reply", 1_700_000_000) for one in PEOPLE]))
    await behind.refresh(store)
    await store.run(opt_out(PEOPLE[:1], "reply", scope=ONE))
    await before.refresh(store)
    assert [await store.run(hash_opt_outs(key, PEOPLE[:1])) for _ in range(2)] == [2, 0]
    digits = PEOPLE[0][1:]
    assert f"|{PEOPLE[0]}" not in await text_of(store)
    assert digits in await text_of(store)  # as whatsapp:…, which is another address
    assert await store.run(hash_opt_outs(key, PEOPLE[2:])) == 1
    assert digits not in await text_of(store)
    name = f"*#marketing|{hashed(key, PEOPLE[0])}"
    assert await store.redis.hget(store.keys.plain("optouts"), name) == b"reply|1700000000"
    for reader in (before, behind, OptOuts()):
        await reader.refresh(store)
        assert reader.blocks(PEOPLE[0], reader.scopes(ONE, None, "utility"))
        assert reader.blocks(PEOPLE[2], reader.scopes(TWO, None, "marketing"))
        assert not reader.blocks(number(9), reader.scopes(ONE, None, "marketing"))
        assert reader.blocked(["", number(9), PEOPLE[0]], reader.scopes(ONE, None, "utility")) == [2]


async def test_who_is_forgotten_is_not_added_again_and_may_come_back(store: Store) -> None:
    key = await people_key(store)
    await store.run(opt_out(PEOPLE[2:], "reply", ONE))
    await store.run(hash_opt_outs(key, PEOPLE[2:]))
    assert await store.run(refused_by(ONE, PEOPLE[2], 21610, key=key)) == 0
    await store.run(opt_in(PEOPLE[2:], ONE, key=key))
    known = OptOuts()
    await store.run(opt_out(PEOPLE[:1], "reply"))
    await known.refresh(store)
    await store.run(hash_opt_outs(key, PEOPLE[:1]))
    assert await store.run(opt_out(PEOPLE[:1], "import", key=key)) == 0
    assert PEOPLE[0] not in await text_of(store)
    await known.refresh(store)
    assert await store.run(opt_in(PEOPLE[:1])) == 0  # without the key nobody knows who that is
    assert [await store.run(opt_in(PEOPLE[:1], key=key)) for _ in range(2)] == [1, 0]
    for reader in (known, OptOuts()):
        await reader.refresh(store)
        assert not reader
        assert not reader.blocks(PEOPLE[0], ("*",))


async def test_another_key_is_taken_where_one_is_set(store: Store) -> None:
    own = await people_key(store)
    store.people_secret = "a secret of ours"
    assert await people_key(store) != own
    assert is_hashed(hashed(own, PEOPLE[0]))
    assert not any(map(is_hashed, ("~", "+14155550100", "~AAAA", hashed(own, ONE) + "A", "~!" + "A" * 21)))


async def test_an_installation_from_before_there_were_scopes_forgets_too(store: Store) -> None:
    """Its opt-outs are there, the list of their scopes is not."""
    await store.run(opt_out(PEOPLE[:2], "a test", "12345"))
    await store.redis.delete(store.keys.plain("optouts:scopes"))
    assert await store.run(hash_opt_outs(await people_key(store), PEOPLE[:1])) == 1


Step = tuple[str, list[int], int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.integers(0, 2), min_size=1, max_size=3), st.integers(0, 6)),
        st.tuples(st.just("remove"), st.lists(st.integers(0, 2), min_size=1, max_size=2), st.integers(0, 6)),
        st.tuples(st.just("forget"), st.lists(st.integers(0, 2), min_size=1, max_size=2), st.just(0)),
        st.tuples(st.just("pool"), st.lists(st.integers(0, 1), max_size=2), st.just(0)),
        st.tuples(st.just("cut"), st.just([]), st.integers(0, 5)),
        st.tuples(st.just("refresh"), st.just([]), st.integers(0, 2)),
    ),
    max_size=25,
)


class Model:
    """What must hold: who opted out where, and who is in the pool."""

    def __init__(self) -> None:
        self.entries: set[tuple[str, str]] = set()
        self.pool: set[str] = set()

    def blocks(self, address: str, lane: str, service: str | None, purpose: str) -> bool:
        senders = {"*", lane, service}
        if lane in self.pool:
            senders.add(SERVICE)
        if lane == SERVICE:
            senders |= self.pool
        return any((scope, address) in self.entries for s in senders if s for scope in (s, f"{s}#{purpose}"))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
async def test_every_reader_that_is_current_blocks_what_the_model_says(
    store: Store, steps: list[Step]
) -> None:
    await store.redis.flushdb()
    await store.redis.set(store.keys.plain("epoch"), store.epoch)
    key, model, readers = await people_key(store), Model(), [OptOuts() for _ in range(3)]
    log = store.keys.plain("optouts:log")
    for verb, chosen, which in steps:
        people = [PEOPLE[i] for i in chosen]
        match verb:
            case "add":
                await store.run(opt_out(people, "x", SCOPES[which], key=key))
                model.entries |= {(SCOPES[which], one) for one in people}
            case "remove":
                await store.run(opt_in(people, SCOPES[which], key=key))
                model.entries -= {(SCOPES[which], one) for one in people}
            case "forget":
                await store.run(hash_opt_outs(key, people))
                held = await text_of(store)
                assert not any(f"|{one}'" in held for one in people)
            case "pool":
                model.pool = {(ONE, TWO)[i] for i in chosen}
                await store.run(keep_pool(SERVICE, sorted(model.pool)))
            case "cut":
                await store.redis.ltrim(log, -which, -1) if which else await store.redis.delete(log)
            case "refresh":
                await readers[which].refresh(store)
        epoch = (await store.redis.get(store.keys.plain("optouts:epoch")) or b"0").decode()
        for reader in readers:
            if reader.epoch == epoch:
                _agrees(reader, model)
    for reader in (*readers, OptOuts()):
        await reader.refresh(store)
        _agrees(reader, model)


def _agrees(reader: OptOuts, model: Model) -> None:
    for lane, service, purpose in ASKED:
        scopes = reader.scopes(lane, service, purpose)
        for address in PEOPLE:
            said = reader.blocks(address, scopes)
            assert said == model.blocks(address, lane, service, purpose), (address, lane, service, purpose)
        blocked = [place for place, one in enumerate(PEOPLE) if reader.blocks(one, scopes)]
        assert reader.blocked(PEOPLE, scopes) == blocked
        assert reader.blocked(PEOPLE[:2], scopes) == [place for place in blocked if place < 2]
