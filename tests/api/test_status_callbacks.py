"""Status callbacks over real HTTP: whose are taken, and what they change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from driving import LANE, ask, everything, join, result, take, tell
from hosting import Hosted, hosting
from loading import counts, load, records
from webhooks import PUBLIC, STATUS, TOKEN, call, status_form

from broadcaster.domain.record import Evidence, State
from broadcaster.domain.reference import Reference, References
from broadcaster.ledger.strays import KEY

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

SECRET = "s" * 32
SID = "SM" + "0123456789abcdef" * 2


async def sending(store: Store, count: int = 1) -> str:
    """Load a broadcast whose messages have left, and whose answers are not written yet."""
    bid = await load(store, {LANE: count})
    await join(store)
    for held in await take(store):
        await ask(store, held)
    return bid


def query(bid: str, row: int = 0, attempt: int = 1, secret: str = SECRET) -> str:
    return "r=" + References([secret]).make(Reference(bid, "0.0", row, attempt))


def served(store: Store, **more: Any) -> Any:
    return hosting(store, **{"twilio_auth_token": TOKEN, "public_url": PUBLIC, "secret_key": SECRET, **more})


async def metric(api: Hosted, result_: str) -> float:
    text = (await api.client.get("/metrics")).text
    found = [
        line
        for line in text.splitlines()
        if f'broadcaster_status_callbacks_total{{result="{result_}"}}' in line
    ]
    return float(found[0].split()[-1]) if found else 0.0


async def test_a_callback_is_in_the_ledger_when_it_is_answered(store: Store) -> None:
    bid = await sending(store)
    async with served(store) as api:
        for word, state in (("sent", State.SENT), ("delivered", State.DELIVERED), ("read", State.READ)):
            answer = await call(api.client, STATUS, status_form(SID, word), query=query(bid))
            assert (answer.status_code, answer.content) == (204, b"")
            one = (await records(store, bid))["0.0", 0]
            assert (one.state, one.sid, one.evidence) == (state, SID, Evidence.CALLBACK)
        again = await call(api.client, STATUS, status_form(SID, "sent"), query=query(bid))
        assert again.status_code == 204
        assert (await records(store, bid))["0.0", 0].state is State.READ
        assert await counts(store, bid) == {State.READ: 1}
        assert (await metric(api, "recorded"), await metric(api, "unchanged")) == (3, 1)


async def test_a_stop_that_is_sent_to_the_wrong_one_of_our_addresses_is_a_stop(store: Store) -> None:
    async with served(store) as api:
        form = {"MessageSid": SID, "SmsStatus": "received", "From": "+14155550100", "To": "+14155550199"}
        answer = await call(api.client, STATUS, form | {"Body": "STOP"})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml")
        assert await store.redis.hkeys(store.keys.plain("optouts")) == [b"+14155550199|+14155550100"]
        told = await call(api.client, STATUS, form | {"MessageStatus": "received", "From": "+14155550101"})
        assert told.status_code == 204
        assert await store.redis.hlen(store.keys.plain("optouts")) == 1


async def test_many_at_once_go_together(store: Store) -> None:
    bid = await sending(store, 40)
    async with served(store) as api:
        told = await asyncio.gather(
            *(
                call(api.client, STATUS, status_form(f"SM{row:032x}", "delivered"), query=query(bid, row))
                for row in range(40)
            )
        )
        assert {answer.status_code for answer in told} == {204}
        assert await counts(store, bid) == {State.DELIVERED: 40}


async def test_our_own_answer_neither_lowers_nor_loses_what_came_early(store: Store) -> None:
    bid = await load(store, {LANE: 1})
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    async with served(store) as api:
        early = await call(api.client, STATUS, status_form(SID, "delivered"), query=query(bid))
        assert early.status_code == 204
    await tell(store, held, [result(0, 1, State.ACCEPTED, sid=bytes.fromhex(SID[2:]))], twice=True)
    one = (await records(store, bid))["0.0", 0]
    assert (one.state, one.sid) == (State.DELIVERED, SID)
    assert await counts(store, bid) == {State.DELIVERED: 1}


async def test_whose_signature_is_taken(store: Store) -> None:
    bid = await sending(store, 6)
    async with served(store, twilio_auth_token_secondary="the-next-token") as api:
        for row, (sent_to, token, status) in enumerate(
            (
                (PUBLIC, TOKEN, 204),
                (PUBLIC + ":443", TOKEN, 204),
                (PUBLIC, "the-next-token", 204),
                (PUBLIC, "another-token", 403),
                ("https://elsewhere.example.org", TOKEN, 403),
                ("http://alerts.example.org", TOKEN, 403),
            )
        ):
            before = await everything(store)
            form = status_form(SID, "delivered")
            answer = await call(api.client, STATUS, form, query=query(bid, row), origin=sent_to, token=token)
            assert answer.status_code == status, sent_to
            assert (await everything(store) == before) == (status == 403), sent_to
        assert await counts(store, bid) == {State.DELIVERED: 3, State.SENDING: 3}


async def test_behind_a_proxy_that_takes_a_prefix_away(store: Store) -> None:
    bid = await sending(store)
    async with served(store, public_url="https://proxy.example.org/sms/") as api:
        origin = "https://proxy.example.org/sms"
        told = await call(api.client, STATUS, status_form(SID, "sent"), query=query(bid), origin=origin)
        assert told.status_code == 204
        assert await counts(store, bid) == {State.SENT: 1}


async def test_without_a_public_url_the_host_is_taken(store: Store) -> None:
    bid = await sending(store)
    async with served(store, public_url=None) as api:
        for scheme in ("https", "http"):
            told = await call(
                api.client,
                STATUS,
                status_form(SID, "sent"),
                query=query(bid),
                origin=f"{scheme}://here.example.org:8443",
                headers={"Host": "here.example.org:8443"},
            )
            assert told.status_code == 204


async def test_without_a_token_nothing_is_taken(store: Store) -> None:
    bid = await sending(store)
    async with served(store, twilio_auth_token=None) as api:
        for token in ("", TOKEN):
            told = await call(api.client, STATUS, status_form(SID, "sent"), query=query(bid), token=token)
            assert told.status_code == 403
        assert await counts(store, bid) == {State.SENDING: 1}


async def test_what_leads_nowhere_is_answered_and_counted(store: Store) -> None:
    bid = await sending(store)
    async with served(store) as api:
        for asked in ("", "r=", "r=nonsense", query(bid, secret="t" * 32), query(bid) + "x"):
            told = await call(api.client, STATUS, status_form(SID, "sent"), query=asked)
            assert told.status_code == 204
        assert await metric(api, "parked") == 5
        gone = await call(api.client, STATUS, status_form(SID, "sent"), query=query("0123456789abcd"))
        beyond = await call(api.client, STATUS, status_form(SID, "sent"), query=query(bid, 7))
        assert (gone.status_code, beyond.status_code, await metric(api, "dropped")) == (204, 204, 2)
        for form in (
            status_form(SID, "levitating") | {"Strange": "yes", "Empty": ""},
            status_form("SMnonsense", "sent"),
            {"Body": "hello"},
        ):
            assert (await call(api.client, STATUS, form, query=query(bid))).status_code == 204
        assert await metric(api, "ignored") == 3
        assert await counts(store, bid) == {State.SENDING: 1}
        redis: Any = store.redis
        assert not await redis.exists(store.keys.broadcast("0123456789abcd"))
        assert 1 <= await redis.zcard(store.keys.plain(KEY)) <= 5, "the same is kept once a second"


async def test_unknown_parameters_are_signed_all_the_same(store: Store) -> None:
    bid = await sending(store)
    async with served(store) as api:
        strange = {"Bande À Part": "ça & là=+", "Empty": "", "ExternalUserId": "US.1"}
        form = status_form(SID, "sent") | strange
        assert (await call(api.client, STATUS, form, query=query(bid))).status_code == 204
        assert await counts(store, bid) == {State.SENT: 1}


async def test_without_its_secret_key_the_installations_own_signs(store: Store) -> None:
    bid = await sending(store)
    async with served(store, secret_key=None) as api:
        own = (await store.redis.get(store.keys.plain("signing")) or b"").decode()
        told = await call(api.client, STATUS, status_form(SID, "sent"), query=query(bid, secret=own))
        assert told.status_code == 204
        assert await counts(store, bid) == {State.SENT: 1}
