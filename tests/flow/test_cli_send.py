"""`broadcaster send` from the list to the last answer, as people run it."""

from __future__ import annotations

import json
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from commanding import SENDER, Desk, accepted, simulated_twilio
from redis import Redis

from broadcaster.simulator.config import SERVICE_SID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INVALID = "+15005550001"  # one of Twilio's magic numbers: 21211


@pytest.fixture
def twilio() -> Iterator[str]:
    """A simulator of the test's own, so that it counts only its messages."""
    with simulated_twilio() as url:
        yield url


@pytest.fixture
def desk(tmp_path: Path, twilio: str, redis_url: str) -> Desk:
    """A folder with a list, Redis and Twilio."""
    return Desk(tmp_path, twilio, {"REDIS_URL": redis_url})


def test_a_list_is_sent_and_waited_for(desk: Desk, twilio: str) -> None:
    desk.people(50)
    with (desk.folder / "people.csv").open("a") as file:
        file.write(f"{INVALID},Nobody\n+14155550007,Again\n+14155550009,Out\n")
    desk.json("opt-outs", "add", "+14155550009")
    with desk.worker():
        code, out, err = desk.call(
            "send", "people.csv", "--body", "Hi {{ name }}", "--wait", "--json", "--yes"
        )
        assert code == 3, err
        view = json.loads(out)
        assert view["state"] == "completed"
        assert view["total"] == 53
        assert {state: n for state, n in view["counts"].items() if n} == {
            "accepted": 49,
            "dead": 1,
            "skipped": 3,
        }
        shown = desk.json("broadcasts", "show", view["id"])
        assert shown == view
    sent = accepted(twilio)
    assert len(sent) == len({m["to"] for m in sent}) == 49
    assert {m["body"] for m in sent if m["to"] == "+14155550003"} == {"Hi P3"}
    _look_at_messages(desk, view["id"])


def _look_at_messages(desk: Desk, broadcast: str) -> None:
    (dead,) = desk.json("dead-letters", "list")
    assert (dead["to"], dead["code"], dead["broadcast"]) == (INVALID, 21211, broadcast)
    assert "invalid" in dead["meaning"]
    (total,) = desk.json("dead-letters", "list", "--broadcast", broadcast, "--by-code")
    assert (total["code"], total["count"], total["about"]) == (21211, 1, "recipient")
    found = desk.json("messages", "list", "--to", "14155550007")
    assert Counter(m["state"] for m in found) == {"accepted": 1, "skipped": 1}
    message = desk.json("messages", "show", found[0]["id"])
    assert message["to"] == "+14155550007"
    assert message["sid"].startswith("SM")
    skipped = desk.json("messages", "list", "--broadcast", broadcast, "--state", "skipped")
    assert Counter(m["code"] for m in skipped) == {1: 1, 4: 2}
    code, out, _ = desk.call("broadcasts", "show", broadcast)
    assert code == 0
    assert "the recipient's number is invalid" in out


def test_without_redis_everything_is_started_and_goes_on_after_ctrl_c(desk: Desk, twilio: str) -> None:
    desk.more = {"TWILIO_PHONE_NUMBER": "+15005550006"}
    desk.people(300)
    desk.json("senders", "set", "+15005550006", "--rate", "10")
    first = desk.start("send", "people.csv", "--body", "Hi {{ name }}")
    _until(lambda: len(accepted(twilio)) >= 3)
    first.send_signal(signal.SIGTERM)  # as Ctrl-C does
    _, err = first.communicate(timeout=20)
    assert first.returncode == 130
    assert "goes on with the next" in err
    assert len(accepted(twilio)) < 300
    desk.json("senders", "set", "+15005550006", "--rate", "200")
    desk.write("other.txt", "+14155559999")
    code, out, err = desk.run("send", "other.txt", "--body", "Hi", "--json")
    assert code == 0, err
    assert json.loads(out)["counts"]["accepted"] == 1
    (other, people) = desk.json("broadcasts", "list")
    assert other["name"] == "other"
    assert people["counts"]["accepted"] >= 3
    sent = Counter(m["to"] for m in accepted(twilio))
    assert max(sent.values()) == 1


