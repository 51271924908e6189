"""`broadcaster keys`: made, shown once, kept as a digest only, revoked."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest
from commanding import Desk
from redis import Redis

from broadcaster.store.connection import open_store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def desk(tmp_path: Path, redis_url: str) -> Desk:
    return Desk(tmp_path, "http://127.0.0.1:9", {"REDIS_URL": redis_url})


def test_a_key_is_shown_once_and_kept_nowhere(desk: Desk, redis_url: str, tmp_path: Path) -> None:
    made = desk.json(
        "keys", "create", "--name", "ci", "--scopes", "broadcasts:write,messages:read", "--expires", "90d"
    )
    assert {"id", "key", "name", "scopes", "expires_at"} <= set(made)
    assert (made["name"], made["scopes"]) == ("ci", ["broadcasts:write", "messages:read"])
    assert abs(made["expires_at"] - time.time() - 90 * 86400) < 60
    assert made["key"].startswith(f"bc_live_{made['id']}_")
    code, shown, _ = desk.call("keys", "create", "--name", "other", "--scopes", "admin")
    assert code == 0
    secrets = [made["key"].split("_", 3)[3].encode(), shown.strip().split("_", 3)[3].encode()]
    with Redis.from_url(redis_url) as client:
        held = [client.dump(name) for name in client.scan_iter("*")]
        assert len(held) > 3
        assert not any(secret in whole for secret in secrets for whole in [*held, *client.scan_iter("*")])
        client.config_set("rdbcompression", "no")
        client.save()
        folder, name = client.config_get("dir")["dir"], client.config_get("dbfilename")["dbfilename"]
        file = tmp_path.__class__(folder, name).read_bytes()
        assert made["id"].encode() in file
        assert not any(secret in file for secret in secrets)
    listed = desk.json("keys", "list")
    assert {key["name"]: key["state"] for key in listed} == {"ci": "active", "other": "active"}
    assert "key" not in listed[0]
    assert desk.json("keys", "revoke", made["id"])["state"] == "revoked"
    assert desk.json("keys", "revoke", made["id"])["state"] == "revoked"
    assert desk.call("keys", "revoke", "nothing")[0] == 2
    entries = desk.json("audit", "list", "--what", "key")
    assert [entry["what"] for entry in entries] == ["key.revoke", "key.create", "key.create"]
    assert [entries[0]["target"], entries[2]["target"]] == [made["id"], made["id"]]
    assert not any(secret.decode() in json.dumps(entries) for secret in secrets)
    assert made["key"] not in desk.call("audit", "export")[1]


@pytest.mark.parametrize(
    "wrong",
    [["--name", "", "--scopes", "admin"], ["--name", "x", "--scopes", "broadcasts:all"],
     ["--name", "x", "--scopes", "admin", "--expires", "soon"], ["--name", "x"]],
)  # fmt: skip
def test_what_is_no_key(desk: Desk, redis_url: str, wrong: list[str]) -> None:
    assert desk.call("keys", "create", *wrong)[0] == 2

    async def any_key() -> int:
        store = await open_store(redis_url, "broadcaster:")
        try:
            return int(await store.redis.exists(store.keys.plain("keys")))
        finally:
            await store.close()

    assert asyncio.run(any_key()) == 0
