"""A list on its way to an API that is killed: the same command sends it again, and it is taken once."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from over_api import over_api
from serving import key_for, serving

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.store.connection import Store

ROWS = 300_000


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_list_survives_its_api(store: Store, tmp_path: Path, wait_until: Any) -> None:
    key = await key_for(store)
    async with serving(store, key=key) as api:
        desk = over_api(tmp_path, api.url, key)
        people = desk.people(ROWS)
        sending = desk.start("send", people, "--body", "Hi {{ name }}", "--draft", "--json")
        await wait_until(lambda: store.redis.zcard(store.keys.plain("bcs")), timeout=60)
        api.kill()
        assert sending.poll() is None
        command = [sys.executable, "-m", "broadcaster.api", "--port", api.url.rpartition(":")[2]]
        nothing = subprocess.DEVNULL
        with subprocess.Popen(  # noqa: ASYNC220 - once, while nothing else runs
            command, env=api.environment, stdout=nothing, stderr=nothing
        ) as again:
            out, err = await asyncio.to_thread(sending.communicate)
            assert sending.returncode == 0, err
            listed = await asyncio.to_thread(desk.json, "broadcasts", "list")
            again.terminate()
    assert json.loads(out)["total"] == ROWS
    whole = [(one["id"], one["total"]) for one in listed if one["state"] != "failed"]
    assert whole == [(json.loads(out)["id"], ROWS)]
