"""The simulator's status callbacks, against a real receiver and Twilio's own signature check."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from deployment import simulator
from simulator_api import GOOD, SENDER, TLS, TO, Api, api_of, recipients, without
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]
from webhook_receiver import Receiver, receiving

from broadcaster.simulator.config import ACCOUNT_SID, SERVICE_SID, ServiceConfig
from broadcaster.simulator.signing import encoded, signature
from broadcaster.simulator.webhook import Overrides, overrides, webhook

if TYPE_CHECKING:
    from pathlib import Path

POOL = {"services": {SERVICE_SID: ServiceConfig(senders=(SENDER,))}, "choose_sender_seconds": 0}
SERVED = without("From", MessagingServiceSid=SERVICE_SID)
WHATSAPP = GOOD | {"To": f"whatsapp:{TO}", "From": f"whatsapp:{SENDER}"}
FAST_WHATSAPP = {"senders": {f"whatsapp:{SENDER}": 1000.0}, "reads": 1.0, "read_seconds": 0}


async def settled(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = (await api.http.get("/_simulator/callbacks?wait=20")).json()
    assert found["pending"] == 0
    return found


async def made(api: Api, receiver: Receiver, count: int = 1, fragment: str = "") -> list[str]:
    """Send to that many recipients, with callbacks."""
    url = f"{receiver.url}/status?r=a.b-c_{fragment}"
    return [(await api.made(**GOOD | {"To": to, "StatusCallback": url}))["sid"] for to in recipients(count)]


async def finals(api: Api) -> list[dict[str, Any]]:
    lines = (await api.http.get("/_simulator/finals")).text.splitlines()
    return [json.loads(line) for line in lines]


async def test_a_text_is_told_as_sent_and_delivered() -> None:
    async with receiving() as receiver, api_of(callback_extras=0) as api:
        (sid,) = await made(api, receiver, fragment="#rc=5&rp=all")
        assert (await settled(api))["answered"] == 2
        assert receiver.told(sid) == ["sent", "delivered"]
        hook = receiver.hooks[0]
        assert (hook.method, hook.target, hook.valid) == ("POST", "/status?r=a.b-c_", True)
        assert hook.params == {
            "AccountSid": api.simulator.world.config.account_sid,
            "ApiVersion": "2010-04-01",
            "From": SENDER,
            "MessageSid": sid,
            "MessageStatus": "sent",
            "SmsSid": sid,
            "SmsStatus": "sent",
            "To": recipients(1)[0],
        }
        assert len({hook.token for hook in receiver.hooks}) == 2


@pytest.mark.parametrize(
    ("form", "config", "statuses"),
    [
        (GOOD, {"callback_sending": True}, ["sending", "sent", "delivered"]),
        (GOOD, {"no_receipts": 1}, ["sent"]),
        (GOOD, {"delivery_failures": {"30003": 1}}, ["sent", "undelivered"]),
        (SERVED, POOL, ["queued", "sent", "delivered"]),
        (SERVED, POOL | {"queue_seconds": 0}, ["queued", "failed"]),
        (WHATSAPP, FAST_WHATSAPP, ["sent", "delivered", "read"]),
        (WHATSAPP, FAST_WHATSAPP | {"delivery_failures": {"63016": 1}}, ["sent", "undelivered"]),
    ],
)
async def test_statuses_follow_what_becomes_of_the_message(
    form: dict[str, Any], config: dict[str, Any], statuses: list[str]
) -> None:
    async with receiving() as receiver, api_of(**config) as api:
        sid = (await api.made(**form, StatusCallback=receiver.url))["sid"]
        await settled(api)
        assert receiver.told(sid) == statuses
        assert all(hook.valid for hook in receiver.hooks)
        last, shown = receiver.hooks[-1].params, await api.get(sid)
        assert shown["status"] == last["MessageStatus"]
        assert str(shown["error_code"] or "") == last.get("ErrorCode", "")
        assert last.get("MessagingServiceSid") == form.get("MessagingServiceSid")
        channel = {"ChannelPrefix", "ChannelInstallSid"} & set(last)
        assert len(channel) == (2 if form is WHATSAPP else 0)
        assert last.get("EventType", "") == ("READ" if statuses[-1] == "read" else "")
        assert await finals(api) == [
            {
                "n": 0,
                "sid": sid,
                "to": form["To"],
                "final": statuses[-1],
                "code": shown["error_code"] or 0,
                "ended": True,
            }
        ]


async def test_a_callback_never_comes_before_its_status_is_true() -> None:
    async with receiving() as receiver, api_of(senders={SENDER: 1.0}, delivery_seconds=5) as api:
        (sid,) = await made(api, receiver)
        begin = api.simulator.accepted[0].created
        api.at(begin + 0.9)
        waits = await api.http.get("/_simulator/callbacks?wait=0.3")
        assert (waits.json()["pending"], receiver.hooks) == (2, [])
        api.at(begin + 6.1)
        await settled(api)
        assert receiver.told(sid) == ["sent", "delivered"]


async def test_chance_is_drawn_by_the_seed() -> None:
    chances = {
        "delivery_failures": {"30003": 0.2},
        "no_receipts": 0.1,
        "callback_lost": 0.2,
        "callback_duplicates": 0.3,
        "callback_jitter_ms": 100,
        "callback_extras": 0.3,
    }
    told = []
    for shuffle in (False, True):
        async with receiving() as receiver, api_of(**chances, callback_shuffle=shuffle) as api:
            sids = await made(api, receiver, 60)
            summary = await settled(api)
            assert all(hook.valid for hook in receiver.hooks)
            assert summary["answered"] == len(receiver.hooks) == sum(summary["by_status"].values())
            assert summary["lost"] > 5 < summary["duplicates"]
            ends = {row["sid"]: row["final"] for row in await finals(api)}
            orders = [[*dict.fromkeys(receiver.told(sid))] for sid in sids]
            in_order = all(order[:1] == ["sent"] or len(order) < 2 for order in orders)
            assert in_order is not shuffle
            assert {status for sid in sids for status in receiver.told(sid)} <= {"sent", *ends.values()}
            doubled = [count for count in Counter(map(_what, receiver.hooks)).values() if count == 2]
            assert len(doubled) == summary["duplicates"]
            assert any("Bande À Part" in hook.params for hook in receiver.hooks)
            told.append(Counter((hook.params["To"], hook.params["MessageStatus"]) for hook in receiver.hooks))
    assert told[0] == told[1]


def _what(hook: Any) -> tuple[str, str]:
    return hook.params["MessageSid"], hook.params["MessageStatus"]


async def test_an_early_callback_is_answered_before_the_message_is() -> None:
    async with receiving() as receiver, api_of(callback_early=1, delivery_seconds=3600) as api:
        message = await api.made(**GOOD, StatusCallback=receiver.url)
        assert message["status"] == "queued"
        assert receiver.told(message["sid"]) == ["sent"]


@pytest.mark.parametrize(
    ("fragment", "statuses", "tries"),
    [
        ("", [500, 500], 1),
        ("#rc=3", [500, 500], 1),
        ("#rc=2&rp=5xx", [500, 502, 503, 500], 3),
        ("#rc=5&rp=4xx,ct", [404, 500], 2),
        ("#rc=5&rp=all", [404, 500], 3),
        ("#rc=1&rp=rt&rt=100", [0, 0], 2),
    ],
)
async def test_a_fragment_orders_retries(fragment: str, statuses: list[int], tries: int) -> None:
    async with receiving(statuses=[*statuses]) as receiver, api_of(no_receipts=1) as api:
        await made(api, receiver, fragment=fragment)
        summary = await settled(api)
        assert len(receiver.hooks) == tries == summary["retried"] + 1
        assert len({hook.token for hook in receiver.hooks}) == 1
        assert all(hook.valid and hook.target == "/status?r=a.b-c_" for hook in receiver.hooks)
        assert summary["answered"] == (tries > len(statuses))


async def test_nobody_listens() -> None:
    async with receiving() as gone:
        pass
    async with api_of(no_receipts=1) as api:
        await made(api, gone)
        summary = await settled(api)
        assert (summary["failed"], summary["retried"]) == (1, 1)


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/x", "http://a..b/x"])
async def test_a_url_that_can_not_be_used(url: str) -> None:
    async with api_of() as api:
        await api.made(**GOOD, StatusCallback=url)
        assert (await settled(api))["failed"] == 2


async def test_the_config_changes_while_callbacks_are_under_way() -> None:
    async with receiving() as receiver, api_of(delivery_seconds=0.05, callback_shuffle=True) as api:
        shuffled = await made(api, receiver, 5)
        api.simulator.configure(callback_shuffle=False, callback_sending=True)
        ordered = await made(api, receiver, 5)
        api.simulator.configure(callback_shuffle=True, callback_sending=False)
        await settled(api)
        assert all(sorted(receiver.told(sid)) == ["delivered", "sent"] for sid in shuffled)
        assert all(receiver.told(sid) == ["sending", "sent", "delivered"] for sid in ordered)
        wrong = await api.http.post("/_simulator/config", json={"reply_share": 0.6, "stop_share": 0.6})
        assert wrong.status_code == 400


async def test_a_connection_that_was_closed_meanwhile_is_made_anew() -> None:
    async with api_of(no_receipts=1) as api:
        for _ in range(2):
            async with receiving() as receiver:
                await made(api, receiver)
                assert (await settled(api))["failed"] == 0
                assert len(receiver.hooks) == 1


async def test_a_service_tells_statuses_where_the_message_names_no_url() -> None:
    async with receiving() as receiver:
        service = ServiceConfig(senders=(SENDER,), status_callback=f"{receiver.url}/service")
        async with api_of(services={SERVICE_SID: service}, choose_sender_seconds=0) as api:
            await api.made(**SERVED)
            await api.made(**SERVED, StatusCallback=f"{receiver.url}/own")
            await api.made(**GOOD)
            await settled(api)
            assert Counter(hook.target for hook in receiver.hooks) == {"/service": 3, "/own": 3}
            api.simulator.configure(callbacks=False)
            await api.made(**SERVED)
            assert (await settled(api))["answered"] == 6


async def test_a_scheduled_message_waits_is_canceled_or_goes() -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    async with receiving() as receiver, api_of(**POOL) as api:
        form = SERVED | {"ScheduleType": "fixed", "SendAt": later, "StatusCallback": receiver.url}
        stays, goes = [(await api.made(**form | {"To": to}))["sid"] for to in recipients(2)]
        assert (await settled(api))["scheduled"] == 2
        path = f"{api.base}/Messages/{stays}.json"
        assert (await api.http.post(path, data={"Status": "canceled"})).json()["status"] == "canceled"
        assert (await settled(api))["scheduled"] == 1
        api.at(api.simulator.accepted[1].ends_at + 10)
        await api.http.get("/_simulator/callbacks?wait=20")
        late = await api.http.post(f"{api.base}/Messages/{goes}.json", data={"Status": "canceled"})
        assert (late.status_code, late.json()["code"]) == (409, 30409)
        await settled(api)
        while len(receiver.hooks) < 4:
            await settled(api)
        assert (receiver.told(stays), receiver.told(goes)) == (["canceled"], ["queued", "sent", "delivered"])
        outcomes = (await api.http.get("/_simulator/outcomes")).json()
        assert outcomes["final"] == outcomes["now"] == {"canceled": 1, "delivered": 1}


async def test_early_callbacks_pass_what_waits() -> None:
    async with receiving() as receiver, api_of(callback_concurrency=1, delivery_seconds=0) as api:
        await made(api, receiver, 50)
        api.simulator.configure(callback_early=1, callback_duplicates=1)
        message = await api.made(**GOOD, StatusCallback=receiver.url)
        assert receiver.told(message["sid"]) == ["sent", "sent", "delivered", "delivered"]
        await settled(api)


async def test_a_simulator_that_is_a_process(tmp_path: Path) -> None:
    config = {"senders": {SENDER: 1000.0}, "delivery_seconds": 0, "callback_early": 0.5}
    async with receiving() as receiver, simulator(tmp_path, config) as process:
        base = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
        for to in recipients(20):
            form = GOOD | {"To": to, "StatusCallback": receiver.url}
            answer = await process.http.post(base, data=form, auth=(ACCOUNT_SID, "simulator"))
            assert answer.status_code == 201
        summary = (await process.http.get("/_simulator/callbacks?wait=20")).json()
        assert (summary["pending"], summary["answered"], summary["failed"]) == (0, 40, 0)
        assert all(hook.valid for hook in receiver.hooks)
        await process.configure(connection_faults=1.0)
        with pytest.raises(httpx.TransportError):  # its loop is another one: this reset is not to be lost
            async with httpx.AsyncClient(base_url=process.http.base_url, verify=TLS) as other:
                await other.get("/_simulator/health")


async def test_a_reset_forgets_callbacks_too() -> None:
    async with receiving() as receiver, api_of(senders={SENDER: 0.001}) as api:
        await made(api, receiver)
        assert api.simulator.world.callbacks.pending == 2
        await api.http.post("/_simulator/reset")
        assert (await settled(api))["answered"] == 0


def test_overrides() -> None:
    assert overrides("") == Overrides(1, frozenset({"ct"}), 5, 15, 15)
    everything = Overrides(5, frozenset({"ct", "rt", "4xx", "5xx"}), 0.1, 15, 2)
    assert overrides("rc=9&rp=all&ct=1&rt=99999&tt=2000&e=ashburn") == everything
    assert overrides("rc=x&rp=") == Overrides()


def test_the_signature_is_twilios() -> None:
    params = {"CallSid": "CA1234567890ABCDE", "Digits": "1234", "From": "+14158675309"}
    params |= {"To": "+18005551212", "Caller": "+14158675309"}
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert signature("12345", url, params) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    strange = {"é": "ü & 1", "Empty": "", "Body": " a+b=c%20\n"}
    assert RequestValidator("t").compute_signature(url, strange) == signature("t", url, strange)
    assert encoded(strange) == b"%C3%A9=%C3%BC+%26+1&Empty=&Body=+a%2Bb%3Dc%2520%0A"
    login = webhook("http://me:p%20w@host.example?a=\u00e9#rc=0", {"A": "1"}, token="t", idempotency="i")
    assert login.request.startswith(b"POST /?a=%C3%A9 HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Basic bWU6cCB3\r\n" in login.request
    assert encoded({"To": "+1", "A": "b.c-d_"}) == b"To=%2B1&A=b.c-d_"
