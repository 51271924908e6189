"""A snapshot over the wire is what another server reads; what broke off is no backup."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from commanding import Desk
from servers import RDB, Server

from broadcaster.cli.output import when
from broadcaster.store import dumping
from broadcaster.store.backup_note import NoteSought
from broadcaster.store.connection import open_store
from broadcaster.store.errors import StoreError, Unreachable

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.store.connection import Store


async def test_another_server_reads_what_was_taken(store: Store, tmp_path: Path) -> None:
    await store.redis.set("big", bytes(range(256)) * 5_000)
    pieces: list[bytes] = []
    told = await dumping.dump(store, pieces.append)
    await store.redis.set("later", 1)
    whole = b"".join(pieces)
    assert (told.size, told.digest) == (len(whole), hashlib.sha256(whole).hexdigest())
    (tmp_path / RDB).write_bytes(whole)
    with Server(tmp_path, appendonly="no") as server:
        other = await open_store(server.url)
        assert other.epoch == store.epoch
        assert await other.redis.mget("big", "later") == [bytes(range(256)) * 5_000, None]
        assert await dumping.backup_noted(other) == told.taken_at
        await other.close()


@pytest.mark.parametrize(
    ("sent", "raised"),
    [
        (b"-NOPERM no permissions\r\n", StoreError),
        (b"\n\n$100\r\nREDIS0011", Unreachable),
        (b"$EOF:" + b"m" * 40 + b"\r\nREDIS0011", Unreachable),
        (b"", Unreachable),
        (b"$5\r\nHELLO", StoreError),
    ],
)
async def test_what_broke_off_is_no_backup(sent: bytes, raised: type[Exception]) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(sent)
    reader.feed_eof()
    with pytest.raises((raised, EOFError)):
        await dumping._receive(reader, dumping._Pieces(len, NoteSought("backup")))


async def test_the_mark_of_the_end_is_no_part_of_it_however_it_is_cut() -> None:
    mark, body = b"0123456789" * 4, b"REDIS0011" + bytes(90)
    for cut in range(1, len(body + mark)):
        reader, pieces = asyncio.StreamReader(), list[bytes]()
        taking = asyncio.ensure_future(
            dumping._until(reader, mark, dumping._Pieces(pieces.append, NoteSought("backup")))
        )
        reader.feed_data((body + mark)[:cut])
        await asyncio.sleep(0)
        reader.feed_data((body + mark)[cut:])
        await taking
        assert b"".join(pieces) == body


def test_the_command_writes_over_nothing_and_leaves_no_half_file(tmp_path: Path, redis_url: str) -> None:
    desk = Desk(tmp_path, "http://127.0.0.1:9", {"REDIS_URL": redis_url})
    told = desk.json("backup", "one.rdb")
    assert (tmp_path / "one.rdb").stat().st_size == told["bytes"]
    assert (tmp_path / "one.rdb").stat().st_mode & 0o777 == 0o600
    code, _, err = desk.call("backup", "one.rdb")
    assert (code, "is there already" in err) == (2, True)
    code, _, err = desk.call("backup", "nowhere/two.rdb")
    assert (code, "can't be written" in err) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["one.rdb"]


async def test_what_has_no_room_is_not_told_as_a_lost_connection(store: Store) -> None:
    def full(_: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        await dumping.dump(store, full)
    assert await store.redis.ping()


def test_a_full_disk_is_told_as_such(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("broadcaster.cli.backup.os.fsync", full)
    desk = Desk(tmp_path, "http://127.0.0.1:9", {"REDIS_URL": redis_url})
    code, _, err = desk.call("backup", "one.rdb")
    assert (code, "No space left on device" in err) == (1, True)
    assert list(tmp_path.iterdir()) == []


async def test_the_second_that_is_told_is_the_one_inside(store: Store) -> None:
    """Redis may answer with a snapshot begun before our note: what is in it counts."""
    key = store.keys.plain("backup")
    whole: list[bytes] = []
    told = await dumping.dump(store, whole.append)
    assert told.taken_at is not None
    for cut in range(1, 60):
        note = NoteSought(key)
        for start in range(0, len(whole[0]), cut):
            note.look_at(whole[0][start : start + cut])
        assert note.found(told.taken_at) == told.taken_at
        assert note.found(told.taken_at + 7) == told.taken_at, "joined: the earlier one"
        assert NoteSought(key).found(told.taken_at) is None


@pytest.mark.parametrize("link", [False, True])
def test_a_backup_is_its_owners_alone_whatever_lies_there(
    link: bool, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broadcaster.cli.backup.secrets.token_hex", lambda _: "0")
    desk = Desk(tmp_path, "http://127.0.0.1:9", {"REDIS_URL": redis_url})
    (tmp_path / "others").write_bytes(b"")
    (tmp_path / "others").chmod(0o666)
    part = tmp_path / "one.rdb.0.part"
    part.symlink_to("others") if link else part.touch(0o666)
    code, _, err = desk.call("backup", "one.rdb")
    assert (code, "can't be written: File exists" in err) == (1, True)
    assert part.exists(), "it isn't ours to remove"
    assert (tmp_path / "others").read_bytes() == b""
    assert not (tmp_path / "one.rdb").exists()


async def test_of_two_at_once_to_one_name_one_is_done(tmp_path: Path, redis_url: str) -> None:
    desk = Desk(tmp_path, "http://127.0.0.1:9", {"REDIS_URL": redis_url})
    both = await asyncio.gather(*(asyncio.to_thread(desk.run, "backup", "one.rdb", "--json") for _ in "ab"))
    (good,) = [json.loads(out) for code, out, _ in both if code == 0]
    (bad,) = [err for code, _, err in both if code == 2]
    assert "is there already" in bad
    assert hashlib.sha256((tmp_path / "one.rdb").read_bytes()).hexdigest() == good["sha256"]
    assert [path.name for path in tmp_path.iterdir()] == ["one.rdb"]


def test_a_restore_of_what_says_nothing_wants_to_know_when(tmp_path: Path, redis_url: str) -> None:
    desk = Desk(tmp_path, "http://127.0.0.1:9", {"REDIS_URL": redis_url})
    code, _, err = desk.call("restore", "--yes")
    assert (code, "--taken-at" in err) == (2, True)
    taken = desk.json("backup", "one.rdb")
    at = datetime.fromisoformat(taken["taken_at"]).timestamp()
    _, told, said = desk.call("restore", "--yes", "--workers-gone")
    assert f"of {when(at)} (by the note in it)" in said
    assert f"since {when(at - dumping.CLOCKS_DIFFER_SECONDS)}" in told, "clocks differ"


async def test_a_restore_says_by_which_time_it_goes_before_it_asks(store: Store, tmp_path: Path) -> None:
    prefix = store.keys.prefix.rstrip(":")
    desk = Desk(tmp_path, "http://127.0.0.1:9", {"REDIS_URL": store.url, "BROADCASTER_KEY_PREFIX": prefix})
    now, _ = await store.redis.time()
    await store.redis.set(store.keys.plain("backup"), now - 30 * 86_400)
    code, _, err = await asyncio.to_thread(desk.run, "restore", stdin="n\n")
    assert (code, "in doubt?" in err) == (1, True)
    assert f"of {when(now - 30 * 86_400)} (by the note in it), 30 d ago. If it was copied later" in err
    assert await store.redis.get(store.keys.plain("epoch")) == store.epoch.encode(), "nothing was done"
    code, _, err = await asyncio.to_thread(
        desk.run, "restore", "--taken-at", "2026-01-01T00:00Z", stdin="n\n"
    )
    assert (code, "of 2026-01-01 00:00:00 UTC (as you say)" in err) == (1, True)
    assert "copied later" not in err
