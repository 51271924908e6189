"""The same idempotency key sends the same list once, whatever happens in between."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from commanding import Desk, simulated_twilio
from redis import Redis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYED = ("--body", "Hi {{ name }}", "--idempotency-key", "flood-1")


@pytest.fixture(scope="module")
def twilio() -> Iterator[str]:
    """One simulator for the file."""
    with simulated_twilio() as url:
        yield url


@pytest.fixture
def desk(tmp_path: Path, twilio: str, redis_url: str) -> Desk:
    """A folder with a list, Redis and Twilio."""
    desk = Desk(tmp_path, twilio, {"REDIS_URL": redis_url})
    desk.people(3)
    return desk


def test_the_same_list_is_taken_once(desk: Desk) -> None:
    first = desk.json("send", "people.csv", *KEYED)
    code, out, err = desk.call("send", "people.csv", *KEYED, "--json")
    assert code == 0
    assert json.loads(out)["id"] == first["id"]
    assert "taken before with this idempotency key" in err
    assert len(desk.json("broadcasts", "list")) == 1


def test_its_line_is_written_where_a_level_is_set(desk: Desk) -> None:
    quiet, loud = (
        replace(desk, more={**desk.more, **more}).call("send", "people.csv", *KEYED[:2], "--json")
        for more in ({}, {"BROADCASTER_LOG_LEVEL": "info"})
    )
    assert "import.done" not in quiet[2]
    lines = [json.loads(line) for line in loud[2].splitlines() if line.startswith("{")]
    (done,) = [line for line in lines if line["event"] == "import.done"]
    assert (done["level"], done["recipients"]) == ("info", 3)
    assert done["timestamp"]
    assert json.loads(loud[1])["id"] == done["broadcast"], "nothing else is on standard output"


def test_another_list_or_text_is_refused(desk: Desk) -> None:
    first = desk.json("send", "people.csv", *KEYED)
    for arguments in (
        (desk.people(4, "other.csv"), *KEYED),
        ("people.csv", "--body", "Bye", *KEYED[2:]),
        ("people.csv", *KEYED, "--priority", "urgent"),
    ):
        code, _, err = desk.call("send", *arguments)
        assert code == 2
        assert f"belongs to broadcast {first['id']}" in err
    assert len(desk.json("broadcasts", "list")) == 1


def test_a_refused_list_leaves_the_key_free(desk: Desk) -> None:
    desk.write("faulty.csv", "to,name", "12,Ada")
    assert desk.call("send", "faulty.csv", *KEYED)[0] == 2
    assert desk.json("send", "people.csv", *KEYED)["total"] == 3


def test_a_draft_that_its_sender_did_not_start_is_started(desk: Desk) -> None:
    draft = desk.json("send", "people.csv", *KEYED, "--draft")
    again = desk.json("send", "people.csv", *KEYED)
    assert (draft["id"], draft["state"], again["state"]) == (again["id"], "draft", "running")


def test_a_killed_import_leaves_nothing_half_started(desk: Desk, redis_url: str) -> None:
    importing = desk.start("send", "-", *KEYED)
    assert importing.stdin is not None
    importing.stdin.write("to,name\n" + "".join(f"+141555{i:05d},P{i}\n" for i in range(30_000)))
    importing.stdin.flush()
    broadcast = _importing(redis_url)
    code, _, err = desk.call("send", "people.csv", *KEYED)
    assert code == 2
    assert f"being imported right now, as broadcast {broadcast}" in err
    importing.send_signal(signal.SIGKILL)
    with importing:
        importing.communicate()
    with Redis.from_url(redis_url) as redis:  # as if its lease had run out
        assert redis.delete(f"broadcaster:bc:{broadcast}:importer") == 1
    taken = desk.json("send", "people.csv", *KEYED)
    assert (taken["total"], taken["state"]) == (3, "running")
    with Redis.from_url(redis_url) as redis:
        assert not list(redis.scan_iter(f"broadcaster:bat:{broadcast}:*"))
        assert redis.hget(f"broadcaster:bc:{broadcast}", "state") == b"failed"


def test_ctrl_c_while_importing_leaves_nothing(desk: Desk, redis_url: str) -> None:
    importing = desk.start("send", "-", *KEYED)
    assert importing.stdin is not None
    importing.stdin.write("to,name\n")
    importing.stdin.write("".join(f"+141555{i:05d},P{i}\n" for i in range(30_000)))
    importing.stdin.flush()
    broadcast = _importing(redis_url)
    importing.send_signal(signal.SIGINT)
    assert importing.wait(40) == 130
    importing.stdin.close()
    with importing, Redis.from_url(redis_url) as redis:
        assert not redis.exists(f"broadcaster:bc:{broadcast}")
        assert not list(redis.scan_iter(f"broadcaster:*{broadcast}*"))
        assert not redis.exists("broadcaster:idem:flood-1")


def _importing(redis_url: str) -> str:
    """Wait for an import that has begun; return its broadcast."""
    deadline = time.monotonic() + 15
    with Redis.from_url(redis_url) as redis:
        while not redis.smembers("broadcaster:importing"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (raw,) = redis.smembers("broadcaster:importing")
        return str(raw.decode())
