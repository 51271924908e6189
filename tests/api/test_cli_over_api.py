"""The command line with BROADCASTER_API_URL: the same objects, texts and exit codes as beside Redis."""

from __future__ import annotations

import asyncio
import json
import os
import re
from typing import TYPE_CHECKING
from unittest import mock

import httpx
import pytest
from api_apart import Apart, api_apart
from commanding import SENDER, Desk, accepted, simulated_twilio
from driving import join
from fault_proxy import FaultProxy
from over_api import acted, draft, over_api

from broadcaster.domain.api_keys import Scope
from broadcaster.simulator.config import TEMPLATE_SID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOBODY = "http://127.0.0.1:9"
SECONDS = re.compile(r'"(since|seen_at|draining_since)":\d+')


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    folder = tmp_path_factory.mktemp("cli")
    with simulated_twilio() as twilio:
        ours = Desk(folder, twilio).settings | {"BROADCASTER_ON_DOUBT": "hold"}
        with api_apart(folder / "redis", **ours) as running:
            running.twilio = twilio
            yield running


@pytest.fixture
def here(apart: Apart, tmp_path: Path) -> Desk:
    prefix = apart.store.keys.prefix.rstrip(":")
    return Desk(tmp_path, apart.twilio, {"REDIS_URL": apart.redis_url, "BROADCASTER_KEY_PREFIX": prefix})


@pytest.fixture
def there(apart: Apart, tmp_path: Path) -> Desk:
    return over_api(tmp_path, apart.url, apart.key)


def test_everything_that_reads_shows_the_same(here: Desk, there: Desk, apart: Apart) -> None:
    bid = apart.ended([0, 30003, 30003, 21211, 9])
    made = draft(there, "--name", "two words")
    there.json("senders", "set", SENDER, "--rate", "1/3s")
    there.json("senders", "pause", "whatsapp:+15550000009", "--reason", "quota")
    there.json("opt-outs", "add", "+14155559000", "whatsapp:+14155559001", "--sender", SENDER)
    there.json("opt-outs", "add", "+14155559000", "--purpose", "marketing")
    scheduled = there.json(
        "send", "people.csv", "--body", "Hi", "--at", "2099-01-01T00:00Z", "--name", "later"
    )
    assert scheduled["schedule_at"] == 4070908800
    (message, *_) = here.json("messages", "list", "--broadcast", bid, "--state", "dead")
    for command in (
        ["broadcasts", "list"],
        ["broadcasts", "list", "--limit", "1"],
        *(["broadcasts", "show", one] for one in (bid, made["id"], scheduled["id"])),
        ["messages", "list", "--broadcast", bid],
        ["messages", "list", "--broadcast", bid, "--limit", "2"],
        ["messages", "list", "--broadcast", bid, "--state", "dead"],
        ["messages", "list", "--broadcast", made["id"], "--to", "+14155550001"],
        ["messages", "list", "--to", "+14155550001"],
        ["messages", "list", "--to", "+14155550001", "--state", "delivered"],
        ["messages", "show", message["id"]],
        ["dead-letters", "list"],
        ["dead-letters", "list", "--limit", "1"],
        ["dead-letters", "list", "--broadcast", bid, "--code", "30003"],
        ["dead-letters", "list", "--by-code"],
        ["dead-letters", "list", "--by-code", "--broadcast", bid, "--code", "30003"],
        ["senders", "list"],
        ["opt-outs", "list"],
        ["opt-outs", "list", "--sender", SENDER],
        ["opt-outs", "list", "--purpose", "marketing"],
        ["audit", "list", "--limit", "3"],
        ["audit", "list", "--what", "lane"],
        ["templates", "list", "--status", "approved", "--category", "utility"],
        ["templates", "show", TEMPLATE_SID],
        ["events", "endpoints", "list"],
    ):
        one, other = here.call(*command, "--json"), there.call(*command, "--json")
        assert one == other, command
        assert one[0] == 0, one
        if command[0] != "events" and "delivered" not in command:
            assert len(json.loads(one[1])) > 0, command
    there.json("pause", "--reason", "wrong list")
    listed = here.call("broadcasts", "list", "--json"), here.call("broadcasts", "list")
    over = there.call("broadcasts", "list", "--json"), there.call("broadcasts", "list")
    there.json("resume")
    assert listed == over
    assert {view["everything_stopped"] for view in json.loads(listed[0][1])} == {
        "everything is stopped: wrong list"
    }
    first, _, *rows = listed[1][1].splitlines()
    assert first == "Everything is stopped: wrong list"
    (later,) = [row.split("\t")[-1] for row in rows if row.startswith(scheduled["id"])]
    assert later.startswith("starts 2099-01-01")
    for command in (
        *(
            ["broadcasts", "list"],
            ["broadcasts", "show", bid],
            ["messages", "show", message["id"]],
            ["audit", "list"],
        ),
        *(["templates", "list"], ["templates", "show", TEMPLATE_SID], ["templates", "show", "HX12"]),
    ):
        assert here.call(*command) == there.call(*command)  # what is printed is made of the same objects