def _until(condition: Any, seconds: float = 20) -> None:
    import time  # noqa: PLC0415 - waiting is only done here

    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_draft_start_pause_resume_cancel(desk: Desk, twilio: str) -> None:
    desk.people(60)
    draft = desk.json("send", "people.csv", "--body", "Hi {{ name }}", "--draft", "--rate", "10")
    assert (draft["state"], draft["counts"]["queued"]) == ("draft", 60)
    broadcast = draft["id"]
    code, _, err = desk.call("broadcasts", "pause", broadcast)
    assert (code, err) == (1, f"Error: broadcast {broadcast} is draft, so it can't be paused\n")
    with desk.worker():
        assert desk.json("broadcasts", "start", broadcast)["state"] == "running"
        assert desk.json("broadcasts", "start", broadcast)["state"] == "running"
        _until(lambda: accepted(twilio))
        assert desk.json("broadcasts", "pause", broadcast, "--reason", "lunch")["state"] == "paused"
        code, _, err = desk.call("broadcasts", "watch", broadcast)
        assert code == 4
        assert "people: paused: lunch" in err
        before = len(accepted(twilio))
        assert desk.json("broadcasts", "resume", broadcast)["state"] == "running"
        _until(lambda: len(accepted(twilio)) > before)
        assert desk.json("pause", "--reason", "storm") == {"paused": True, "reason": "storm", "changed": True}
        code, _, err = desk.call("broadcasts", "watch", broadcast)
        assert (code, "everything is stopped: storm" in err) == (4, True)
        assert desk.json("broadcasts", "cancel", broadcast)["state"] == "canceled"
        _until(lambda: not desk.json("broadcasts", "show", broadcast)["counts"]["queued"])
        ended = desk.json("broadcasts", "show", broadcast)["counts"]
        assert ended["accepted"] + ended["skipped"] == 60
        assert ended["skipped"] > 0
        assert len(accepted(twilio)) == ended["accepted"]
        assert desk.json("resume") == {"paused": False, "reason": None, "changed": True}


@pytest.mark.slow
def test_on_a_terminal_it_shows_what_it_sends_and_asks(desk: Desk, redis_url: str, twilio: str) -> None:
    desk.people(3)
    screen, code = desk.on_a_terminal(
        "send", "people.csv", "--body", "Hi {{ name }}", expect="[y/N]", answer="n\n"
    )
    assert code == 1
    assert "3 recipients, 3 segments" in screen
    assert f"3 from {SENDER} at 100/s" in screen
    assert "first message, to +14155550000: Hi P0" in screen
    assert "Nothing was sent." in screen
    with Redis.from_url(redis_url) as redis:
        assert not list(redis.scan_iter("broadcaster:b*"))
    screen, code = desk.on_a_terminal("send", "people.csv", "--body", "Hi", expect="[y/N]", answer="y\n")
    assert (code, "No worker is running" in screen) == (0, True)
    assert accepted(twilio) == []


def test_a_stopped_sender_ends_the_wait(desk: Desk) -> None:
    desk.people(3)
    lane = desk.json("senders", "set", SENDER, "--rate", "1/3s")
    assert (lane["kind"], round(lane["rate"], 3)) == ("short_code", 0.333)
    assert desk.json("senders", "pause", SENDER, "--reason", "quota")["state"] == "paused"
    code, out, err = desk.call("send", "people.csv", "--body", "Hi", "--wait", "--json")
    assert code == 4
    assert f"sender {SENDER} is stopped: quota" in err
    assert json.loads(out)["counts"]["queued"] == 3
    assert desk.json("senders", "resume", SENDER)["state"] == "sending"
    code, _, err = desk.call("senders", "pause", "54321")  # mistyped
    assert (code, err) == (0, "No broadcast is using 54321 now.\n")


def test_a_service_takes_the_rate_of_its_pool_and_shares_it(desk: Desk) -> None:
    desk.people(3)
    sent = desk.json("send", "people.csv", "--body", "Hi", "--messaging-service", SERVICE_SID)
    assert sent["senders"] == [SERVICE_SID]
    desk.json("send", "people.csv", "--body", "Hi", "--from", "+15005550006")
    service, number = sorted(desk.json("senders", "list"), key=lambda lane: lane["kind"], reverse=True)
    assert (service["name"], service["rate"]) == (SERVICE_SID, 1.0)
    assert number["shares_permits_of"] == SERVICE_SID


def test_queueing_without_a_worker_says_so(desk: Desk) -> None:
    numbers = "".join(f"+1415555{i:04d}\n" for i in range(5))
    code, out, err = desk.run("send", "-", "--body", "Hi", "--name", "storm", stdin=numbers)
    assert code == 0
    assert "No worker is running; it is queued." in err
    assert "storm: running" in out
    assert "queued\t5" in out


