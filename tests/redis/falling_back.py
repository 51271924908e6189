"""Broadcasts over WhatsApp whose messages fail, and what follows: the SMS in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from driving import ask, join, take
from loading import load, number

from broadcaster.domain.content import Content, SmsFallback
from broadcaster.intake.fallbacks import Fallbacks
from broadcaster.intake.singles import Person, SingleMessages, SingleRequest
from broadcaster.lanes import control
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.settings import load_settings
from broadcaster.telemetry.metrics import Metrics
from workers.following import Follower

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

WHATSAPP = "whatsapp:+14155550100"
SENDER = "+14155550199"
CONTENT = Content(body="Hi", sms=SmsFallback(SENDER, "Hi by SMS"))
SINGLE = Content(body="Hi {{ name }}", sms=SmsFallback(SENDER, "{{ name }}, by SMS"))


def person(i: int) -> str:
    return f"whatsapp:{number(i)}"


async def out(store: Store, count: int = 1, *, content: Content = CONTENT, **more: Any) -> str:
    """A broadcast over WhatsApp whose messages have all left."""
    bid = await load(store, {WHATSAPP: count}, batch=64, content=content, address=person, **more)
    await store.run(control.set_rate(SENDER, 1000))
    await join(store)
    (held,) = await take(store)
    assert set((await ask(store, held)).yes) == {"1"}
    return bid


async def post(
    store: Store, count: int = 1, *, first: int = 0, key: str = "k", content: Content = SINGLE, **more: Any
) -> str:
    """Post single messages over WhatsApp; returns the stream that they are in."""
    await store.run_all([control.set_rate(name, 1000) for name in (WHATSAPP, SENDER)])
    singles = SingleMessages(store, load_settings(None), no_pool)
    people = [Person(person(i), {"name": f"N{i}"}, f"r{i}") for i in range(first, first + count)]
    made = await singles.post(SingleRequest(key, content, people, (WHATSAPP,), **more))
    await singles.close()
    (stream,) = {one.id.split(".")[0] for one in made}
    return stream


async def fail(store: Store, bid: str, *codes: int, attempt: int = 1, word: str = "failed") -> None:
    """Let a row after the other fail with these codes."""
    said = [
        Status(bid, "0.0", row, attempt, f"SM{row + 256 * attempt:032x}", word, code)
        for row, code in enumerate(codes)
    ]
    await store.run(write_statuses(said))


async def no_pool(service: str) -> list[str]:
    raise AssertionError(service)


def follower(store: Store) -> tuple[Follower, Fallbacks]:
    fallbacks = Fallbacks(store, load_settings(None), no_pool)
    return Follower(store, Metrics(), fallbacks), fallbacks


async def follow(store: Store) -> int:
    """Let what follows happen; returns how many SMS were queued."""
    one, fallbacks = follower(store)
    await one.round()
    return fallbacks.appended


async def children(store: Store, bid: str) -> list[str]:
    redis: Any = store.redis
    return sorted(raw.decode() for raw in await redis.smembers(store.keys.broadcast(bid, ":fallbacks")))


async def child(store: Store, bid: str) -> str:
    (only,) = await children(store, bid)
    return only


async def state(store: Store, bid: str) -> str:
    return (await store.redis.hget(store.keys.broadcast(bid), "state") or b"").decode()