@pytest.mark.parametrize("how", ["csv", "ndjson"])
def test_every_export_is_the_same(here: Desk, there: Desk, apart: Apart, how: str) -> None:
    bid = apart.ended([0, 30003, 21211])
    there.json("opt-outs", "add", "+14155559002")
    there.write("names.csv", "to,name", '+14155550100,"Ada, ""the\nfirst"""', "+14155550101,=1+1")
    name = there.json("send", "names.csv", "--body", "Hi {{ name }}", "--draft")["id"]
    for command, count in (
        (["broadcasts", "export", name], 2),
        (["dead-letters", "export", "--broadcast", bid, "--code", "30003"], 1),
        (["opt-outs", "export"], None),
    ):
        shown = here.call(*command, "--format", how)
        assert shown == there.call(*command, "--format", how)
        assert shown[0] == 0, shown
        told = there.json(*command, "--format", how, "-o", "out")
        assert (told["file"], told["format"]) == ("out", how)
        assert count in (None, told["exported"])
        assert (there.folder / "out").read_bytes().decode() == shown[1]
    assert there.call("audit", "export", "--format", how)[0] == 0


def test_everything_that_steers_answers_the_same(here: Desk, there: Desk, apart: Apart) -> None:
    local, remote = acted(here, there, apart), acted(there, there, apart)
    for one, other in zip(local, remote, strict=True):
        assert one == other
    assert {code for code, *_ in local} == {0, 1, 2, 4}


def test_what_is_refused_is_refused_in_the_same_words(here: Desk, there: Desk) -> None:
    people = here.people(3)
    here.write("empty.csv")
    here.write("zip.csv", "PK\x03\x04")
    for command in (
        ["broadcasts", "show", "nothing"],
        ["broadcasts", "start", "nothing"],
        ["broadcasts", "export", "nothing", "-o", "never"],
        ["messages", "list", "--broadcast", "nothing"],
        ["messages", "list", "--to", "12"],
        ["messages", "list"],
        ["messages", "show", "nothing"],
        ["dead-letters", "list", "--broadcast", "nothing"],
        ["dead-letters", "replay"],
        ["dead-letters", "replay", "nothing.0.0.0", "--code", "30003"],
        ["dead-letters", "discard", "nothing.0.0.0"],
        ["senders", "pause", "not a sender!"],
        ["senders", "set", SENDER, "--rate", "fast"],
        ["opt-outs", "add", "+14155550100", "12"],
        ["events", "endpoints", "show", "nothing"],
        ["send", "missing.csv", "--body", "Hi"],
        ["send", "empty.csv", "--body", "Hi"],
        ["send", "zip.csv", "--body", "Hi"],
        ["send", people, "--body", "Hi {{ nobody }}"],
        ["send", people, "--body", "Hi", "--from", "not a sender!"],
        ["send", people, "--content-sid", "HX" + "9" * 32],
        ["send", people, "--content-sid", TEMPLATE_SID, "--content-variables", '{"7": "x", "8": "y"}'],
        ["send", people, "--body", "Hi", "--to-column", "phone"],
        ["send", people, "--body", "Hi", "--rejects", people],
        ["send", people, "--body", "Hi", "--at", "tomorrow"],
    ):
        one, other = here.call(*command), there.call(*command)
        assert one == other, command
        assert (one[0], one[1], one[2].startswith("Error: ")) == (2, "", True), one
    assert not (here.folder / "never").exists()
    here.write("bad.csv", "to", "+14155550100", "12", "13")
    code, out, err = there.call("send", "bad.csv", "--body", "Hi")
    assert (code, out) == (2, "")
    assert "bad.csv: 2 of 3 rows have a fault, so nothing was queued. Correct them" in err
    assert "line 3, to: '12' no country code: write it like +14155550100" in err
    code, _, err = there.call("send", people, "--from", SENDER, "--priority", "bulk")
    assert (code, err.startswith("Error: --body: ")) == (2, True)
    assert there.call("send", people, "--body", "x", "--name", "n" * 201)[0] == 2