@pytest.mark.slow
def test_faulty_rows_go_to_the_rejects(desk: Desk, twilio: str) -> None:
    desk.write("people.csv", "to,name", "+14155550100,Ada", "12,Bob", "+14155550102,")
    with desk.worker():
        code, out, err = desk.call(
            "send", "people.csv", "--body", "Hi {{ name }}", "--rejects", "bad.csv", "--wait", "--json"
        )
    assert code == 0, err
    assert "2 faulty rows are in bad.csv" in err
    assert json.loads(out)["total"] == 1
    assert [m["to"] for m in accepted(twilio)] == ["+14155550100"]
    lines = (desk.folder / "bad.csv").read_text().splitlines()
    assert lines[0] == "line,reason,to,name"
    assert [line.split(",")[0] for line in lines[1:]] == ["3", "4"]


def test_a_trial_goes_to_one_number_only(desk: Desk, twilio: str) -> None:
    desk.people(5)
    code, out, err = desk.call("send", "people.csv", "--body", "Hi {{ name }}", "--test", "+14155559999")
    assert code == 0, err
    assert "Twilio accepted it: SM" in out
    assert [(m["to"], m["body"]) for m in accepted(twilio)] == [("+14155559999", "Hi P0")]
    code, out, _ = desk.call("send", "people.csv", "--body", "Hi", "--test", INVALID)
    assert code == 1
    assert "21211: the recipient's number is invalid" in out


def test_a_dry_run_needs_neither_redis_nor_credentials(desk: Desk) -> None:
    desk.more = {"TWILIO_ACCOUNT_SID": "", "TWILIO_AUTH_TOKEN": "", "TWILIO_API_BASE_URL": ""}
    desk.write("people.csv", "to;name", "+14155550100;Ada", "+14155550101;Bób", "+14155550100;Eve")
    code, out, err = desk.run("send", "people.csv", "--body", "Hi {{ name }}", "--dry-run")
    assert code == 0, err
    assert "3 rows, 2 recipients, 1 duplicates, 0 faulty" in out
    assert f"{SENDER}\t2\t2\t100/s" in out
    assert "'ó' (U+00F3) in line 3 forced it" in out
    assert f"{SENDER} → +14155550100: Hi Ada [1]" in out
    desk.write("faulty.csv", "to", "+14155550100", "12")
    code, out, _ = desk.call("send", "faulty.csv", "--body", "Hi", "--dry-run", "--json")
    assert code == 2
    report = json.loads(out)
    assert (report["refused"], report["faults"][0]["line"]) == (True, 3)
    assert not (desk.folder / ".broadcaster").exists()


@pytest.mark.slow
def test_without_redis_a_draft_is_sent_by_its_start(desk: Desk, twilio: str) -> None:
    desk.more = {}
    desk.people(3)
    draft = desk.json("send", "people.csv", "--body", "Hi {{ name }}", "--draft")
    assert accepted(twilio) == []
    code, out, err = desk.run("broadcasts", "start", draft["id"], "--json")
    assert code == 0, err
    assert json.loads(out)["counts"]["accepted"] == 3
    assert len(accepted(twilio)) == 3
    code, out, err = desk.run("broadcasts", "watch", draft["id"])
    assert (code, err) == (0, "")  # it has ended: nothing is started for it


def test_a_worker_without_redis_says_what_to_do(desk: Desk) -> None:
    desk.more = {"REDIS_URL": ""}
    code, out, err = desk.run("worker")
    assert (code, out) == (2, "")
    assert "set REDIS_URL (`broadcaster send` and `broadcaster demo` bring their own" in err
    assert not (desk.folder / ".broadcaster").exists()


@pytest.mark.slow
def test_watching_on_a_terminal_shows_the_senders(desk: Desk) -> None:
    desk.people(30)
    sent = desk.json("send", "people.csv", "--body", "Hi {{ name }}", "--rate", "10")
    with desk.worker():
        screen, code = desk.on_a_terminal("broadcasts", "watch", sent["id"], terminal="xterm")
    assert code == 0
    assert "waits for" in screen
    assert "the broadcast's pace" in screen
    assert "messages a second" in screen
    assert "2 s to go" in screen  # at the broadcast's 10/s, not the sender's 100/s
    assert "30 recipients, by 12345" in screen
