"""The typed client: every call against a real API, lost answers, refusals."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from api_apart import Apart, api_apart
from fault_proxy import FaultProxy

from broadcaster.client import ApiError, Client, NotReached, NotTheApi
from broadcaster.client.asking import quoted
from broadcaster.domain.api_keys import Scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

PEOPLE = b"to,name\n+14155550100,Ada\n+14155550101,Bob\n"


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    allowed = {"BROADCASTER_EVENTS_ALLOW_PRIVATE": "true", "BROADCASTER_EVENTS_ALLOW_HTTP": "true"}
    with api_apart(tmp_path_factory.mktemp("client"), **allowed) as running:
        yield running


@pytest.fixture
def client(apart: Apart) -> Iterator[Client]:
    with Client(apart.url, apart.key) as made:
        yield made


def test_a_broadcast_from_its_making_to_its_end(client: Client) -> None:
    spec: dict[str, Any] = {"body": "Hi {{ name }}", "from_": "12345", "name": "whole life"}
    people = [
        {"to": "+14155550100", "variables": {"name": "Ada"}, "reference": "order-7"},
        {"to": "+14155550101", "variables": {"name": "Bob"}},
    ]
    assert client.dry_run(recipients=people, **spec)["messages"][0]["body"] == "Hi Ada"
    made = client.create_broadcast(recipients=people, idempotency_key='a "quoted" \\ key', **spec)
    again = client.create_broadcast(recipients=people, idempotency_key='a "quoted" \\ key', **spec)
    assert (made.id, made.total, made.senders) == (again.id, 2, ("12345",))
    assert [one.id for one in client.broadcasts(name="whole LIFE")] == [made.id]
    assert [one.state for one in client.broadcasts(state=["canceled"], name="whole life")] == []
    (message,) = client.broadcast_messages(made.id, state="queued", to="+14155550100", reference="order-7")
    assert (message.to, message.reference, message.sender) == ("+14155550100", "order-7", "12345")
    assert client.message(message.id) == message
    assert client.pause(made.id, "wrong text").state_reason == "wrong text"
    assert client.resume(made.id).state == "running"
    assert client.cancel_message(message.id).state == "skipped"
    assert client.cancel(made.id).state == "canceled"
    assert b"".join(client.export_broadcast(made.id)).startswith(b"to,reference,")
    assert b"order-7" in b"".join(client.export_broadcast(made.id, "ndjson"))
    client.delete_broadcast(made.id)
    with pytest.raises(ApiError) as gone:
        client.broadcast(made.id)
    assert (gone.value.status, gone.value.kind) == (404, "not-found")


def test_lists_are_uploaded_from_files_and_pipes(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(PEOPLE + b"12,Eve\n")
    with file.open("rb") as opened:
        report = client.upload_broadcast(opened, body="Hi {{ name }}", dry_run=True)
        assert (report["recipients"], report["refused"]) == (2, True)
        taken = client.upload_broadcast(opened, body="Hi {{ name }}", on_invalid="skip", draft=True)
    assert (taken["state"], taken["total"], taken["rejected"]) == ("draft", 2, 1)
    assert b"4,no country code" in b"".join(client.rejects(taken["id"])).replace(b'"', b"")
    ours, theirs = os.pipe()
    os.write(theirs, PEOPLE)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        assert client.upload_broadcast(pipe, body="Hi", name="piped")["total"] == 2
    with file.open("rb") as opened, pytest.raises(ApiError) as refused:
        client.upload_broadcast(opened, body="Hi")
    assert refused.value.errors[0]["line"] == 4
    assert "line 4, to: '12' no country code" in str(refused.value)
    assert not refused.value.may_be_done


def test_a_draft_in_parts(client: Client) -> None:
    draft = client.create_broadcast(body="Hi", draft=True)
    for _ in range(2):
        part = client.add_recipients(draft.id, ["+14155550100", "+14155550101"], idempotency_key="part-1")
    assert (part["recipients"], part["total"]) == (2, 2)
    assert client.start(draft.id).state == "running"


def test_single_messages(client: Client) -> None:
    (alone,) = client.send("+14155550777", body="The pump has failed.")
    first, _ = client.send([{"to": "+14155550778", "reference": "r1"}, "+14155550779"], body="Hi")
    assert first.reference == "r1"
    assert [one.id for one in client.messages("+14155550777", limit=1)] == [alone.id]
    assert client.message(alone.id).state == "queued"
    with pytest.raises(ApiError) as refused:
        client.send(["+14155550777", "12"], body="Hi")
    assert refused.value.errors[0]["pointer"] == "/to/1"


def test_failures_go_again_or_are_laid_down(client: Client, apart: Apart) -> None:
    bid = apart.ended([0, 30003, 30003, 21211, 9])
    assert [one["count"] for one in client.dead_letter_codes(bid)] == [2, 1, 1]
    letters = list(client.dead_letters(broadcast=bid, codes=[30003], limit=1))
    assert [letter.code for letter in letters] == [30003, 30003]
    assert b"".join(client.export_dead_letters(broadcast=bid, codes=[21211])).count(b"\n") == 2
    assert client.discard(messages=[letters[0].id]) == {"discarded": 1, "unchanged": 0}
    assert client.replay(broadcast=bid, codes=[30003])["replayed"] == 1
    assert client.retry(bid, codes=[21211])["retried"] == 1
    assert client.retry(bid)["may_have_been_sent"] == 1
    assert client.retry(bid, even_unknown=True)["retried"] == 1
    with pytest.raises(ApiError) as unclear:
        client.replay()
    assert unclear.value.status == 422


def test_senders_opt_outs_everything_and_the_audit(client: Client) -> None:
    sender = "whatsapp:+15550000009"
    assert client.set_rate(sender, "1/2s").rate == 0.5
    assert client.pause_sender(sender, "quota").state_reason == "quota"
    assert client.resume_sender(sender).state == "idle"
    assert sender in [one.name for one in client.senders()]
    assert client.sender(sender).kind == "whatsapp"
    assert client.opt_out(["+14155551000", "+14155551001"], source="form") == {"changed": 2, "given": 2}
    assert client.opt_out("+14155551000", sender=sender)["changed"] == 1
    assert [one.source for one in client.opt_outs(address="+14155551001")] == ["form"]
    assert [one.address for one in client.opt_outs(sender=sender)] == ["+14155551000"]
    assert client.opt_in("+14155551001")
    assert not client.opt_in("+14155551001")
    assert b"+14155551000" in b"".join(client.export_opt_outs("ndjson"))
    assert client.pause_everything("wrong list")["reason"] == "wrong list"
    assert client.resume_everything()["paused"] is False
    changes = list(client.audit(what="everything", limit=1))
    assert [(one.what, one.old, one.new) for one in changes][:2] == [
        ("everything.resume", {"paused": "wrong list"}, {"paused": None}),
        ("everything.pause", {"paused": None}, {"paused": "wrong list"}),
    ]
    assert b"everything.pause" in b"".join(client.export_audit())


def test_event_endpoints(client: Client) -> None:
    made = client.create_event_endpoint("http://127.0.0.1:9/hook", ["message.failed"], description="billing")
    name = made["id"]
    assert made["secret"].startswith("whsec_")
    assert name in [one["id"] for one in client.event_endpoints()]
    assert client.event_endpoint(name)["description"] == "billing"
    assert client.test_event_endpoint(name)["ok"] is False
    assert client.rotate_event_secret(name)["secret"] != made["secret"]
    assert client.enable_event_endpoint(name)["state"] == "enabled"
    assert list(client.event_deliveries(name)) == list(client.event_deliveries(name, state="waiting")) == []
    assert client.replay_event_deliveries(name) == 0
    client.delete_event_endpoint(name)
    with pytest.raises(ApiError, match="there is no"):
        client.event_endpoint(name)


def test_refusals_say_what_to_do(client: Client, apart: Apart) -> None:
    with Client(apart.url, "bc_live_wrong") as stranger, pytest.raises(ApiError) as unknown:
        list(stranger.senders())
    assert (unknown.value.status, unknown.value.kind) == (401, "unauthorized")
    narrow = apart.key_of(Scope.SENDERS_READ)
    with Client(apart.url, narrow) as reader, pytest.raises(ApiError) as forbidden:
        reader.set_rate("12345", 5)
    assert (forbidden.value.status, "senders:write" in forbidden.value.detail) == (403, True)
    canceled = client.create_broadcast(body="Hi", recipients=["+14155550100"])
    client.cancel(canceled.id)
    with pytest.raises(ApiError) as conflict:
        client.resume(canceled.id)
    assert (conflict.value.status, conflict.value.problem["state"]) == (409, "canceled")
    client.create_broadcast(body="Hi", recipients=["+14155550100"], idempotency_key="taken")
    with pytest.raises(ApiError) as reused:
        client.create_broadcast(body="Other", recipients=["+14155550100"], idempotency_key="taken")
    assert (reused.value.status, reused.value.kind) == (422, "idempotency-key-reused")
    for key in ("", "two words", "bc_live_ä"):
        with pytest.raises(ValueError, match="keys create"):
            Client(apart.url, key)
    with pytest.raises(ValueError, match="printable ASCII"):
        quoted("ä")
    assert apart.key not in repr([unknown.value, client, conflict.value.problem])


def test_a_key_that_asks_too_fast_waits_as_it_is_told(apart: Apart) -> None:
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        time.sleep(seconds)

    with Client(apart.url, apart.key_of(Scope.ADMIN, rate=4.0), wait=wait) as slow:
        for _ in range(8):
            slow.create_broadcast(body="Hi", recipients=["+14155550100"], draft=True)
    assert waits
    assert all(1 <= seconds <= 2 for seconds in waits)  # Retry-After is in whole seconds


async def test_what_is_asked_again_after_a_lost_answer_is_done_once(apart: Apart, tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_bytes(PEOPLE)
    async with FaultProxy(apart.port) as proxy:

        def work(client: Client, name: str) -> list[str]:
            proxy.lose_answers(b"POST /v1/broadcasts ")
            made = [client.create_broadcast(body="Hi", recipients=["+14155550100"], name=name).id]
            proxy.lose_answers(b"POST /v1/broadcasts ")
            with people.open("rb") as file:
                made.append(client.upload_broadcast(file, body="Hi", name=name)["id"])
            return made

        def remove(client: Client, broadcast: str) -> None:
            client.cancel(broadcast)
            proxy.lose_answers(b"DELETE /v1/")
            client.delete_broadcast(broadcast)

        with Client(f"http://127.0.0.1:{proxy.port}", apart.key, wait=lambda _: None) as client:
            made = await asyncio.to_thread(work, client, "lost answers")
            found = await asyncio.to_thread(
                lambda: [one.id for one in client.broadcasts(name="lost answers")]
            )
            assert sorted(found) == sorted(made)
            await asyncio.to_thread(remove, client, made[0])
            assert not any(proxy.losing.values())  # each was lost, and asked again


async def test_what_can_be_read_once_is_sent_once(apart: Apart) -> None:
    def pipe(client: Client) -> NotReached:
        ours, theirs = os.pipe()
        os.write(theirs, PEOPLE)
        os.close(theirs)
        with os.fdopen(ours, "rb") as opened, pytest.raises(NotReached) as lost:
            client.upload_broadcast(opened, body="Hi", name="read once", idempotency_key="pipe-1")
        return lost.value

    async with FaultProxy(apart.port) as proxy:
        proxy.lose_answers(b"POST /v1/broadcasts ")
        with Client(f"http://127.0.0.1:{proxy.port}", apart.key, wait=lambda _: None) as client:
            lost = await asyncio.to_thread(pipe, client)
            assert (lost.nothing_sent, lost.key) == (False, "pipe-1")
            again = await asyncio.to_thread(
                lambda: client.upload_broadcast(
                    io.BytesIO(PEOPLE), body="Hi", name="read once", idempotency_key="pipe-1"
                )
            )
            assert again["total"] == 2
            found = await asyncio.to_thread(lambda: list(client.broadcasts(name="read once")))
            assert [one.id for one in found] == [again["id"]]


@contextlib.asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[str]:
    """Give the address of a server that answers so, one connection each, and then no more."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(left.pop(0))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/base"
    assert not left