def test_a_draft_whose_template_was_paused_is_not_started(here: Desk, there: Desk, apart: Apart) -> None:
    sid = "HX" + "7" * 32
    whatsapp = here.write("chats.csv", "to", "whatsapp:+14155550100")

    def decide(**fields: str) -> None:
        told = httpx.post(f"{apart.twilio}/_simulator/templates", json={sid: fields}, trust_env=False)
        assert told.status_code == 200, told.text

    decide(body="Hi", status="approved")
    order = ("send", whatsapp, "--from", "whatsapp:+14155550199", "--content-sid", sid, "--draft")
    bid = here.json(*order)["id"]
    decide(status="paused")
    one, other = (desk.call("broadcasts", "start", bid) for desk in (here, there))
    assert one == other
    assert (one[0], one[1]) == (1, "")
    assert f"broadcast {bid} can't be started: template {sid} is paused by WhatsApp" in one[2]
    assert there.json("broadcasts", "show", bid)["state"] == "draft"


def test_what_needs_redis_says_so(there: Desk, apart: Apart) -> None:
    for command in (
        ["keys", "list"],
        ["keys", "create", "--name", "x", "--scopes", "admin"],
        ["restore", "--taken-at", "2026-01-01T00:00Z", "--yes"],
    ):
        code, out, err = there.call(*command)
        assert (code, out) == (2, "")
        assert "needs Redis itself, and only BROADCASTER_API_URL is set" in err
    for command in (["worker"], ["api"]):
        code, out, err = there.call(*command)
        assert (code, out, "set REDIS_URL" in err) == (2, "", True)
    assert not (there.folder / ".broadcaster").exists()
    code, out, _ = there.call("doctor")
    assert (code, f"{apart.url} answers and takes the key" in out) == (0, True)
    there.more["REDIS_URL"] = "redis://127.0.0.1:9"  # the API wins where a command can go over it
    assert there.json("senders", "list") is not None
    assert "BROADCASTER_API_KEY" in there.call("config", "show")[1]
    assert apart.key not in there.call("config", "show")[1]


