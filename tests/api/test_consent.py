"""Purpose and consent over HTTP: refused without, kept and exported with each message, warned of."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from asgi_api import api_here
from commanding import Desk

from broadcaster.domain.opt_out_hints import NO_HINT
from broadcaster.ledger.optouts import opt_out

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from broadcaster.store.connection import Store

SENDER = "12345"
ADA, BOB = "+14155550100", "+14155550101"
FORM = {"source": "webform", "at": "2026-01-31"}


async def made(client: httpx.AsyncClient, **order: Any) -> dict[str, Any]:
    body = {"from": SENDER, "body": "Sale! Reply STOP to end.", "draft": True, **order}
    answer = await client.post("/v1/broadcasts", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def rows(client: httpx.AsyncClient, broadcast: str) -> list[dict[str, str]]:
    answer = await client.get(f"/v1/broadcasts/{broadcast}/export")
    return list(csv.DictReader(io.StringIO(answer.text)))


async def test_marketing_needs_consent_and_says_what_it_lacks(store: Store) -> None:
    async with api_here(store) as (client, _):
        order = {"from": SENDER, "body": "Sale!", "recipients": [ADA], "purpose": "marketing"}
        refused = await client.post("/v1/broadcasts", json=order)
        assert refused.status_code == 422
        assert "`consent`" in refused.text
        assert "`consent_column`" in refused.text
        for wrong, pointer in (("web,2026-01-31", "/consent"), ({"source": "web", "at": 1}, "/consent/at")):
            answer = await client.post("/v1/broadcasts", json=order | {"consent": wrong})
            (fault,) = answer.json()["errors"]
            assert (fault["pointer"], "Form" in fault["detail"]) == (pointer, False)
        bare = await made(client, recipients=[ADA], purpose="marketing", consent=FORM, body="Sale!")
        assert (bare["purpose"], bare["consent"]) == ("marketing", "webform,2026-01-31T00:00:00+00:00")
        assert bare["warnings"] == [NO_HINT]
        assert (await made(client, recipients=[ADA]))["warnings"] == []
        tried = await client.post("/v1/broadcasts", json=order | {"consent": FORM, "dry_run": True})
        assert tried.json()["warnings"] == [NO_HINT]


def test_the_command_line_says_the_same(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "http://127.0.0.1:9")
    desk.write("people.csv", "to,agreed", f"{ADA},shop 2025", f"{BOB},")
    sale = ("send", "people.csv", "--body", "Sale!", "--purpose", "marketing", "--dry-run")
    code, _, told = desk.call(*sale)
    assert code == 2
    assert "--consent SOURCE,TIME" in told
    code, shown, told = desk.call(*sale, "--consent", "webform,2026-01-31")
    assert code == 0, told
    assert f"Warning: {NO_HINT}" in shown + told
    code, shown, told = desk.call(*sale, "--consent-column", "agreed")
    assert code == 2
    assert "line 3, agreed" in shown


async def test_consent_is_exported_with_each_message(store: Store) -> None:
    async with api_here(store) as (client, _):
        shared = await made(client, recipients=[ADA], purpose="marketing", consent=FORM)
        (row,) = await rows(client, shared["id"])
        assert row["consent"] == "webform,2026-01-31T00:00:00+00:00"
        people = [
            {"to": ADA, "variables": {"consent": "shop,2025-05-05"}},
            {"to": BOB, "variables": {"consent": "fair,2024"}},
        ]
        own = await made(client, recipients=people, purpose="marketing", consent_column="consent")
        assert [row["consent"] for row in await rows(client, own["id"])] == ["shop,2025-05-05", "fair,2024"]
        listed = (await client.get(f"/v1/broadcasts/{own['id']}/messages")).json()["data"]
        assert [message["consent"] for message in listed] == ["shop,2025-05-05", "fair,2024"]
        people[1]["variables"] = {"consent": " "}
        refused = await client.post(
            "/v1/broadcasts",
            json={
                "from": SENDER, "body": "Sale! STOP ends", "recipients": people,
                "purpose": "marketing", "consent_column": "consent",
            },
        )  # fmt: skip
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["pointer"] == "/recipients/1"


async def test_who_opted_out_of_marketing_gets_the_rest(store: Store) -> None:
    await store.run(opt_out([ADA], "a test", "*#marketing"))
    async with api_here(store) as (client, _):
        sale = await made(client, recipients=[ADA, BOB], purpose="marketing", consent=FORM)
        alert = await made(client, recipients=[ADA, BOB], body="The river rises")
        assert (sale["counts"]["skipped"], sale["counts"]["queued"]) == (1, 1)
        assert (alert["counts"]["skipped"], alert["counts"]["queued"]) == (0, 2)


async def test_single_messages_have_a_purpose_too(store: Store) -> None:
    await store.run(opt_out([ADA], "a test", "*#marketing"))
    async with api_here(store) as (client, _):

        async def post(**more: Any) -> httpx.Response:
            return await client.post("/v1/messages", json={"from": SENDER, "body": "Sale!", **more})

        refused = await post(to=ADA, purpose="marketing")
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/consent")
        late = await post(to=ADA, purpose="marketing", consent={"source": "x", "at": "2999-01-01"})
        assert (late.status_code, late.json()["errors"][0]["pointer"]) == (422, "/consent/at")
        agreed = [{"source": "webform", "at": f"2026-01-{day}"} for day in (30, 31)]
        sold = [
            (await post(to=[ADA, BOB], purpose="marketing", consent=one)).json()["messages"] for one in agreed
        ]
        assert [message["state"] for message in sold[0]] == ["skipped", "queued"]
        (told,) = (await post(to=ADA)).json()["messages"]
        assert told["state"] == "queued"
        # one stream for all that agreed, whenever they did; another for what is no marketing
        assert sold[0][0]["id"].split(".")[0] == sold[1][0]["id"].split(".")[0] != told["id"].split(".")[0]
        for messages, day in zip(sold, (30, 31), strict=True):
            shown = (await client.get(f"/v1/messages/{messages[1]['id']}")).json()
            assert shown["consent"] == f"webform,2026-01-{day}T00:00:00+00:00"
        assert (await client.get(f"/v1/messages/{told['id']}")).json()["consent"] is None
