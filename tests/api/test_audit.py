"""Who changed what: told by every change at the shell and over HTTP, numbers masked, and never edited."""

from __future__ import annotations

import asyncio
import csv
import getpass
import io
import json
import re
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from asgi_api import api_here
from commanding import Desk
from ended import ended
from serving import TESTER, key_for

from broadcaster.cli.audit import audit as commands
from broadcaster.domain.api_keys import Scope
from broadcaster.operations import audit, everything
from broadcaster.store.connection import Store, open_store
from broadcaster.store.scripts import read_script, script_names

if TYPE_CHECKING:
    from pathlib import Path

LONG = re.compile(r"\+?\d{8,}")


@pytest.fixture
def desk(tmp_path: Path, redis_url: str) -> Desk:
    return Desk(tmp_path, "http://127.0.0.1:9", {"REDIS_URL": redis_url})


def test_every_change_at_the_shell_is_in_it(desk: Desk, redis_url: str) -> None:
    async def prepare() -> tuple[str, str]:
        store = await open_store(redis_url, "broadcaster:")
        try:
            return await ended(store, [0, 30003, 21211]), await ended(store, [30003], first=50)
        finally:
            await store.close()

    bid, other = asyncio.run(prepare())
    desk.write("stop.txt", "+14155550007", "+14155550008")
    for what, *command in (
        ("lane.rate", "senders", "set", "+14155550100", "--rate", "7"),
        ("lane.pause", "senders", "pause", "+14155550100", "--reason", "told by +14155550199"),
        ("lane.resume", "senders", "resume", "+14155550100"),
        ("everything.pause", "pause"),
        ("everything.resume", "resume"),
        ("opt_out.add", "opt-outs", "add", "+14155550001"),
        ("opt_out.import", "opt-outs", "import", "stop.txt"),
        ("opt_out.remove", "opt-outs", "remove", "+14155550001"),
        ("opt_out.export", "opt-outs", "export"),
        ("dead_letter.export", "dead-letters", "export"),
        ("broadcast.export", "broadcasts", "export", bid),
        ("dead_letter.discard", "dead-letters", "discard", "--code", "21211"),
        ("dead_letter.replay", "dead-letters", "replay", "--broadcast", other),
        ("broadcast.retry", "broadcasts", "retry", bid),
        ("broadcast.pause", "broadcasts", "pause", bid),
        ("broadcast.resume", "broadcasts", "resume", bid),
        ("broadcast.cancel", "broadcasts", "cancel", bid),
        ("broadcast.delete", "broadcasts", "delete", bid, "--yes"),
        ("audit.export", "audit", "export"),
        ("key.create", "keys", "create", "--name", "ci", "--scopes", "audit:read"),
    ):
        code, _, err = desk.call(*command)
        assert code == 0, (command, err)
        newest, *_ = desk.json("audit", "list", "--limit", "1")
        assert newest["what"] == what, command
        assert newest["who"] == f"person:{getpass.getuser()}@{socket.gethostname()}"
        assert newest["where"] == "command line"
        plain = {key: value for key, value in newest.items() if key not in ("id", "at", "target")}
        if what != "key.create":
            assert not LONG.search(json.dumps(plain, ensure_ascii=False)), plain
        assert newest["target"] == bid or not LONG.search(newest["target"])
    assert desk.call("senders", "resume", "+14155550100")[0] == 0  # what changes nothing is no change
    assert desk.call("broadcasts", "delete", bid)[0] == 2
    assert len(desk.json("audit", "list", "--what", "lane")) == 3
    code, out, _ = desk.call("audit", "export")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["what"] for row in rows][:3] == ["audit.export", "key.create", "audit.export"]
    assert desk.call("audit", "export", "--format", "ndjson", "-o", "all.ndjson")[0] == 0
    lines = (desk.folder / "all.ndjson").read_text().splitlines()
    assert len(lines) == len(rows) + 1


async def test_it_is_read_in_pages(store: Store) -> None:
    for _ in range(3):
        await everything.pause(store, TESTER, "=1+1")
        await everything.resume(store, TESTER)
    async with api_here(store) as (client, _):
        pages: list[list[Any]] = []
        path = "/v1/audit?limit=2&what=everything"
        while path:
            answer = await client.get(path)
            pages.append([entry["what"] for entry in answer.json()["data"]])
            path = answer.links["next"]["url"] if "next" in answer.links else ""
        assert pages == [["everything.resume", "everything.pause"]] * 3
        only = (await client.get("/v1/audit?what=everything.pause")).json()["data"]
        assert [entry["new"] for entry in only] == [{"paused": "=1+1"}] * 3
        exported = await client.get("/v1/audit/export")
        rows = list(csv.DictReader(io.StringIO(exported.text)))
        assert rows[0]["what"] == "audit.export"
        assert rows[0]["where"] == "192.0.2.7"
        assert rows[0]["who"].startswith("key:")
        assert [row["what"] for row in rows[1:3]] == ["key.create", "everything.resume"]
        key = await key_for(store, Scope.AUDIT_READ)
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            refused = await client.request(method, "/v1/audit", headers={"Authorization": f"Bearer {key}"})
            assert refused.status_code == 405


async def test_nothing_edits_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(commands.commands) == {"list", "export"}
    assert not [name for name in script_names() if "'audit'" in read_script(name)]
    await everything.pause(store, TESTER)
    await everything.resume(store, TESTER)
    before = await audit.page(store)
    await audit.keep(store, 400)
    monkeypatch.setattr(time, "time", lambda: before[0].at + 399 * 86400)
    await audit.record(store, TESTER, "key.create", "x")
    assert (await audit.page(store))[1:] == before
