"""A kept answer stands in the place of its messages' memo: nothing is appended again, whatever comes late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from holding import an_hour_later
from hosting import hosting

from broadcaster.api.once import Turn
from broadcaster.domain.forgotten import FORGOTTEN, addresses_of
from broadcaster.intake.streams import Stream
from broadcaster.ledger.kept_answers import Answer
from broadcaster.operations.actor import Actor
from broadcaster.operations.people import forget
from broadcaster.reporting.messages import find_number

if TYPE_CHECKING:
    import httpx
    from hosting import Hosted
    from starlette.responses import Response

    from broadcaster.store.connection import Store

ADA, BOB = "+14155550100", "+14155550101"
ACCOUNT = "AC" + "1" * 32
TESTER = Actor("person:tester@here", "test")


async def post(api: Hosted, to: Any = ADA, body: str = "x") -> httpx.Response:
    order = {"to": to, "body": body}
    return await api.client.post("/v1/messages", json=order, headers={"Idempotency-Key": "one"})


async def sent_to(store: Store, number: str) -> int:
    return len([view.id async for view in find_number(store, None, number)])


async def names(store: Store, kind: str) -> list[bytes]:
    found: list[bytes] = await store.redis.keys(store.keys.plain(f"{kind}:*"))
    return found


async def test_one_key_is_left_of_a_request(store: Store) -> None:
    async with hosting(store) as api:
        first = await post(api, [ADA, BOB])
        (kept,) = await names(store, "once")
        assert await store.redis.type(kept) == b"string"
        assert 86_000 < await store.redis.ttl(kept) <= 86_400
        # for a process of the version before that slept since it asked, an hour
        assert [0 < await store.redis.ttl(name) <= 3_600 for name in await names(store, "append")] == [True]
        again = await post(api, [ADA, BOB])
        assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
        assert again.headers["content-type"] == first.headers["content-type"]
        other = await post(api, [ADA, BOB], body="y")
        assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")
    assert (await sent_to(store, ADA), await sent_to(store, BOB)) == (1, 1)


async def test_an_append_that_comes_after_the_answer_adds_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a connection that was given up, or of a process that slept while another took its turn."""
    calls: list[Any] = []
    append = Stream.append

    def remembered(*arguments: Any) -> Any:
        calls.append(append(*arguments))
        return calls[-1]

    monkeypatch.setattr(Stream, "append", remembered)
    async with hosting(store) as api:
        assert (await post(api)).status_code == 202
    (late,) = calls
    (answer,) = await store.run(late)
    assert (answer.verdict, answer.known, await sent_to(store, ADA)) == ("ok", True, 1)
    await an_hour_later(store)
    before = await store.redis.dbsize()
    (answer,) = await store.run(late)
    assert (answer.verdict, await store.redis.dbsize(), await sent_to(store, ADA)) == ("late", before, 1)


async def test_an_answer_that_the_version_before_has_kept_is_given(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def kept(self: Turn, response: Response, asked: str) -> Response:
        answer = Answer(response.status_code, [(b"x-was", b"kept")], bytes(response.body))
        fields = {"asked": asked, "answer": msgspec.msgpack.encode(answer)}
        await store.redis.hset(store.keys.plain(f"once:{self._name}"), mapping=fields)
        self._done = True
        return response

    async with hosting(store) as api:
        with monkeypatch.context() as patch:
            patch.setattr(Turn, "keep", kept)
            first = await post(api)
        again = await post(api)
        assert (again.status_code, again.content) == (202, first.content)
        assert (again.headers["x-was"], again.headers["idempotent-replayed"]) == ("kept", "true")
        assert (await post(api, body="y")).status_code == 422
        # a person in it is forgotten as one in an answer of today
        done = await forget(store, TESTER, addresses_of(ADA))
        assert done.answers == 1
        (turn,) = await names(store, "once")
        await store.redis.hset(turn, "until", 0)  # ten seconds later
        assert (await post(api)).json()["messages"][0]["to"] == FORGOTTEN
    assert await sent_to(store, ADA) == 0


@pytest.mark.parametrize("to", [ADA, [ADA, BOB]])
async def test_after_a_person_is_forgotten_nothing_is_appended_again(
    store: Store, to: str | list[str]
) -> None:
    async with hosting(store) as api:
        first = await post(api, to)
        await an_hour_later(store)
        batches = await names(store, "bat")
        assert (await forget(store, TESTER, addresses_of(BOB))).answers == (0 if to == ADA else 1)
        assert (await forget(store, TESTER, addresses_of(ADA))).answers == (1 if to == ADA else 0)
        assert (await post(api, to, body="y")).status_code == 422
        again = await post(api, to)
        assert again.status_code == 202
        told = again.json()["messages"]
        assert {one["id"] for one in told} == {one["id"] for one in first.json()["messages"]}
        assert {(one["to"], one["state"]) for one in told} == {(FORGOTTEN, "skipped")}
        third = await post(api, to)
        assert (third.content, third.headers["idempotent-replayed"]) == (again.content, "true")
        assert await names(store, "bat") == batches


async def test_so_is_it_with_what_speaks_as_to_twilio(store: Store) -> None:
    """Its memo is of the form, as a refusal leaves the key free for another one."""

    async def create(api: Hosted, to: str) -> httpx.Response:
        path = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
        form = {"To": to, "From": "+15550000001", "Body": "x"}
        return await api.client.post(path, data=form, headers={"Idempotency-Key": "one"})

    async with hosting(store, twilio_account_sid=ACCOUNT) as api:
        first = await create(api, ADA)
        assert first.status_code == 201, first.text
        await an_hour_later(store)
        assert (await create(api, ADA)).content == first.content
        other = await create(api, BOB)
        assert (other.status_code, "first request with this key" in other.text) == (400, True)
        assert (await forget(store, TESTER, addresses_of(ADA))).answers == 1
        again = await create(api, ADA)
        assert (again.status_code, again.json()["sid"]) == (201, first.json()["sid"])
        assert again.json()["to"] == FORGOTTEN
        assert len(await names(store, "bat")) == 1
