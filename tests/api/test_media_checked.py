"""Media that Twilio would not take refuse a broadcast, over the API and at the command line."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from broadcasting import number, pointers, post
from commanding import Desk
from files import files, head
from hosting import hosting

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.store.connection import Store

FILES = {"good": head("image/png", 1000), "page": head("text/html", 1000), "busy": head("", 0, "503 Busy")}


@pytest.mark.parametrize("how", [{}, {"draft": True}, {"dry_run": True}])
async def test_the_api_looks_at_media(store: Store, how: dict[str, Any]) -> None:
    async with files(**FILES) as there, hosting(store, check_media="any") as api:

        async def made(*names: str) -> Any:
            urls = [there.url(f"/{name}") for name in names]
            return await post(
                api, "/v1/broadcasts", body="Hi", media_urls=urls, recipients=[number(1)], **how
            )

        refused = await made("good", "page", "missing")
        assert (refused.status_code, pointers(refused)) == (422, ["/media_urls/1", "/media_urls/2"])
        assert "MMS takes no text/html" in refused.text
        assert await store.redis.zcard(store.keys.plain("bcs")) == 0
        taken = await made("good", "busy")
        assert taken.status_code in (200, 202), taken.text
        (warning,) = taken.json()["warnings"]
        assert "could not be looked at: it answers HTTP 503" in warning


async def test_the_api_reaches_into_no_private_network_unless_told_to(store: Store) -> None:
    order: dict[str, Any] = {"body": "Hi", "recipients": [number(1)]}
    async with files(**FILES) as there:
        order["media_urls"] = [there.url("/good")]
        async with hosting(store, check_media="public") as api:
            refused = await post(api, "/v1/broadcasts", **order)
            assert (refused.status_code, pointers(refused)) == (422, ["/media_urls/0"])
        assert there.asked == []
        async with hosting(store, check_media="off") as api:
            assert (await post(api, "/v1/broadcasts", **order)).status_code == 202
        assert there.asked == []


async def test_the_command_line_looks_at_media(store: Store, tmp_path: Path) -> None:
    desk = Desk(tmp_path, "http://127.0.0.1:9", {"REDIS_URL": store.url, "BROADCASTER_CHECK_MEDIA": "any"})
    command = ("send", desk.people(1), "--body", "Hi")
    async with files(**FILES) as there:

        async def run(*options: str) -> tuple[int, str, str]:
            return await asyncio.to_thread(desk.call, *command, *options)

        for more in ((), ("--dry-run",)):
            code, out, err = await run("--media-url", there.url("/page"), *more)
            assert (code, out) == (2, "")
            assert f"{there.url('/page')}: MMS takes no text/html" in err
        code, _, err = await run("--media-url", there.url("/busy"), "--dry-run")
        assert (code, "Warning: http://127.0.0.1" in err, "HTTP 503" in err) == (0, True, True)
        code, out, err = await run("--media-url", there.url("/good"), "--dry-run")
        assert (code, "/good" in err) == (0, False)