def test_who_may_not_or_reaches_nobody(apart: Apart, tmp_path: Path) -> None:
    narrow = apart.key_of(Scope.SENDERS_READ)
    stranger = "bc_live_" + "x" * 10 + "_" + "y" * 20
    for url, key, says in (
        (apart.url, "", "BROADCASTER_API_KEY (or BROADCASTER_API_KEY_FILE) is not set"),
        (apart.url, "two words", "BROADCASTER_API_KEY: the key must be what `broadcaster keys create`"),
        (
            apart.url,
            stranger,
            "the API does not take the key: This is no key of ours. Check BROADCASTER_API_KEY",
        ),
        (apart.url, narrow, "the key in BROADCASTER_API_KEY may not do this: "),
        (f"{apart.url}/docs", apart.key, "Check BROADCASTER_API_URL"),
    ):
        desk = over_api(tmp_path, url, key)
        for command in (["pause"], ["send", desk.people(2), "--body", "Hi"]):
            code, out, err = desk.call(*command)
            assert (code, out) == (2, ""), err
            assert says in err
            assert "Traceback" not in err
            assert not key or key not in err
        assert desk.call("doctor")[0] == (0 if key == narrow else 1)
    (tmp_path / "key").write_text(f"{apart.key}\n")
    desk = over_api(tmp_path, apart.url, "", BROADCASTER_API_KEY_FILE=str(tmp_path / "key"))
    assert desk.json("senders", "list") is not None
    with mock.patch("broadcaster.client.asking._RESTART_SECONDS", 0.0):
        code, out, err = over_api(tmp_path, NOBODY, apart.key).call("pause")
    assert (code, out) == (2, "")
    assert err.startswith(f"Error: the API at {NOBODY} can't be reached: ")


@pytest.mark.slow
def test_a_list_is_shown_before_it_is_sent(there: Desk) -> None:
    command = ["send", there.people(3), "--body", "Hi {{ name }}", "--name", "asked"]
    screen, code = there.on_a_terminal(*command, expect="[y/N]", answer="n\n")
    assert code == 1
    assert "3 recipients, 3 segments" in screen
    assert f"3 from {SENDER}" in screen
    assert "first message, to +14155550000: Hi P0" in screen
    assert "Nothing was sent." in screen
    assert "asked" not in there.call("broadcasts", "list")[1]


def test_the_apis_own_choices_stand_unless_named(there: Desk, here: Desk) -> None:
    for options, chosen in (([], "hold"), (["--on-doubt", "resend"], "resend")):
        made = draft(there, *options)["id"]
        entry = there.json("audit", "list", "--what", "broadcast.create", "--limit", "1")[0]
        assert (entry["target"], entry["new"]["on_doubt"]) == (made, chosen)
    there.write("bars.csv", "to|first;last", "+14155550100|Ada;Bob")
    command = ["send", "bars.csv", "--body", "Hi", "--dry-run", "--to-column", "to", "--delimiter"]
    assert there.json(*command, "|")["recipients"] == 1
    code, _, err = there.call(*command, ";")
    assert (code, "'to|first', 'last'" in err) == (2, True), err
    command = ["send", there.people(2), "--body", "Hi ó {{ name }}", "--dry-run"]
    for form in ([], ["--json"]):
        assert here.call(*command, *form) == there.call(*command, *form)


async def test_a_lost_answer_names_the_key_to_ask_again_with(apart: Apart, tmp_path: Path) -> None:
    def piped(desk: Desk, *options: str) -> tuple[int, str, str]:
        ours, theirs = os.pipe()
        os.write(theirs, b"+14155550100\n")
        os.close(theirs)
        with os.fdopen(ours) as stdin, mock.patch("sys.stdin", stdin):
            return desk.call("send", "-", "--body", "Hi", "--name", "piped once", "--json", *options)

    async with FaultProxy(apart.port) as proxy:
        desk = over_api(tmp_path, f"http://127.0.0.1:{proxy.port}", apart.key)
        proxy.lose_answers(b"POST /v1/broadcasts ")
        code, out, err = await asyncio.to_thread(piped, desk)
        assert (code, out) == (1, "")
        found = re.search(r"send it again with --idempotency-key (\S+), and it is taken once", err)
        assert found, err
        code, out, err = await asyncio.to_thread(piped, desk, "--idempotency-key", found[1])
        assert code == 0, err
        listed = await asyncio.to_thread(desk.json, "broadcasts", "list")
        assert [one["id"] for one in listed if one["name"] == "piped once"] == [json.loads(out)["id"]]


