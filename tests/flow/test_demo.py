"""The demo as a user starts it: in a process of its own, with everything that it starts."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.cli.demo_campaign import plan, target_seconds
from broadcaster.cli.demo_summary import Verdict
from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.content import Content
from broadcaster.domain.record import State
from broadcaster.reporting.broadcasts import BroadcastView

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc for what is left over")


@contextmanager
def demo(folder: Path, *options: str, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("TWILIO_", "BROADCASTER_", "REDIS_"))}
    command = [sys.executable, "-m", "broadcaster", "demo", *options]
    env = {**clean, "TERM": "xterm", "COLUMNS": "110", "LINES": "40", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=folder, env=env, **more)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def started_in(folder: Path) -> list[str]:
    """The command lines of all processes that work in the demo's folder or below."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z" and (entry / "cwd").readlink().is_relative_to(folder / ".broadcaster"):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.slow  # the README's demo is run by default, and ends with 1 where anything does not add up
async def test_a_campaign_adds_up_and_nobody_is_messaged_twice(tmp_path: Path) -> None:
    with demo(tmp_path, "--recipients", "600", "--exit", "--json", stdout=subprocess.PIPE) as process:
        output, _ = process.communicate(timeout=40)
    lines = output.decode().splitlines()
    told = json.loads(lines[-1])
    assert (process.returncode, told["faults"], told["ok"]) == (0, [], True)
    assert told["rows"] == 600 == told["total"] + told["rejected"]
    assert sum(told["counts"].values()) == told["total"]
    assert told["twilio"]["duplicates"] == 0
    assert told["accepted"] <= told["twilio"]["distinct"] <= told["accepted"] + told["in_doubt"]
    assert told["counts"]["accepted"] == 0, "of each message Twilio has told the end"
    assert min(told["counts"][state] for state in ("sent", "delivered", "read", "undelivered")) > 0
    assert {entry["code"] for entry in told["failed"]} >= {21211, 21614, 21610, 21408}
    assert {entry["meaning"] for entry in told["failed"]}.isdisjoint({""})
    assert (
        min(told["retried"], told["rejected"], told["in_doubt"], *(s["count"] for s in told["skipped"])) > 0
    )
    for sender in told["senders"]:
        assert sender["fullest_second"] <= sender["pace"] * 1.1 + 2, sender
    rejects = (tmp_path / ".broadcaster/demo/flood-warning.rejects.csv").read_text().splitlines()
    assert len(list(csv.DictReader(rejects))) == told["rejected"]
    assert any("FloodAlert held" in line for line in lines), "a full queue holds its sender, in words"
    assert started_in(tmp_path) == []


@pytest.mark.slow
async def test_on_a_terminal_it_stays_until_ctrl_c_and_then_all_is_gone(
    tmp_path: Path, wait_until: Any
) -> None:
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    shown = bytearray()

    def read() -> bool:
        try:
            shown.extend(os.read(ours, 65536))
        except BlockingIOError:
            return False
        return b"stays up until" in shown and b"_simulator/counts" in shown

    with demo(tmp_path, "--recipients", "60", stdin=theirs, stdout=theirs, stderr=theirs) as process:
        await wait_until(read, timeout=40, description="the demo's last words")
        assert len(started_in(tmp_path)) == 4
        with demo(tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as second:
            refusal, _ = second.communicate(timeout=20)
        assert (second.returncode, b"Another demo is running" in refusal) == (1, True)
        process.send_signal(signal.SIGINT)
        await wait_until(lambda: read() or process.poll() is not None, timeout=20)
        await wait_until(lambda: process.poll() is not None, timeout=20)
        assert process.returncode == 0
    os.close(ours)
    os.close(theirs)
    text = shown.decode()
    assert "━" in text
    assert "together" in text
    assert "adds up" in text
    assert started_in(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow),
    ],
)
async def test_however_it_ends_nothing_stays_behind(
    tmp_path: Path, wait_until: Any, number: signal.Signals, code: int
) -> None:
    with demo(tmp_path, "--exit", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        await wait_until(lambda: len(started_in(tmp_path)) == 4, timeout=20)
        process.send_signal(number)
        process.wait(20)
        assert process.returncode == code
    await wait_until(lambda: started_in(tmp_path) == [], timeout=10, description="all children gone")


# ---- the campaign, and the verdict on it


@pytest.mark.parametrize("recipients", [1, 7, 100, 600, 5_000])
def test_a_campaign_has_as_many_rows_as_were_asked_for(recipients: int) -> None:
    campaign = plan(recipients)
    assert campaign.rows == recipients
    assert min(campaign.rates.values()) > 0
    numbers = [phone for one in campaign.lists for _, phone, _ in one.rows]
    assert set(campaign.answers) <= set(numbers)
    assert set(campaign.opted_out).isdisjoint(campaign.answers)
    assert plan(recipients) == campaign


def test_it_is_long_enough_to_watch_and_no_longer_than_it_must() -> None:
    assert 15 <= target_seconds(5_000) <= 25
    assert target_seconds(20_000) < 50
    assert 100_000 / target_seconds(100_000) <= 2_500


def view(**changes: Any) -> BroadcastView:
    plain = BroadcastView(
        id="b",
        name="B",
        state="completed",
        state_reason="",
        total=10,
        counts={State.DELIVERED: 8, State.IN_DOUBT: 2},
        codes=(),
        senders=("72975",),
        spec=BroadcastSpec(name="B", senders=("72975",), content=Content(body="x")),
        retried=0,
        created_at=0,
        started_at=0,
        finished_at=None,
    )
    return dataclasses.replace(plain, **changes)


@pytest.mark.parametrize(
    ("changed", "copies", "distinct", "rejected", "fault"),
    [
        ({}, 0, 9, 1, ""),
        ({"total": 11}, 0, 9, 0, "its states add up to 10, its total is 11"),
        ({"counts": {State.DELIVERED: 8, State.RETRY: 2}}, 0, 8, 1, "2 recipients still wait"),
        ({}, 0, 9, 2, "are not 11 rows"),
        ({}, 1, 9, 1, "1 messages twice"),
        (
            {"counts": {State.DELIVERED: 7, State.UNDELIVERED: 1, State.IN_DOUBT: 2}},
            0,
            9,
            1,
            "we count 7 delivered messages, Twilio 8; we count 1 undelivered messages, Twilio 0",
        ),
        ({}, 0, 7, 1, "we count 8 accepted messages, Twilio has 7"),
        ({}, 0, 11, 1, "we count 8 accepted messages, Twilio has 11"),
    ],
)
def test_a_verdict_names_whatever_does_not_add_up(
    changed: dict[str, Any], copies: int, distinct: int, rejected: int, fault: str
) -> None:
    twilio = {"requests": 10, "accepted": distinct, "distinct": distinct, "copies": copies}
    verdict = Verdict(
        rows=11, rejected=rejected, views=(view(**changed),), twilio=twilio, ends={"delivered": 8},
        senders=(), seconds=1.0,
    )  # fmt: skip
    assert "; ".join(verdict.faults()).endswith(fault)
    assert bool(verdict.faults()) is bool(fault)
    assert verdict.as_json()["ok"] is not bool(fault)
