"""The way into the API: keys, bounds, and errors that all have one shape."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from hosting import Hosted, hosting
from serving import TESTER, bearer, key_for, serving

from broadcaster.operations import keys
from broadcaster.simulator.config import ACCOUNT_SID

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    from conftest import type_of_wait

    from broadcaster.store.connection import Store

ADA = "+14155550100"


def is_problem(answer: httpx.Response, status: int, slug: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"/problems/{slug}"
    assert answer.json()["status"] == status
    assert answer.json()["detail"]


async def raw(api: Hosted, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(data)
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answer


async def test_what_it_lets_in(store: Store) -> None:
    async with hosting(store) as api:
        assert (await api.client.get("/healthz")).json() == {"status": "ok"}
        assert (await api.client.get("/readyz", headers={"Authorization": ""})).status_code == 200
        assert b"broadcaster_build_info" in (await api.client.get("/metrics")).content
        is_problem(await api.client.get("/nowhere", headers={"Authorization": ""}), 401, "unauthorized")
        is_problem(
            await api.client.get("/nowhere", headers={"Authorization": "Basic a:b"}), 401, "unauthorized"
        )
        is_problem(await api.client.get("/nowhere"), 404, "not-found")
        is_problem(await api.client.post("/healthz"), 405, "method-not-allowed")
        page = await api.client.get("/problems/rate-limited", headers={"Authorization": ""})
        assert "Too many requests" in page.text

        text = await key_for(store)
        id_ = text.split("_")[2]
        assert (await api.client.get("/nowhere", headers=bearer(text))).status_code == 404
        wrong = text[:-1] + ("A" if text[-1] != "A" else "B")
        is_problem(await api.client.get("/nowhere", headers=bearer(wrong)), 401, "unauthorized")
        await keys.revoke(store, TESTER, id_)
        revoked = await api.client.get("/nowhere", headers=bearer(text))
        is_problem(revoked, 401, "unauthorized")
        assert "revoked" in revoked.json()["detail"]
        assert revoked.headers["www-authenticate"].startswith("Bearer")

        expired = await key_for(store, expires_in_seconds=-1)
        assert "expired" in (await api.client.get("/nowhere", headers=bearer(expired))).json()["detail"]


async def test_a_keys_pace_is_kept_over_all_its_requests(store: Store) -> None:
    async with hosting(store) as api:
        slow = await key_for(store, rate=5)
        began = time.monotonic()
        answers = await asyncio.gather(*(api.client.get("/nowhere", headers=bearer(slow)) for _ in range(20)))
        took = time.monotonic() - began
        let_in = [answer for answer in answers if answer.status_code == 404]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(let_in) + len(refused) == 20
        assert 5 <= len(let_in) <= 5 + 5 * took + 1
        is_problem(refused[0], 429, "rate-limited")
        assert int(refused[0].headers["retry-after"]) >= 1
        assert refused[0].headers["ratelimit"].startswith('"key";r=0;t=')
        assert let_in[0].headers["ratelimit-policy"] == '"key";q=5;w=1'


async def test_headers_and_bodies_have_bounds(store: Store) -> None:
    async with hosting(store) as api:
        many = b"".join(b"X-%d: %s\r\n" % (i, b"a" * 1000) for i in range(40))
        answer = await raw(api, b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 431 ")
        endless = await raw(api, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 70_000)
        assert endless.startswith(b"HTTP/1.1 431 ")
        large = await raw(
            api,
            b"POST /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000000000\r\n"
            b"Authorization: Bearer %s\r\n\r\n" % (await key_for(store)).encode(),
        )
        assert large.startswith(b"HTTP/1.1 413 ")
        assert b"application/problem+json" in large


async def test_who_knows_only_a_keys_id_spends_none_of_its_pace(store: Store) -> None:
    async with hosting(store) as api:
        slow = await key_for(store, rate=2)
        forged = bearer(slow[:-43] + "x" * 43)
        refused = await asyncio.gather(*(api.client.get("/nowhere", headers=forged) for _ in range(20)))
        assert {answer.status_code for answer in refused} == {401}
        for _ in range(2):
            assert (await api.client.get("/nowhere", headers=bearer(slow))).status_code == 404


async def test_what_a_body_says_it_is_lifts_no_bound(store: Store) -> None:
    async with hosting(store) as api:
        large = b"x" * (17 * 1024 * 1024)
        for headers in (
            [("Content-Type", "multipart/form-data; boundary=x")],
            [("Content-Type", "application/json"), ("Content-Type", "multipart/form-data; boundary=x")],
        ):
            for path in ("/v1/messages", "/v1/opt-outs", "/v1/broadcasts/0123456789abcd/recipients"):
                answer = await api.client.post(path, content=large, headers=headers)
                is_problem(answer, 413, "too-large")
        twice = [("Content-Type", "application/json"), ("Content-Type", "multipart/form-data; boundary=x")]
        is_problem(await api.client.post("/v1/broadcasts", content=large, headers=twice), 413, "too-large")


@pytest.mark.parametrize(
    "body",
    [
        b'{"to":"+14155550100","body":"\xff"}',
        b"[" * 200_000,
        b'{"to":"+14155550100","body":"x","variables":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}",
    ],
)
async def test_bytes_that_no_json_has_are_the_callers_fault(store: Store, body: bytes) -> None:
    async with hosting(store) as api:
        for path in ("/v1/messages", "/v1/broadcasts", "/v1/broadcasts/0123456789abcd/recipients"):
            for more in ({"Idempotency-Key": "k"}, {}):
                headers = {"Content-Type": "application/json", **more}
                answer = await api.client.post(path, content=body, headers=headers)
                assert answer.status_code in (400, 422), answer.text


async def test_odd_names_and_headers_are_the_callers_fault(store: Store) -> None:
    async with hosting(store, twilio_account_sid="AC" + "0" * 32, twilio_auth_token="x" * 32) as api:
        odd = "0123456789abcd.0.0.²"
        is_problem(await api.client.get(f"/v1/messages/{odd}"), 404, "not-found")
        answer = await api.client.post("/v1/dead-letters/discard", json={"messages": [odd]})
        assert answer.status_code < 500, answer.text
        listed = f"/2010-04-01/Accounts/AC{'0' * 32}/Messages.json"
        for name in ("DateSent", "DateSent<", "DateSent>"):
            found = await api.client.get(listed, params={name: "9999-12-31"})
            assert (found.status_code, found.json()["messages"]) == (200, [])
        shown = await api.client.get(listed, headers=[(b"Authorization", b"Basic \xff\xff")])
        assert (shown.status_code, shown.json()["code"]) == (401, 20003)


async def test_a_client_that_breaks_off_is_no_fault_of_ours(
    store: Store, tmp_path: Path, wait_until: type_of_wait
) -> None:
    file = tmp_path / "log"
    with file.open("wb") as log:
        async with serving(store, log=log) as api:
            shown = api.client.headers["authorization"].encode()
            for path, kind in (
                (b"/v1/messages", b"application/json"),
                (b"/v1/opt-outs", b"application/json"),
                (
                    b"/2010-04-01/Accounts/%s/Messages.json" % ACCOUNT_SID.encode(),
                    b"application/x-www-form-urlencoded",
                ),
            ):
                _, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rsplit(":", 1)[1]))
                writer.write(
                    b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nAuthorization: %s\r\n"
                    b"Content-Length: 100\r\n\r\n{" % (path, kind, shown)
                )
                writer.close()
            await wait_until(lambda: file.read_text().count('"status": 400') == 3)
    assert '"level": "error"' not in file.read_text()


@pytest.mark.slow
async def test_a_request_with_a_fault_in_every_byte_is_refused_soon(store: Store) -> None:
    many: dict[str, Any] = {str(number): [] for number in range(60_000)}
    async with hosting(store) as api:
        for path, body in (
            ("/v1/broadcasts", many),
            ("/v1/broadcasts", {"body": "x", "recipients": [ADA], "options": many}),
            ("/v1/broadcasts", {"body": "x", "recipients": [ADA], "content_variables": many}),
            ("/v1/broadcasts", {"body": "x", "recipients": [ADA] * 10_001}),
            ("/v1/messages", {"body": "x", "to": ADA, "options": dict(list(many.items())[:15_000])}),
            ("/v1/opt-outs", many),
        ):
            refused = await api.client.post(path, json=body)
            is_problem(refused, 422, "invalid")
            assert 1 <= len(refused.json()["errors"]) <= 100
        large = {"address": ADA, "source": "x" * 1024 * 1024}
        is_problem(await api.client.post("/v1/opt-outs", json=large), 413, "too-large")