def answer(status: str, body: bytes, *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(head).encode() + body


async def test_other_servers_are_not_taken_for_the_api() -> None:
    waits: list[float] = []
    hello = answer("200 OK", b"<h1>hello</h1>")
    other = answer("200 OK", b'{"data": [{"Sid": "SM1"}]}')
    busy = answer("503 Service Unavailable", b"<h1>busy</h1>", "Retry-After: 7")
    async with answering(hello, other, busy, answer("200 OK", b'{"data": [], "next": null}')) as url:
        with Client(url, "bc_live_x", wait=waits.append) as client:
            for _ in range(2):
                with pytest.raises(NotTheApi, match=r"/base/v1/senders (does not answer in|answers what)"):
                    await asyncio.to_thread(lambda: list(client.senders()))
            assert await asyncio.to_thread(lambda: list(client.senders())) == []
    assert waits == [7.0]
    with Client(url, "bc_live_x", wait=waits.append) as client, pytest.raises(NotReached) as nobody:
        await asyncio.to_thread(client.pause_everything)
    assert nobody.value.nothing_sent
    assert 1 < sum(waits[1:]) <= 4
    half = answer("200 OK", b"id,at", "X-More: to come").replace(b"Length: 5", b"Length: 50")
    async with answering(busy, half) as url:
        with Client(url, "bc_live_x", wait=waits.append) as client, pytest.raises(NotReached) as broken:
            await asyncio.to_thread(lambda: list(client.export_audit()))
    assert (broken.value.nothing_sent, broken.value.may_be_done) == (False, False)
