"""An installation that knows a person in every place where it may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asking import asking
from broadcasting import multipart, post
from driving import ask, join, result, take, tell

from broadcaster.domain.record import State
from broadcaster.domain.replies import Reply
from broadcaster.events import payloads, queue, stream
from broadcaster.lanes import claims
from broadcaster.ledger import strays
from broadcaster.ledger.optouts import opt_out
from broadcaster.ledger.people_key import people_key
from broadcaster.ledger.replies import take as take_reply

if TYPE_CHECKING:
    from hosting import Hosted

    from broadcaster.store.connection import Store

PERSON = "+14155550100"
WRITTEN = "(415) 555-0100"
NAME, ORDER, WORDS = "Zyxel Qwertz", "order-7788-of-zyxel", "please leave Qwertz alone"
TEXT = "your parcel is at the Vrbnik harbour"
SENDER = "+15550000001"


async def told(store: Store, number: str, sid: str = "SM" + "7" * 32) -> None:
    """Take a reply."""
    answer = Reply(id=sid, person=number, sender=SENDER, body=WORDS, profile_name=NAME)
    await store.run(take_reply(answer, flag="", answer="", key=await people_key(store)))


async def know(api: Hosted, store: Store, others: int = 3, *, opted_out: bool = True) -> dict[str, str]:
    """Let an installation know PERSON, and others beside; return its broadcasts by what they are."""
    endpoint, _ = await asking(
        store, "message.failed", "message.accepted", "opt_out.changed", "reply.received"
    )
    await store.redis.hset(store.keys.lane(SENDER), "rate", "1000")
    people = [person(PERSON, NAME, ORDER), *(person(other(n), f"P{n}", f"o{n}") for n in range(others))]
    body = {"from": SENDER, "body": f"Hi {{{{ name }}}}, {TEXT}"}
    made = {}
    for name, more in (("sent", {}), ("waiting", {}), ("draft", {"draft": True})):
        made[name] = await _created(api, {**body, "name": name, "recipients": people, **more}, name)
    rows = f"to,name\n{other(9)},Ninth\n{PERSON[1:]},\n{WRITTEN} ext,{NAME}\n"
    spec = {**body, "name": "faulty", "on_invalid": "skip", "draft": True}
    answer = await api.client.post("/v1/broadcasts", files=multipart(spec, rows), headers=_key("faulty"))
    assert answer.is_success, answer.text
    made["faulty"] = answer.json()["id"]
    made["parts"] = await _created(api, {**body, "name": "parts", "draft": True}, "parts")
    part = await post(api, f"/v1/broadcasts/{made['parts']}/recipients", "part", recipients=people)
    assert part.is_success, part.text
    single = await post(
        api, "/v1/messages", "single", to=[{"to": PERSON, "reference": ORDER}], body=f"{NAME}: {TEXT}"
    )
    assert single.status_code == 202, single.text
    made["stream"] = single.json()["messages"][0]["id"].partition(".")[0]
    await _send(store, made["sent"])
    await _tell(store, endpoint)
    await told(store, PERSON)
    await strays.park(store, [strays.Stray(PERSON, "SM" + "8" * 32, "delivered", 0)])
    if opted_out:
        await store.run(opt_out([PERSON], "test", SENDER))
    return made


async def _created(api: Hosted, body: dict[str, Any], key: str) -> str:
    answer = await api.client.post("/v1/broadcasts", json=body, headers=_key(key))
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


async def _send(store: Store, broadcast: str) -> None:
    """Let one broadcast's first message fail after a retry; the person is the first in it."""
    await join(store)
    for state, attempt in ((State.RETRY, 1), (State.DEAD, 2)):
        for held in await take(store, records=500, horizon_seconds=1):
            chosen = [item for item in held.items if item.row == 0 and held.broadcast == broadcast]
            if chosen:
                assert (await ask(store, held, chosen)).yes == "1"
                await tell(store, held, [result(0, attempt, state, code=30003)])
            await store.run(claims.release("w1", [held.claim]))


async def _tell(store: Store, endpoint: str) -> None:
    """Make deliveries of what the stream holds; what comes later stays there."""
    kinds = ("message.failed", "message.accepted")
    read = await stream.read_on(store, endpoint, 100)
    assert read is not None
    known = await payloads.look_up(store, read.entries, kinds)
    events = payloads.events_of(read.entries, known, kinds)
    assert await store.run(queue.take(endpoint, read, events)) >= 1


def _key(name: str) -> dict[str, str]:
    return {"Idempotency-Key": name}


def person(number: str, name: str, reference: str) -> dict[str, Any]:
    return {"to": number, "variables": {"name": name}, "reference": reference}


def other(n: int) -> str:
    return f"+1415555{2000 + n}"
