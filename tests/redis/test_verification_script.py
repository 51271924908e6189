"""A start under an idempotency key: who may ask Twilio, and what everybody after that is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.ledger.verifications import Begun, begin, doubt, drop, finish

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


async def at(store: Store, token: str, asked: str = "a", *, seconds: float = 60) -> Begun:
    return await store.run(begin("n1", token, asked, seconds=seconds))


async def test_an_answer_is_kept_and_told_again(store: Store) -> None:
    for _ in range(2):  # what was asked twice after a stall is begun once
        assert (await at(store, "t1")).word == "begun"
    other = await at(store, "t2")
    assert (other.word, 0 < other.wait_seconds <= 60) == ("running", True)
    assert await store.run(finish("n1", "t2", b"stolen")) == "lost"
    for _ in range(2):
        assert await store.run(finish("n1", "t1", b"answer")) == "ok"
    assert await store.run(drop("n1", "t1")) == "ok"  # an answer stays
    assert await at(store, "t3") == Begun("kept", b"answer")
    assert (await at(store, "t3", "b")).word == "reused"
    name = store.keys.plain("verify:n1")
    assert 86_000 < await store.redis.ttl(name) <= 86_400


async def test_what_has_no_answer_is_a_doubt_for_good(store: Store) -> None:
    await at(store, "t1", seconds=0)  # its process died
    found = await at(store, "t2")
    assert (found.word, found.at > 1_700_000_000) == ("doubt", True)
    assert (await at(store, "t1")).word == "doubt"
    assert await store.run(finish("n1", "t1", b"late")) == "ok"  # it only was slow
    assert (await at(store, "t2")).word == "kept"


async def test_a_doubt_is_told_at_once_and_a_refusal_frees_the_key(store: Store) -> None:
    await at(store, "t1")
    for _ in range(2):
        assert await store.run(doubt("n1", "t1")) == "ok"
    assert (await at(store, "t2")).word == "doubt"
    assert await store.run(drop("n1", "t2")) == "lost"
    for _ in range(2):
        assert await store.run(drop("n1", "t1")) in ("ok", "lost")
    assert (await at(store, "t3", "something else")).word == "begun"