@pytest.mark.slow
def test_lists_are_sent_to_their_end(here: Desk, there: Desk, apart: Apart) -> None:
    sender = "+15005550006"
    numbers = [f"+1415777{i:04d}" for i in range(22)]
    people = there.write("people.csv", "to,name", *(f"{number},P" for number in numbers[:20]))
    hi = ["--body", "Hi {{ name }}", "--from", sender]
    there.json("senders", "set", sender, "--rate", "500")
    with here.worker():
        code, out, err = there.call("send", people, *hi, "--wait", "--json", "--idempotency-key", "flood 1")
        assert code == 0, err
        now = json.loads(out)
        assert (now["counts"]["accepted"], now["total"]) == (20, 20)
        code, out, err = there.call("send", people, *hi, "--wait", "--idempotency-key", "flood 1")
        assert f"taken before with this idempotency key, as broadcast {now['id']}" in err
        assert (code, f"{now['id']}  people: completed" in out) == (0, True)
        assert there.call("broadcasts", "watch", now["id"]) == (0, out, "")
        code, out, err = there.call("send", people, "--body", "Other", "--idempotency-key", "flood 1")
        assert (code, "belongs to another request" in err) == (2, True)
        there.write("bad.csv", "to,name", f"{numbers[20]},Ada", "12,Bob")
        code, _, err = there.call("send", "bad.csv", *hi, "--rejects", "out.csv", "--wait")
        assert (code, "1 faulty rows are in out.csv." in err) == (0, True)
        assert (there.folder / "out.csv").read_text().splitlines()[0] == "line,reason,to,name"
        code, out, _ = there.call("send", people, *hi, "--test", numbers[21])
        assert (code, f"{sender} → +1415•••0021: Hi P\nTwilio accepted it: SM" in out) == (0, True), out
        there.json("pause", "--reason", "lunch")
        code, _, err = there.call("send", people, *hi, "--wait", "--name", "waits")
        assert code == 4
        assert "waits: everything is stopped: lunch (go on with: broadcaster resume)" in err
        there.json("senders", "pause", sender, "--reason", "quota")
        there.json("resume")
        waiting = there.json("broadcasts", "list", "--limit", "1")[0]["id"]
        code, _, err = there.call("broadcasts", "watch", waiting)
        assert (code, f"sender {sender} is stopped: quota (go on with:" in err) == (4, True)
        assert there.json("broadcasts", "cancel", waiting)["state"] == "canceled"
        sent = [one["to"] for one in accepted(apart.twilio) if one["to"] in numbers]
        assert sorted(sent) == sorted(numbers)


def test_workers_are_listed_and_asked_to_end_the_same(here: Desk, there: Desk, apart: Apart) -> None:
    store, told = apart.store, []
    asked = (
        *(["list"], ["drain", "w1"], ["drain", "w1"], ["drain", "h"], ["drain", "--all"]),
        *(["drain", "nobody"], ["drain"], ["drain", "w2", "--wait"]),
    )
    for desk in (here, there):
        for name in ("w1", "w2"):
            apart.do(join(store, name))
        apart.do(store.redis.hdel(store.keys.worker("w2"), "version", "format", "draining"))
        apart.do(store.redis.hdel(store.keys.worker("w1"), "draining"))
        done = [desk.call("workers", *command, "--json") for command in asked]
        told.append([(code, SECONDS.sub("", out), "SIGTERM" in err) for code, out, err in done])
        shown = desk.call("workers", "list")[1]
        assert re.search(r"w1\th\t0\t\S+\t\d+\tdraining", shown), shown
        assert re.search(r"w2\th\t0\tolder\t1\tlive", shown), shown
    assert told[0] == told[1]
    assert [code for code, *_ in told[0]] == [0, 0, 0, 1, 1, 2, 2, 1]
    assert [at for at, (_, _, older) in enumerate(told[0]) if older] == [3, 4, 7]
    changes = [(entry["what"], entry["target"]) for entry in here.json("audit", "list", "--what", "worker")]
    assert changes == [("worker.drain", "w1")] * 2
