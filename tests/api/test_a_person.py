"""A person's messages over everything, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hosting import hosting

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

ADA, BOB = "+14155550100", "+14155550101"


async def test_pages_hold_each_message_once(store: Store) -> None:
    async with hosting(store) as api:
        sent: set[str] = set()
        for number in range(3):
            order = {"body": f"b{number}", "recipients": [BOB, ADA, "+14155550102"]}
            assert (await api.client.post("/v1/broadcasts", json=order)).status_code == 202
            answer = await api.client.post("/v1/messages", json={"to": [ADA, ADA, BOB], "body": f"m{number}"})
            sent |= {one["id"] for one in answer.json()["messages"] if one["to"] == ADA}
        whole = [
            one["id"] for one in (await api.client.get("/v1/messages", params={"to": ADA})).json()["data"]
        ]
        assert len(whole) == 9
        assert sent < set(whole)
        for limit in (1, 2, 4, 9):
            found: list[str] = []
            cursor: dict[str, str] = {}
            while True:
                asked = {"to": ADA, "limit": limit, **cursor}
                page = (await api.client.get("/v1/messages", params=asked)).json()
                found += [one["id"] for one in page["data"]]
                if page["next"] is None:
                    break
                cursor = {"cursor": page["next"]}
            assert found == whole
