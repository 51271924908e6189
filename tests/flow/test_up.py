"""`broadcaster up`: everything in one command, kept alive, ended in order, found by `send`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from commanding import accepted, simulated_twilio
from serving import bearer, free_port

from broadcaster.simulator.config import ACCOUNT_SID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SENDER = "+14155559990"
OURS = ("TWILIO_", "REDIS_", "BROADCASTER_")
PORTS = {"BROADCASTER_METRICS_PORT": "0", "BROADCASTER_EXPORTER_PORT": "0"}
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}


@contextmanager
def up(
    folder: Path, *options: str, **variables: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Run it until the block ends; also what it said when it served. Its log is in `up.log`."""
    with (folder / "up.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "broadcaster", "up", "--json", *options],
            cwd=folder,
            env={**CLEAN, "BROADCASTER_LOG_FORMAT": "json", **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        yield process, json.loads(line) if line else {}
    finally:
        process.stdout.close()
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def account(twilio: str, **more: str) -> dict[str, str]:
    return {
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": "simulator",
        "TWILIO_API_BASE_URL": twilio,
        "TWILIO_PHONE_NUMBER": SENDER,
        "BROADCASTER_API_PORT": str(free_port()),
        **PORTS,
        "BROADCASTER_CHECK_MEDIA": "off",
        "BROADCASTER_LEASE_SECONDS": "2",
        "BROADCASTER_SHUTDOWN_SECONDS": "10",
        **more,
    }


def command(folder: Path, variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "broadcaster", *arguments],
        cwd=folder, env={**CLEAN, **variables}, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip


def people(folder: Path, count: int, first: int = 0) -> str:
    rows = "".join(f"+1415555{i:04d}\n" for i in range(first, first + count))
    (folder / f"people{first}.csv").write_text("to\n" + rows, encoding="utf-8")
    return f"people{first}.csv"


def children(pid: int) -> dict[str, int]:
    """What a process has started: by its module, or `redis`."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split():
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{child}/cmdline").read_text(encoding="utf-8").split("\0")
            found[line[line.index("-m") + 1] if "-m" in line else "redis"] = int(child)
    return found


def once(twilio: str) -> set[str]:
    """Who was sent to; nobody twice."""
    found = [message["to"] for message in accepted(twilio)]
    assert len(found) == len(set(found))
    return set(found)


def until(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)
    return found


@pytest.mark.slow
def test_all_is_there_a_list_is_handed_over_and_it_ends_in_order(tmp_path: Path) -> None:
    with up(tmp_path, "--simulate", **PORTS, BROADCASTER_API_PORT=str(free_port())) as (run, said):
        assert said["simulated"]
        shell = f'. {said["env_file"]} && exec "$@"'
        send = ["broadcaster", "send", people(tmp_path, 3), "--body", "Hi", "--json"]
        handed = subprocess.run(
            ["bash", "-c", shell, "-", sys.executable, "-m", *send],
            cwd=tmp_path, env=CLEAN, capture_output=True, text=True, timeout=50, check=True,
        )  # fmt: skip
        bid = json.loads(handed.stdout)["id"]
        assert "`broadcaster up`" in handed.stderr
        with httpx.Client(base_url=said["api"], headers=bearer(said["key"]), trust_env=False) as api:
            until(lambda: api.get(f"/v1/broadcasts/{bid}").json()["state"] == "completed", "completed")
        started = children(run.pid)
        assert {"redis", "workers", "broadcaster.api", "broadcaster.simulator"} <= started.keys()
        run.terminate()
        assert run.wait(50) == 0
    assert not [pid for pid in started.values() if Path(f"/proc/{pid}").exists()]
    assert "worker.stopped" in (tmp_path / "up.log").read_text(encoding="utf-8")


@pytest.mark.slow
def test_two_on_one_folder_and_what_cannot_start_are_refused_with_a_sentence(tmp_path: Path) -> None:
    nothing = command(tmp_path, {}, "up")
    assert nothing.returncode == 2
    assert "TWILIO_ACCOUNT_SID is not set" in nothing.stderr
    with simulated_twilio(senders={SENDER: 100}) as twilio:
        variables = account(twilio)
        with up(tmp_path, **variables) as (_, said):
            assert said["key"]
            second = command(tmp_path, variables, "up")
            assert second.returncode == 1
            assert "runs on .broadcaster already" in second.stderr
            assert said["api"] in second.stderr
            (tmp_path / "elsewhere").mkdir()
            taken = command(tmp_path / "elsewhere", variables, "up")
            assert taken.returncode == 2
            assert "BROADCASTER_API_PORT" in taken.stderr
        with up(tmp_path, **variables) as (_, said):
            assert said["key"] is None  # shown once


@pytest.mark.slow
@pytest.mark.parametrize("mute", ["its own", "another"])
def test_it_ends_when_told_though_redis_does_not_answer(mute: str, tmp_path: Path) -> None:
    variables = account("http://127.0.0.1:9")
    data = tmp_path / ".broadcaster"
    data.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent, (data / "lock").open("w") as lock:
        if mute == "another":
            variables["REDIS_URL"] = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a server that hangs has it
        process = subprocess.Popen(
            [sys.executable, "-m", "broadcaster", "up", "--json"],
            cwd=tmp_path, env={**CLEAN, **variables}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until(lambda: (data / "up.lock").is_file() and (data / "up.lock").stat().st_size, "it waits")
        process.terminate()
        _, error = process.communicate(timeout=50)
    assert (process.returncode, error) == (0, "Ending: what is in flight is finished first.\n")


@pytest.mark.slow
def test_the_file_for_other_terminals_means_the_same_folder(tmp_path: Path) -> None:
    port = {"BROADCASTER_API_PORT": str(free_port())}
    with up(tmp_path, "--simulate", **PORTS, **port) as (_, said):
        shown = subprocess.run(
            ["bash", "-c", f". {said['env_file']} && env -0"], env={"PATH": os.environ["PATH"]},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        read = dict(one.split("=", 1) for one in shown.split("\0") if one.startswith(OURS))
        again = command(tmp_path, {**read, **PORTS, **port}, "up", "--simulate")
        assert (again.returncode, "runs on" in again.stderr) == (1, True), again.stderr
        real = command(tmp_path, {**read, **PORTS, **port}, "up")
        assert (real.returncode, "up --simulate" in real.stderr) == (2, True), real.stderr
    assert not list(tmp_path.rglob("simulated/simulated"))


@pytest.mark.slow
def test_what_dies_is_started_again_and_nobody_is_sent_to_twice(tmp_path: Path) -> None:
    with simulated_twilio(senders={SENDER: 40}, queue_seconds=1e9) as twilio:
        variables = account(
            twilio, BROADCASTER_SETTLE_SECONDS="3", BROADCASTER_SETTLE_ALONE_SECONDS="4",
            BROADCASTER_SETTLE_EVERY_SECONDS="1",
        )  # fmt: skip
        with up(tmp_path, **variables) as (run, said):
            assert command(tmp_path, variables, "senders", "set", SENDER, "--rate", "40").returncode == 0
            sent = command(tmp_path, variables, "send", people(tmp_path, 500), "--body", "Hi", "--json")
            bid = json.loads(sent.stdout)["id"]
            for name in ("workers", "redis", "broadcaster.api"):
                old = children(run.pid)[name]
                os.kill(old, signal.SIGKILL)
                until(lambda name=name, old=old: children(run.pid).get(name, old) != old, f"another {name}")  # type: ignore[misc]
            with httpx.Client(base_url=said["api"], headers=bearer(said["key"]), trust_env=False) as api:

                def ended() -> bool:
                    with contextlib.suppress(httpx.TransportError):
                        answer = api.get(f"/v1/broadcasts/{bid}")
                        return answer.is_success and answer.json()["state"] == "completed"
                    return False

                until(ended, "completed", 50)
                counts = api.get(f"/v1/broadcasts/{bid}").json()["counts"]
                assert {state: count for state, count in counts.items() if count} == {"accepted": 500}
        log = (tmp_path / "up.log").read_text(encoding="utf-8")
        assert "The worker ended (signal 9); it is started again" in log
        assert "Redis ended (exit code -9); it is started again" in log
        assert len(once(twilio)) == 500


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_it_goes_on_with_what_send_left_and_after_its_own_death(tmp_path: Path) -> None:
    with simulated_twilio(senders={SENDER: 40}, queue_seconds=1e9) as twilio:
        variables = account(
            twilio, BROADCASTER_SETTLE_SECONDS="3", BROADCASTER_SETTLE_ALONE_SECONDS="4",
            BROADCASTER_SETTLE_EVERY_SECONDS="1",
        )  # fmt: skip
        assert command(tmp_path, variables, "senders", "set", SENDER, "--rate", "40").returncode == 0
        send = subprocess.Popen(
            [sys.executable, "-m", "broadcaster", "send", people(tmp_path, 400), "--body", "Hi", "--yes"],
            cwd=tmp_path, env={**CLEAN, **variables}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until(lambda: len(accepted(twilio)) > 20, "it sends")
        send.send_signal(signal.SIGINT)
        assert send.wait(50) == 130
        with up(tmp_path, **variables) as (run, said):
            assert said["unfinished"] == 1
            before = len(accepted(twilio))
            until(lambda: len(accepted(twilio)) > before + 20, "it goes on")
            run.kill()
            run.wait()
        with up(tmp_path, **variables):
            until(lambda: len(accepted(twilio)) == 400, "all are sent to", 60)
        assert len(once(twilio)) == 400
