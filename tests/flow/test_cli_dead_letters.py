"""Dead letters from the command line: listed, sent again, discarded, exported; also `broadcasts retry`."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from commanding import Desk, accepted, simulated_twilio
from driving import LANE, SID, ask, join, result, take, tell
from loading import load, number

from broadcaster.domain.record import Reason, State
from broadcaster.lanes import claims, control
from broadcaster.reporting.exports import safe_cell
from broadcaster.store.connection import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from pathlib import Path

UNREACHABLE, UNKNOWN = 30003, int(Reason.UNKNOWN)


@pytest.fixture(scope="module")
def twilio() -> Iterator[str]:
    """One simulator for the file."""
    with simulated_twilio() as url:
        yield url


@pytest.fixture
def desk(tmp_path: Path, twilio: str, redis_url: str) -> Desk:
    """A folder with a list, Redis and Twilio."""
    return Desk(tmp_path, twilio, {"REDIS_URL": redis_url})


def in_store(url: str, work: Callable[[Store], Coroutine[Any, Any, Any]]) -> Any:
    """Do something with the store that the commands use."""

    async def run() -> Any:
        store = await open_store(url, "broadcaster:")
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def ended(url: str, codes: Sequence[int], *, first: int = 0) -> str:
    """Load a broadcast whose messages ended with these codes: 0 was accepted, others are dead."""

    async def work(store: Store) -> str:
        bid = await load(store, {LANE: len(codes)}, rates={LANE: 1e5}, first=first)
        await join(store)
        slices = await take(store, horizon_seconds=1.0)
        for held in slices:
            await ask(store, held)
            outcomes = [
                result(i.row, 1, State.DEAD, code=codes[i.row])
                if codes[i.row]
                else result(i.row, 1, State.ACCEPTED, sid=SID)
                for i in held.items
            ]
            await tell(store, held, outcomes)
            await store.run(claims.release("w1", [held.claim]))
        await store.run(claims.leave("w1"))
        return bid

    return str(in_store(url, work))


def states(desk: Desk, broadcast: str) -> dict[str, int]:
    found = desk.json("broadcasts", "show", broadcast)["counts"]
    return {state: n for state, n in found.items() if n}


def test_selected_letters_go_again_once(desk: Desk, redis_url: str) -> None:
    bid = ended(redis_url, [0, UNREACHABLE, UNREACHABLE, 21211])
    other = ended(redis_url, [UNREACHABLE], first=100)
    (one, two) = desk.json("dead-letters", "list", "--code", "30003", "--broadcast", bid)
    assert (one["to"], two["to"]) == (number(1), number(2))
    assert desk.json("dead-letters", "replay", one["id"]) == {
        "replayed": 1, "unchanged": 0, "already_sent": 0, "sms_instead": 0, "may_have_been_sent": 0,
            "refused": {},
    }  # fmt: skip
    assert desk.json("broadcasts", "show", bid)["state"] == "running"
    assert desk.json("dead-letters", "replay", one["id"])["replayed"] == 0
    assert desk.json("dead-letters", "replay", f"{two['id']}@2")["replayed"] == 0
    assert desk.json("dead-letters", "replay", f"{two['id']}@1")["replayed"] == 1
    assert states(desk, bid) == {"accepted": 1, "retry": 2, "dead": 1}
    code, out, err = desk.call("dead-letters", "replay", "--code", "30003")
    assert (code, out) == (0, "1 message replayed\n"), err
    assert "No worker is running" in err
    assert states(desk, other) == {"retry": 1}
    code, out, _ = desk.call("dead-letters", "replay", "--code", "30003")
    assert (code, out) == (0, "nothing to be replayed\n")
    assert desk.json("dead-letters", "replay", "--all")["replayed"] == 1
    assert desk.json("dead-letters", "list") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say which"),
        (["x.0.0.0", "--all"], "not both"),
        (["nonsense"], "there is no message nonsense"),
        (["1.0.0.0"], "there is no message 1.0.0.0"),
        (["--broadcast", "1"], "there is no broadcast 1"),
    ],
)
@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_unclear_requests_are_refused(desk: Desk, verb: str, arguments: list[str], message: str) -> None:
    code, out, err = desk.call("dead-letters", verb, *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_what_may_have_been_sent_waits_for_an_explicit_word(desk: Desk, redis_url: str) -> None:
    bid = ended(redis_url, [UNREACHABLE, UNKNOWN, UNKNOWN])
    code, out, err = desk.call("dead-letters", "replay", "--broadcast", bid, "--json")
    assert code == 0
    assert (json.loads(out)["replayed"], json.loads(out)["may_have_been_sent"]) == (1, 2)
    assert "2 may have been sent already" in err
    code, out, err = desk.call("dead-letters", "replay", "--broadcast", bid, "--even-unknown")
    assert (code, out) == (0, "2 messages replayed\n")
    assert "Warning: 2 of them may have been sent already: those people may get it twice." in err


@pytest.mark.parametrize(("how", "sentence"), [("cancel", "was canceled"), ("expire", "has expired")])
def test_a_canceled_or_expired_broadcast_is_refused_with_a_sentence(
    desk: Desk, redis_url: str, how: str, sentence: str
) -> None:
    bid = ended(redis_url, [UNREACHABLE, 0])
    fields = {"state": "canceled"} if how == "cancel" else {"expires": "1000"}

    async def change(store: Store) -> None:
        await store.redis.hset(store.keys.broadcast(bid), mapping=fields)

    in_store(redis_url, change)
    code, out, err = desk.call("broadcasts", "retry", bid)
    assert (code, out) == (1, "")
    assert err == f"Error: broadcast {bid} {sentence}: its messages are not sent again\n"
    other = ended(redis_url, [UNREACHABLE], first=50)
    code, out, err = desk.call("dead-letters", "replay", "--all", "--json")
    assert (code, json.loads(out)["replayed"]) == (0, 1)
    assert sentence in err
    assert list(json.loads(out)["refused"]) == [bid]
    assert states(desk, other) == {"retry": 1}


def test_discarded_letters_are_skipped(desk: Desk, redis_url: str) -> None:
    bid = ended(redis_url, [0, UNREACHABLE, UNKNOWN])
    assert desk.json("dead-letters", "discard", "--broadcast", bid)["discarded"] == 2
    assert states(desk, bid) == {"accepted": 1, "skipped": 2}
    assert desk.json("dead-letters", "discard", "--all")["discarded"] == 0
    (skipped, _) = desk.json("messages", "list", "--broadcast", bid, "--state", "skipped")
    assert skipped["meaning"] == "was a dead letter, and discarded by request"
    assert desk.json("broadcasts", "retry", bid)["retried"] == 0


@pytest.mark.slow
def test_on_a_terminal_it_asks(desk: Desk, redis_url: str) -> None:
    bid = ended(redis_url, [UNREACHABLE, UNREACHABLE])
    screen, code = desk.on_a_terminal("dead-letters", "replay", "--all", expect="[y/N]", answer="n\n")
    assert code == 1
    assert "Send 2 messages again: 2 with 30003 (" in screen
    assert "nothing was changed" in screen
    assert states(desk, bid) == {"dead": 2}
    screen, code = desk.on_a_terminal("dead-letters", "discard", "--all", "--yes", expect="", answer="")
    assert (code, "2 messages discarded" in screen) == (0, True)


def test_an_export_is_a_valid_list_and_no_spreadsheet_runs_it(desk: Desk, tmp_path: Path) -> None:
    desk.write(
        "people.csv",
        "to,reference,name,state",
        "+14155550001,=HYPERLINK(1),Ada,NY",
        "+15005550001,-2,@Bob,WA",
        "whatsapp:+14155550003,r3,\tTab,OR",
    )
    sent = desk.json(
        "send", "people.csv", "--body", "Hi {{ name }} in {{ state }}", "--from", "12345",
        "--from", "whatsapp:+14155238886", "--draft", "--outside-window", "send",
    )  # fmt: skip
    code, out, err = desk.call("broadcasts", "export", sent["id"])
    assert code == 0, err
    rows = {row["to"]: row for row in csv.DictReader(io.StringIO(out))}
    assert set(rows) == {"+14155550001", "+15005550001", "whatsapp:+14155550003"}
    assert rows["+14155550001"]["reference"] == "'=HYPERLINK(1)"
    assert rows["+15005550001"]["reference"] == "'-2"
    assert [row["name"] for row in rows.values()] == ["Ada", "'@Bob", "'\tTab"]
    assert [row["list_state"] for row in rows.values()] == ["NY", "WA", "OR"]
    assert {row["state"] for row in rows.values()} == {"queued"}
    for how in ("csv", "ndjson"):
        name = tmp_path / f"again.{how}"
        told = desk.json("broadcasts", "export", sent["id"], "-o", str(name), "--format", how)
        assert told == {"exported": 3, "file": str(name), "format": how}
        code, out, err = desk.call(
            "send", str(name), "--body", "Hi {{ name }} in {{ list_state }}", "--from", "12345",
            "--from", "whatsapp:+14155238886", "--dry-run", "--json",
        )  # fmt: skip
        assert code == 0, err
        assert (json.loads(out)["recipients"], json.loads(out)["rejected"]) == (3, 0)


@pytest.mark.parametrize(
    ("text", "safe"),
    [("+14155550100", "+14155550100"), ("+1+2", "'+1+2"), ("=1", "'=1"), ("-1", "'-1"), ("@x", "'@x"),
     ("\tx", "'\tx"), ("\rx", "'\rx"), ("x=1", "x=1"), ("", ""), ("+0", "'+0"), ("\n=1", "'\n=1"),
     ("\uff1d1", "'\uff1d1")],
)  # fmt: skip
def test_cells(text: str, safe: str) -> None:
    assert safe_cell(text) == safe


def test_dead_letters_exported(desk: Desk, redis_url: str) -> None:
    bid = ended(redis_url, [0, UNREACHABLE, 21211])
    code, out, _ = desk.call("dead-letters", "export", "--broadcast", bid, "--code", "21211")
    (row,) = csv.DictReader(io.StringIO(out))
    assert code == 0
    assert list(row)[:5] == ["to", "reference", "code", "meaning", "class"]
    assert (row["meaning"], row["class"]) == ("the recipient's number is invalid", "recipient")
    assert (row["to"], row["code"], row["attempts"], row["broadcast"]) == (number(2), "21211", "1", bid)
    code, out, _ = desk.call("dead-letters", "export", "--json")
    assert [json.loads(line)["code"] for line in out.splitlines()] == [UNREACHABLE, 21211]
    code, out, err = desk.call("dead-letters", "export", "-o", "/nowhere/x.csv")
    assert (code, out) == (2, "")
    assert "cannot write /nowhere/x.csv: No such file" in err
    assert desk.call("dead-letters", "export", "--broadcast", "1")[0] == 2
    assert desk.call("broadcasts", "export", "1")[0] == 2


@pytest.mark.slow
def test_those_who_failed_get_it_from_a_worker(desk: Desk, twilio: str) -> None:
    invalid = "+15005550001"  # one of Twilio's magic numbers: 21211
    desk.write("people.csv", "to,name", "+14155558000,A", f"{invalid},B")
    with desk.worker():
        code, out, _ = desk.call("send", "people.csv", "--body", "Hi {{ name }}", "--wait", "--json", "--yes")
        assert code == 3
        bid = json.loads(out)["id"]
        assert desk.json("broadcasts", "retry", bid, "--code", "30003")["retried"] == 0
        assert desk.json("broadcasts", "retry", bid, "--code", "21211")["retried"] == 1
        deadline = time.monotonic() + 20
        while desk.json("broadcasts", "show", bid)["state"] != "completed":
            assert time.monotonic() < deadline
    (dead,) = desk.json("dead-letters", "list", "--broadcast", bid)
    assert (dead["to"], dead["attempts"]) == (invalid, 2)
    history = desk.json("messages", "show", dead["id"])["history"]
    assert [(h["attempt"], h["state"], h["evidence"]) for h in history] == [
        (1, "dead", None), (1, "retry", "replay"), (2, "dead", None),
    ]  # fmt: skip
    assert Counter(m["to"] for m in accepted(twilio))["+14155558000"] == 1


def test_a_campaign_that_stopped_itself_says_why(desk: Desk, redis_url: str) -> None:
    async def rule(store: Store) -> None:
        await store.run(control.set_stop_rule(0.2, after=10, window=20))
        bid = await load(store, {LANE: 40}, rates={LANE: 1e5})
        await join(store)
        (held, *_) = await take(store, horizon_seconds=1.0, records=10)
        await ask(store, held)
        await tell(store, held, [result(i.row, 1, State.DEAD, code=21211) for i in held.items])
        assert bid

    in_store(redis_url, rule)
    (view,) = desk.json("broadcasts", "list")
    assert (view["state"], view["state_reason"][:48]) == (
        "paused",
        "100 % of the last 10 failed, most with 21211: th",
    )
    code, _, err = desk.call("broadcasts", "watch", view["id"])
    assert code == 4
    assert "100 % of the last 10 failed, most with 21211" in err
    assert view["everything_stopped"] is None
    header, row = desk.call("broadcasts", "list")[1].splitlines()
    assert (header.split("\t")[-1], row.split("\t")[-1]) == ("why", view["state_reason"])
