"""Opt-in links over HTTP: of the senders that are known, or of one that is named; QR codes as images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgi_api import api_here
from loading import load
from qr_reading import read_qr

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

OWN, USED = "whatsapp:+14155550199", "whatsapp:+14155550100"


async def test_links_and_their_qr_codes(store: Store) -> None:
    await load(store, {USED: 1, "+14155550101": 1})
    async with api_here(store, twilio_whatsapp_from=OWN) as (client, _):
        found = (await client.get("/v1/opt-in-links", params={"text": "Hi & bye 🦉"})).json()
        assert [one["sender"] for one in found["data"]] == [USED, OWN]
        assert found["data"][1]["link"] == "https://wa.me/14155550199?text=Hi%20%26%20bye%20%F0%9F%A6%89"
        for spelled in (OWN, OWN.replace("+", "%2B"), OWN.replace("+", " ")):
            asked = await client.get(f"/v1/opt-in-links?sender={spelled}")
            assert [one["sender"] for one in asked.json()["data"]] == [OWN], spelled
        drawn = await client.get("/v1/opt-in-links/qr", params={"sender": OWN, "text": "Grüße\n& more"})
        assert drawn.headers["content-type"] == "image/svg+xml"
        assert "default-src 'none'" in drawn.headers["content-security-policy"]
        assert read_qr(drawn.content) == "https://wa.me/14155550199?text=Gr%C3%BC%C3%9Fe%0A%26%20more"
        for asked_for, parameter in (
            ({"sender": "ALERTS"}, "sender"),
            ({"sender": "whatsapp:4155550199"}, "sender"),
            ({"sender": OWN, "text": "€" * 900}, "text"),
        ):
            refused = await client.get("/v1/opt-in-links/qr", params=asked_for)
            assert refused.status_code == 422
            assert [one["parameter"] for one in refused.json()["errors"]] == [parameter]
        lacking = await client.post("/v1/verifications", json={"to": "+14155550100"})
        assert (lacking.status_code, "TWILIO_ACCOUNT_SID" in lacking.text) == (422, True)
