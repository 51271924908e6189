"""What the simulator can be asked and told, in process and as a program of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import httpx
from simulator_api import GOOD, SENDER, TO, api_of, recipients

from broadcaster.simulator.config import SimulatorConfig, changed


async def test_counts_accepted_and_duplicates() -> None:
    async with api_of(recipients={TO: "21610"}) as api:
        for to in [*recipients(3), recipients(1)[0], TO]:
            await api.post(**GOOD | {"To": to})
        counts = (await api.http.get("/_simulator/counts")).json()
        assert (counts["requests"], counts["accepted"], counts["distinct"], counts["copies"]) == (5, 4, 3, 1)
        assert counts["faults"] == {"21610": 1}
        assert counts["answers"] == {"201": 4, "400/21610": 1}
        assert (await api.http.get("/_simulator/duplicates")).json() == {recipients(1)[0]: 2}
        decisions = (await api.http.get("/_simulator/decisions")).text.splitlines()
        assert [json.loads(line)["to"] for line in decisions] == [TO]


async def test_accepted_streams_in_order() -> None:
    async with api_of() as api:
        for to in recipients(600):
            await api.post(**GOOD | {"To": to})
        rows = [json.loads(line) for line in (await api.http.get("/_simulator/accepted")).text.splitlines()]
        assert [row["to"] for row in rows] == recipients(600)
        assert [row["n"] for row in rows] == list(range(600))
        assert rows[0].keys() >= {
            "sid",
            "to",
            "from",
            "service",
            "body",
            "received_at",
            "received_ms",
            "attempt",
        }
        some = await api.http.get("/_simulator/accepted?after=9&limit=2")
        assert [json.loads(line)["n"] for line in some.text.splitlines()] == [10, 11]
        one = await api.http.get("/_simulator/accepted", params={"To": recipients(5)[4]})
        assert [json.loads(line)["n"] for line in one.text.splitlines()] == [4]


async def test_arrivals_show_the_pace_of_each_sender() -> None:
    async with api_of() as api:
        for body in ("short", "x" * 200):
            await api.post(**GOOD | {"Body": body})
        pace = (await api.http.get("/_simulator/arrivals")).json()[SENDER]
        assert (pace["requests"], pace["segments"], pace["peak"]) == (2, 3, 3)
        assert len(pace["ms"]) == 2
        assert pace["ms"][0] < pace["ms"][1]
        assert "ms" not in (await api.http.get("/_simulator/arrivals?summary=1")).json()[SENDER]
        assert (await api.http.get("/_simulator/senders")).json()[SENDER]["rate"] == 1000.0


async def test_config_changes_while_it_runs() -> None:
    async with api_of() as api:
        answer = await api.http.post(
            "/_simulator/config", json={"faults": {"error": 1.0}, "senders": {SENDER: 5}}
        )
        assert answer.json()["faults"] == {"error": 1.0}
        assert "token" not in answer.json()
        assert (await api.post(**GOOD)).status_code == 500
        wrong = await api.http.post("/_simulator/config", json={"faults": {"eror": 1.0}})
        assert (wrong.status_code, "eror" in wrong.json()["error"]) == (400, True)
        unknown = await api.http.post("/_simulator/config", json={"fautls": {}})
        assert (unknown.status_code, "fautls" in unknown.json()["error"]) == (400, True)
        assert (await api.post(**GOOD)).status_code == 500
        await api.http.post("/_simulator/config", json={"faults": {}})
        assert (await api.post(**GOOD)).status_code == 201


async def test_faults_by_recipient_come_as_json_too() -> None:
    first, second, third = recipients(3)
    rules = {first: "throttle", second: ["error", ""], third: {"fault": "21614", "tries": 1}}
    async with api_of() as api:
        await api.http.post("/_simulator/config", json={"recipients": rules})
        tries = [(await api.post(**GOOD | {"To": to})).status_code for to in (*rules, *rules)]
        assert tries == [429, 500, 400, 429, 201, 201]
        told = await api.http.get(f"/_simulator/recipients?To={second}&To={third}")  # the plus is not encoded
        assert {to: row["tries"] for to, row in told.json().items()} == {second: 2, third: 2}


async def test_reset_forgets_everything_but_the_config() -> None:
    async with api_of(recipients={TO: ["throttle"]}) as api:
        assert (await api.post(**GOOD)).status_code == 429
        made = await api.made(**GOOD)
        await api.http.post("/_simulator/reset")
        assert (await api.http.get("/_simulator/counts")).json()["accepted"] == 0
        assert (await api.http.get(f"{api.base}/Messages/{made['sid']}.json")).status_code == 404
        assert (await api.post(**GOOD)).status_code == 429


async def test_unknown_control_requests_get_a_404() -> None:
    async with api_of() as api:
        assert (await api.http.get("/_simulator/nothing")).status_code == 404
        assert (await api.http.post("/_simulator/nothing")).status_code == 404
        assert (await api.http.get("/_simulator/health")).json() == {"ok": True}


def test_a_patch_replaces_only_its_fields() -> None:
    config = SimulatorConfig(senders={SENDER: 5.0}, latency_ms=7)
    assert changed(config, b'{"latency_ms": 9}') == SimulatorConfig(senders={SENDER: 5.0}, latency_ms=9)


def test_the_program_says_where_it_listens_and_stops_on_sigterm() -> None:
    command = [sys.executable, "-m", "broadcaster.simulator", "--port", "0", "--config", '{"latency_ms": 1}']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        url = json.loads(program.stdout.readline())["url"]
        with httpx.Client(base_url=url) as http:
            assert http.get("/_simulator/config").json()["latency_ms"] == 1
        program.send_signal(signal.SIGTERM)
        assert program.wait(timeout=10) == 0


def test_a_wrong_config_is_an_error_with_exit_code_2() -> None:
    command = [sys.executable, "-m", "broadcaster.simulator", "--config", '{"faults": {"nonsense": 1}}']
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert "nonsense" in ended.stderr
