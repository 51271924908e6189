"""One person at the shell and over HTTP: shown, forgotten; and a broadcast archived, then removed."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest
from api_apart import Apart, api_apart
from commanding import SENDER, Desk, simulated_twilio
from knowing import PERSON, told
from loading import number
from over_api import over_api

from broadcaster.domain.api_keys import Scope

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    folder = tmp_path_factory.mktemp("people")
    with (
        simulated_twilio() as twilio,
        api_apart(folder / "redis", **Desk(folder, twilio).settings) as running,
    ):
        running.twilio = twilio
        yield running


@pytest.fixture(params=["here", "there"])
def desk(request: pytest.FixtureRequest, apart: Apart, tmp_path: Path) -> Desk:
    prefix = apart.store.keys.prefix.rstrip(":")
    if request.param == "here":
        return Desk(tmp_path, apart.twilio, {"REDIS_URL": apart.redis_url, "BROADCASTER_KEY_PREFIX": prefix})
    return over_api(tmp_path, apart.url, apart.key)


def listed(desk: Desk, apart: Apart, *, replied: bool = True) -> tuple[str, str]:
    """Queue a list, take a reply; return the broadcast, and a person of it for each desk."""
    there = over_api(desk.folder, apart.url, apart.key)
    sending = ("--body", "Hi {{ name }}", "--from", SENDER, "--purpose", "utility", "--yes")
    made = there.json("send", there.people(3), *sending, "--consent", "webform,2026-01-31")
    who = f"+1415555000{int(not desk.twilio)}"
    if replied:
        apart.do(told(apart.store, who, f"SM{made['id']:x<32}"))
    return made["id"], who


def test_all_that_is_known_of_a_person_is_shown_and_forgotten(desk: Desk, apart: Apart) -> None:
    bid, who = listed(desk, apart)
    known = desk.json("recipients", "show", who.removeprefix("+"))
    (message,) = (one for one in known["messages"] if one["broadcast"] == bid)
    assert (message["body"], message["variables"], message["consent"]) == (
        f"Hi P{who[-1]}",
        {"name": f"P{who[-1]}"},
        "webform,2026-01-31T00:00:00+00:00",
    )
    assert message["state"] == "queued"
    assert {one["body"] for one in known["replies"]} == {"please leave Qwertz alone"}
    code, out, _ = desk.call("recipients", "show", who)
    assert code == 0
    assert "Hi P" in out
    desk.json("opt-outs", "add", who)
    desk.json("opt-outs", "add", who, "--purpose", "marketing")
    known = desk.json("recipients", "show", who)
    assert [(one["sender"], one["purpose"]) for one in known["opt_outs"]] == [("*", None), ("*", "marketing")]
    done = desk.json("forget", who)
    assert (done["skipped"], done["replies"], done["opt_outs"], done["again"]) == (done["messages"], 1, 2, [])
    assert done["files"] == ["aof"]
    assert any("backups" in one for one in done["remains"])
    assert done["opted_out"] is True
    stranger = desk.json("forget", "+14155550007")
    assert (stranger["opted_out"], "opt-outs add" in stranger["remains"][0]) == (False, True)
    known = desk.json("recipients", "show", who)
    assert (known["messages"], known["replies"]) == ([], [])
    assert [(one["sender"], one["forgotten"]) for one in known["opt_outs"]] == [("*", True)] * 2
    code, out, _ = desk.call("forget", who)
    assert code == 0
    assert out.startswith("Forgotten in 0 messages")
    entries = desk.json("audit", "list", "--what", "recipient")
    assert {entry["what"] for entry in entries} == {"recipient.forget", "recipient.show"}
    first, second, third = (entry["target"] for entry in entries[:3])
    assert first == second != third, "each of the two by one hash"
    assert all(entry["target"].startswith("~") and len(entry["target"]) == 23 for entry in entries)
    assert not any(digits in json.dumps(entries) for digits in (who, who[-4:]))
    desk.json("broadcasts", "cancel", bid)
    again = desk.json("send", desk.people(3), "--body", "Hi {{ name }}", "--from", SENDER, "--yes")
    skipped = desk.json("messages", "list", "--broadcast", again["id"], "--to", who)
    assert [one["state"] for one in skipped] == ["skipped"]
    desk.json("broadcasts", "cancel", again["id"])


def test_a_broadcast_goes_into_a_file_and_then_out_of_redis(desk: Desk, apart: Apart) -> None:
    bid = apart.ended([0] * 60 + [30003, 21211])
    file = desk.folder / "kept.ndjson.gz"
    done = desk.json("broadcasts", "archive", bid, "kept.ndjson.gz", "--keep")
    assert (done["archived"], done["removed"]) == (62, False)
    assert file.stat().st_mode & 0o077 == 0, "people's data are nobody else's to read"
    head, *lines = map(json.loads, gzip.decompress(file.read_bytes()).splitlines())
    assert (head["broadcast"]["id"], head["spec"]["content"]["body"]) == (bid, "hello")
    assert [(one["to"], one["body"]) for one in lines] == [(number(i), "hello") for i in range(62)]
    assert [one["code"] for one in lines[-2:]] == [30003, 21211]
    assert lines[0]["history"][0]["state"] == "accepted"
    code, _, err = desk.call("broadcasts", "archive", bid, "kept.ndjson.gz")
    assert (code, "is there already" in err) == (2, True)
    before = desk.json("broadcasts", "show", bid)
    assert before["removed_at"] is None
    code, _, err = desk.call("broadcasts", "archive", bid, "again.ndjson.gz")
    assert (code, err.splitlines()[-1]) == (
        0,
        "62 messages in again.ndjson.gz; their people are removed from Redis",
    )
    after = desk.json("broadcasts", "show", bid)
    assert after["removed_at"] > 0
    assert after == before | {"removed_at": after["removed_at"], "awaiting": None}
    code, out, err = desk.call("messages", "list", "--broadcast", bid, "--json")
    assert (code, out) == (0, "[]\n")
    assert err.startswith(f"The messages of {bid} are removed since ")
    for command in (
        ["broadcasts", "archive", bid, "third.ndjson.gz"],
        ["broadcasts", "retry", bid, "--yes"],
        ["dead-letters", "replay", f"{bid}.0.1.10", "--yes"],
        ["messages", "show", f"{bid}.0.0.0"],
        ["broadcasts", "export", bid],
    ):
        code, _, err = desk.call(*command)
        assert (code, f"the messages of broadcast {bid} are removed since" in err) == (1, True), (
            command,
            err,
        )
    assert sorted(path.name for path in desk.folder.iterdir()) == ["again.ndjson.gz", "kept.ndjson.gz"]
    assert "messages removed" in desk.call("broadcasts", "show", bid)[1]


def test_what_runs_is_not_archived(desk: Desk, apart: Apart) -> None:
    bid, _ = listed(desk, apart, replied=False)
    code, _, err = desk.call("broadcasts", "archive", bid, "x.gz")
    assert (code, f"broadcast {bid} is running" in err) == (1, True)
    assert not (desk.folder / "x.gz").exists()
    desk.json("broadcasts", "cancel", bid)


def test_people_have_scopes_of_their_own(apart: Apart, tmp_path: Path) -> None:
    reader = over_api(tmp_path, apart.url, apart.key_of(Scope.PEOPLE_READ, Scope.MESSAGES_READ))
    assert reader.call("recipients", "show", PERSON)[0] == 0
    code, _, err = reader.call("forget", PERSON)
    assert (code, "people:write" in err) == (2, True)
    other = over_api(tmp_path, apart.url, apart.key_of(Scope.MESSAGES_READ))
    code, _, err = other.call("recipients", "show", PERSON)
    assert (code, "people:read" in err) == (2, True)
