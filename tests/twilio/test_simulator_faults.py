"""Each fault does what its name says, on a real socket, and the simulator can tell what really happened."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from simulator_api import GOOD, SENDER, TO, Api, api_of, recipients

from broadcaster.simulator.config import RecipientFault, SimulatorConfig
from broadcaster.simulator.crowd import Crowd
from broadcaster.simulator.faults import FAULTS, FaultPlan, UnknownFaultError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Wait = Callable[..., Awaitable[Any]]

ANSWERED = [
    ("throttle", 429, 20429),
    ("queue_full", 429, 21611),
    ("unavailable", 503, 20503),
    ("error", 500, 20500),
    ("unavailable_after", 503, 20503),
    ("error_after", 500, 20500),
    ("suspended", 403, 20005),
    ("unauthorized", 401, 20003),
    ("invalid_number", 400, 21211),
    ("opted_out", 400, 21610),
    ("landline", 400, 21614),
    ("21408", 400, 21408),
    ("63038", 429, 63038),
]


async def truth(api: Api, to: str = TO) -> dict[str, Any]:
    found: dict[str, Any] = (await api.http.get("/_simulator/recipients", params={"To": to})).json()[to]
    return found


@pytest.mark.parametrize(("name", "status", "code"), ANSWERED)
async def test_an_answered_fault_has_its_status_and_code(name: str, status: int, code: int) -> None:
    async with api_of(recipients={TO: name}) as api:
        answer = await api.post(**GOOD)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        accepts = name in FAULTS and FAULTS[name].accepts
        assert len(api.simulator.accepted) == accepts
        told = await truth(api)
        assert (told["tries"], len(told["accepted"])) == (1, int(accepts))
        decision = told["decisions"][0]
        assert (decision["fault"], decision["status"], decision["code"]) == (name, status, code)
        assert (decision["sid"] is not None) == accepts


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("timeout_408", 408, "text/html"),
        ("html_403", 403, "text/html"),
        ("html_502", 502, "text/html"),
        ("garbage_200", 200, "application/json"),
        ("garbage_201", 201, "application/json"),
        ("redirect", 307, "application/json"),
    ],
)
async def test_an_answer_that_is_not_twilios(name: str, status: int, kind: str) -> None:
    async with api_of(recipients={TO: name}) as api:
        answer = await api.post(**GOOD)
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith(kind)
        with pytest.raises(ValueError, match=r"."):
            json.loads(answer.content)
        assert len(api.simulator.accepted) == FAULTS[name].accepts
        assert ("location" in answer.headers) == (name == "redirect")


@pytest.mark.parametrize("name", ["drop_before", "drop_after", "close_before", "close_after"])
async def test_a_connection_is_reset_or_closed_without_a_byte(name: str) -> None:
    async with api_of(recipients={TO: name}) as api:
        host, port = api.simulator.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(await _request_bytes(api))
        if name.startswith("drop"):
            with pytest.raises(ConnectionResetError):
                await reader.read()
        else:
            assert await reader.read() == b""
        writer.close()
        assert len(api.simulator.accepted) == FAULTS[name].accepts


async def _request_bytes(api: Api) -> bytes:
    request = api.http.build_request("POST", f"{api.base}/Messages.json", data=GOOD)
    config = api.simulator.world.config
    flow = httpx.BasicAuth(config.account_sid, config.token).auth_flow(request)
    next(flow)
    head = f"POST {request.url.raw_path.decode()} HTTP/1.1\r\n".encode()
    headers = b"".join(name + b": " + value + b"\r\n" for name, value in request.headers.raw)
    return head + headers + b"\r\n" + request.content


@pytest.mark.parametrize("name", ["hang_before", "hang_after"])
async def test_a_hanging_request_gets_nothing(name: str, wait_until: Wait) -> None:
    async with api_of(recipients={TO: name}) as api:
        with pytest.raises(httpx.ReadTimeout):
            await api.http.post(f"{api.base}/Messages.json", data=GOOD, timeout=0.2)
        assert len(api.simulator.accepted) == FAULTS[name].accepts
        await wait_until(
            lambda: api.simulator.world.in_flight == 0, description="the client's leaving is noticed"
        )


async def test_stopping_ends_what_hangs(wait_until: Wait) -> None:
    async with api_of(recipients={TO: "hang_after"}) as api:
        hanging = asyncio.ensure_future(api.post(**GOOD))
        await wait_until(lambda: api.simulator.accepted)
    with pytest.raises(httpx.TransportError):
        await hanging


async def test_a_cut_body_ends_too_early() -> None:
    async with api_of(recipients={TO: "cut_body"}) as api:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
            await api.post(**GOOD)
        assert len(api.simulator.accepted) == 1


async def test_a_slow_body_arrives_whole_in_the_end() -> None:
    async with api_of(recipients={TO: "slow_body"}, slow_body_seconds=0.3) as api:
        with pytest.raises(httpx.ReadTimeout):
            await api.http.post(f"{api.base}/Messages.json", data=GOOD, timeout=httpx.Timeout(5, read=0.001))
        answer = await api.post(**GOOD)
        assert answer.elapsed.total_seconds() > 0.2
        assert answer.json()["sid"] == api.simulator.accepted[1].sid


async def test_late_acceptance_needs_no_client(wait_until: Wait) -> None:
    async with api_of(recipients={TO: "late_accept"}, accept_delay_seconds=0.3) as api:
        with pytest.raises(httpx.ReadTimeout):
            await api.http.post(f"{api.base}/Messages.json", data=GOOD, timeout=0.05)
        assert api.simulator.accepted == []
        assert api.simulator.world.late == 1
        assert (await truth(api))["decisions"][0]["sid"] is None
        await wait_until(lambda: api.simulator.accepted, description="accepted although the client is gone")
        told = await truth(api)
        assert told["tries"] == 1
        assert told["decisions"][0]["sid"] == told["accepted"][0]["sid"]
        assert told["accepted"][0]["fault"] == "late_accept"


async def test_the_first_tries_only_or_one_fault_per_try() -> None:
    first, each = recipients(2)
    rules = {first: RecipientFault(fault="throttle", tries=2), each: ["error_after", "", "21610"]}
    async with api_of(recipients=rules) as api:
        assert [(await api.post(**GOOD | {"To": first})).status_code for _ in range(4)] == [
            429,
            429,
            201,
            201,
        ]
        assert [(await api.post(**GOOD | {"To": each})).status_code for _ in range(4)] == [500, 201, 400, 201]
        told = await truth(api, each)
        assert told["tries"] == 4
        assert [row["attempt"] for row in told["accepted"]] == [1, 2, 4]


async def test_a_sender_can_be_at_fault() -> None:
    async with api_of(sender_faults={SENDER: "queue_full"}) as api:
        assert (await api.post(**GOOD)).json()["code"] == 21611
        assert (await api.post(**GOOD | {"From": "+14155550198"})).status_code == 201


async def test_an_idle_connection_is_closed(wait_until: Wait) -> None:
    async with api_of(keep_alive_seconds=0.05) as api:
        assert (await api.post(**GOOD)).status_code == 201
        await wait_until(lambda: api.simulator.door.connections == 0)


async def test_shares_are_met_and_do_not_depend_on_order() -> None:
    shares = {"throttle": 0.1, "invalid_number": 0.1, "error_after": 0.1}
    config = SimulatorConfig(faults=shares)
    plan = FaultPlan(config)
    forward = [plan.decide(to, 1) for to in recipients(3000)]
    backward = [FaultPlan(config).decide(to, 1) for to in reversed(recipients(3000))]
    assert forward == backward[::-1]
    names = [fault.name for fault in forward if fault]
    assert all(200 < names.count(name) < 400 for name in shares)
    refused = [to for to in recipients(3000) if (fault := plan.decide(to, 1)) and fault.sticky]
    assert all(plan.decide(to, 2) == plan.decide(to, 1) for to in refused)
    throttled = [to for to in recipients(3000) if plan.decide(to, 1) == FAULTS["throttle"]]
    assert sum(plan.decide(to, 2) == FAULTS["throttle"] for to in throttled) < len(throttled) / 2
    assert [
        FaultPlan(SimulatorConfig(faults=shares, seed=2)).decide(to, 1) for to in recipients(3000)
    ] != forward


def test_a_plan_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(UnknownFaultError, match="no fault is called 'trottle'"):
        FaultPlan(SimulatorConfig(faults={"trottle": 0.1}))
    with pytest.raises(ValueError, match="at most 1 in sum"):
        FaultPlan(SimulatorConfig(faults={"throttle": 0.7, "error": 0.7}))


async def test_too_many_at_once_are_throttled_and_each_answer_says_how_many() -> None:
    async with api_of(concurrency_limit=2, latency_ms=300, retry_after_seconds=1) as api:
        answers = await asyncio.gather(*(api.post(**GOOD | {"To": to}) for to in recipients(5)))
        assert sorted(answer.status_code for answer in answers) == [201, 201, 429, 429, 429]
        throttled = next(answer for answer in answers if answer.status_code == 429)
        assert (throttled.json()["code"], throttled.headers["retry-after"]) == (20429, "1")
        assert max(int(answer.headers["twilio-concurrent-requests"]) for answer in answers) >= 2
        assert all(answer.headers["twilio-request-id"].startswith("RQ") for answer in answers)
        assert api.simulator.world.accepted == 2
        assert api.simulator.world.faults["concurrency"] == 3


async def test_who_is_processed_at_once_is_counted_over_time() -> None:
    async with api_of(concurrency_limit=3, latency_ms=400, tells_concurrency=False) as api:
        answers = await asyncio.gather(*(api.post(**GOOD | {"To": to}) for to in recipients(5)))
        assert not [answer for answer in answers if "twilio-concurrent-requests" in answer.headers]
        slots = (await api.http.get("/_simulator/concurrency")).json()
        assert max(slot["inside"] for slot in slots) == pytest.approx(3, abs=0.05)
        assert sum(slot["inside"] for slot in slots) * 0.1 == pytest.approx(3 * 0.4, rel=0.2)
        assert sum(slot["refused"] for slot in slots) == 2
        assert slots[1]["ms"] - slots[0]["ms"] == pytest.approx(100, abs=1)


def test_an_idle_minute_is_counted_as_such() -> None:
    clock = [100.0]
    crowd = Crowd(lambda: clock[0])
    crowd.enter()
    clock[0] += 0.250001
    crowd.leave()
    clock[0] += 0.250001
    assert [slot["inside"] for slot in crowd.slots()] == [1, 1, 0.5, 0, 0, 0]
    crowd.refuse()
    assert [slot["refused"] for slot in crowd.slots()] == [0, 0, 0, 0, 0, 1]


async def test_a_shut_door_refuses_and_opens_again(wait_until: Wait) -> None:
    async with api_of() as api:
        assert (await api.post(**GOOD)).status_code == 201
        api.simulator.door.shut(0.3)
        # The kept connection still serves one request, and says it is the last.
        last = await api.post(**GOOD)
        assert (last.status_code, last.headers["connection"]) == (201, "close")
        with pytest.raises(httpx.ConnectError):
            await api.post(**GOOD)

        async def answered() -> bool:
            try:
                return (await api.post(**GOOD)).status_code == 201
            except httpx.ConnectError:
                return False

        await wait_until(answered, description="the door opens again")
        assert api.simulator.world.accepted == 3


async def test_the_door_shuts_by_itself_now_and_then(wait_until: Wait) -> None:
    async with api_of(refuse_every_seconds=0.05, refuse_for_seconds=0.05) as api:
        outcomes: set[str] = set()

        async def both_seen() -> bool:
            try:
                outcomes.add(str((await api.post(**GOOD)).status_code))
            except httpx.ConnectError:
                outcomes.add("refused")
            return outcomes == {"201", "refused"}

        await wait_until(both_seen)


async def test_connections_can_be_reset_at_once_or_while_idle() -> None:
    async with api_of(connection_faults=1.0) as api:
        with pytest.raises(httpx.TransportError):
            await api.post(**GOOD)
        api.simulator.configure(connection_faults=0.0)
        assert (await api.post(**GOOD)).status_code == 201
        assert api.simulator.door.connections == 1
        assert api.simulator.door.drop_all() == 1
        assert api.simulator.world.faults["connection"] == 1


async def test_sender_name_is_the_lane() -> None:
    async with api_of() as api:
        await api.post(**GOOD)
        assert list(api.simulator.world.arrivals) == [SENDER]
