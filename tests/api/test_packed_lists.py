"""Lists that are packed or in another encoding: uploaded, added to a draft, sent and imported."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from broadcasting import number, post
from commanding import Desk
from hosting import hosting

if TYPE_CHECKING:
    from pathlib import Path

    from hosting import Hosted

    from broadcaster.store.connection import Store

LIST = f"sep=;\r\nto;name;\r\n{number(1)};Jörg;\r\n'{number(2)};Ann;\r\n;;\r\n"
WESTERN = LIST.encode("windows-1252")
READ = "is read as Windows-1252, since line 3, column 15 is not UTF-8: it reads 'ö' there."


async def upload(api: Hosted, raw: bytes, key: str = "", **spec: Any) -> Any:
    files: Any = {
        "spec": (None, json.dumps({"body": "Hi {{ name }}", **spec}), "application/json"),
        "recipients": ("people.csv.gz", raw),
    }
    headers = {"Idempotency-Key": key} if key else {}
    return await api.client.post("/v1/broadcasts", files=files, headers=headers)


async def test_uploads_are_unpacked_and_say_what_they_were_read_as(store: Store) -> None:
    async with hosting(store) as api:
        made = await upload(api, gzip.compress(WESTERN))
        assert (made.status_code, made.json()["total"]) == (202, 2), made.text
        assert [text for text in made.json()["warnings"] if READ in text]
        tried = await upload(api, gzip.compress(LIST.encode("utf-16")), dry_run=True)
        assert tried.json()["encoding"] == "utf-16-le"
        assert (tried.json()["messages"][0]["body"], tried.json()["warnings"]) == ("Hi Jörg", [])
        named = await upload(api, LIST.encode("mac-roman"), dry_run=True, encoding="MacRoman")
        assert (named.json()["messages"][0]["body"], named.json()["encoding"]) == ("Hi Jörg", "mac-roman")
        refused = await upload(api, WESTERN, encoding="klingon")
        assert [one["pointer"] for one in refused.json()["errors"]] == ["/encoding"]
        mixed = await upload(api, WESTERN + f"{number(3)};Jörg;\r\n".encode())
        assert (mixed.status_code, "line 6, column 15: this is UTF-8" in mixed.text) == (422, True), (
            mixed.text
        )
        assert "with `encoding`" in mixed.text
        cut_off = await upload(api, gzip.compress(WESTERN)[:-9])
        assert (cut_off.status_code, "in the middle of its gzip" in cut_off.text) == (422, True)
        assert await store.redis.zcard(store.keys.plain("bcs")) == 1


@pytest.mark.parametrize("encoding", ["utf-16", "shift-jis"])
async def test_an_upload_that_is_repeated_is_known_in_any_encoding(store: Store, encoding: str) -> None:
    raw = f"to,name\n{number(1)},太郎\n".encode(encoding)
    async with hosting(store) as api:
        answers = [await upload(api, raw, key="k", encoding=encoding) for _ in range(2)]
        assert [one.status_code for one in answers] == [202, 202], answers[1].text
        assert answers[0].content == answers[1].content
        other = await upload(api, raw + b"\n", key="k", encoding=encoding)
        assert other.status_code == 422


async def test_what_an_upload_unpacks_to_is_bounded_as_what_it_is(store: Store) -> None:
    rows = b"to\r\n" + b"".join(f"+1415{i:07d}\r\n".encode() for i in range(9_000))
    packed = gzip.compress(rows)
    assert len(packed) < 40_000 < len(rows)
    packing = zlib.compressobj(9, wbits=31)
    bomb = b"".join(
        [
            packing.compress(b"to\n"),
            *(packing.compress(b"\n" * 1_000_000) for _ in range(18)),
            packing.flush(),
        ]
    )
    async with hosting(store, api_upload_bytes=40_000) as api:
        for raw, words in ((packed, "40,000 bytes when it is unpacked"), (bomb, "when it is unpacked")):
            large = await upload(api, raw, body="Hi")
            assert (large.status_code, large.json()["type"]) == (413, "/problems/too-large"), large.text
            assert words in large.text


async def test_parts_of_a_draft_are_unpacked_too(store: Store) -> None:
    async with hosting(store) as api:
        draft = await post(api, "/v1/broadcasts", "k", body="Hi {{ name }}", draft=True)
        path = f"{draft.headers['location']}/recipients"

        async def add(key: str, raw: bytes, kind: str = "text/csv") -> Any:
            headers = {"Idempotency-Key": key, "Content-Type": kind}
            return await api.client.post(path, content=raw, headers=headers)

        first = await add("1", gzip.compress(WESTERN))
        assert (first.json()["total"], len(first.json()["warnings"])) == (2, 1)
        assert READ in first.json()["warnings"][0]
        named = await add("2", f"to;name\n{number(3)};Jörg\n".encode("cp437"), "text/csv; charset=cp437")
        assert named.json()["total"] == 3, named.text
        wrong = await add("3", f"to;name\n{number(4)};Jörg\n".encode("cp437"), "text/csv; charset=utf-8")
        assert (wrong.status_code, "line 2, column 15: byte 0x94 is not utf-8" in wrong.text) == (422, True)
        assert (await add("4", WESTERN, "text/csv; charset=klingon")).status_code == 415
        other = await post(api, "/v1/broadcasts", "o", body="Hi {{ name }}", draft=True, encoding="cp437")
        path = f"{other.headers['location']}/recipients"
        assert (await add("6", f"to;name\n{number(3)};\x94\n".encode("latin-1"))).json()["total"] == 1
        path = f"{draft.headers['location']}/recipients"
        large = await add("5", gzip.compress(b"to,name\n" + (b"x" * 100_000 + b",Ada\n") * 60))
        assert (large.status_code, "more than 100 times its size" in large.text) == (413, True), large.text


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder, and nothing to ask."""
    return Desk(tmp_path, "http://127.0.0.1:1", {})


def test_the_shell_reads_them_as_well(desk: Desk) -> None:
    (desk.folder / "people.csv.gz").write_bytes(gzip.compress(WESTERN))
    command = ("send", "people.csv.gz", "--body", "Hi {{ name }}", "--from", "12345", "--dry-run")
    code, out, err = desk.call(*command)
    assert code == 0, err
    assert out.startswith("people.csv.gz (windows-1252): 2 rows, 2 recipients")
    assert f"Warning: people.csv.gz {READ}" in err
    code, out, err = desk.call(*command, "--encoding", "latin-1")
    assert (out.startswith("people.csv.gz (iso8859-1): 2 rows"), READ in err) == (True, False)
    code, _, err = desk.call(*command, "--encoding", "klingon")
    assert (code, "--encoding: 'klingon' is no encoding" in err) == (2, True)


async def test_opt_outs_are_imported_from_such_files(store: Store, tmp_path: Path) -> None:
    desk = Desk(tmp_path, "http://127.0.0.1:1", {"REDIS_URL": store.url})
    (tmp_path / "out.csv.gz").write_bytes(
        gzip.compress(f"address;source\n{number(1)};Bürgeramt\n".encode("cp1252"))
    )
    code, out, err = await asyncio.to_thread(desk.call, "opt-outs", "import", "out.csv.gz")
    assert (code, out) == (0, "1 added, 0 unchanged\n"), err
    assert "is read as Windows-1252" in err
    assert (await asyncio.to_thread(desk.json, "opt-outs", "list"))[0]["source"] == "Bürgeramt"
