"""Templates listed and shown: over HTTP and by the command; what is read is kept for some seconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from asgi_api import api_here
from commanding import Desk
from content_templates import TEMPLATES, client, hx, settings, simulated, template
from serving import bearer, key_for

from broadcaster.domain.api_keys import Scope
from broadcaster.domain.message_templates import likeness
from broadcaster.simulator.config import SimulatorConfig
from broadcaster.simulator.server import running_simulator
from broadcaster.twilio import content
from broadcaster.twilio.content import Templates
from broadcaster.twilio.wire import TwilioError

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.store.connection import Store


async def test_lists_over_http(store: Store) -> None:
    async with simulated() as simulator, api_here(store, **settings(simulator)) as (api, _):
        seen, path = [], "/v1/templates?limit=5"
        while path:
            answer = await api.get(path)
            assert answer.status_code == 200, answer.text
            seen += [one["sid"] for one in answer.json()["data"]]
            path = answer.links["next"]["url"] if "next" in answer.links else ""
        assert sorted(seen) == sorted(map(hx, TEMPLATES))

        async def named(query: str) -> list[str]:
            return [one["sid"] for one in (await api.get(f"/v1/templates?{query}")).json()["data"]]

        assert await named("status=rejected") == [hx("rejected")]
        assert await named("category=marketing") == [hx("offer")]
        assert set(await named("language=de")) == {hx("german"), hx("swiss"), hx("short")}
        assert await named("language=de-ch") == [hx("swiss")]
        assert await named("status=approved&category=utility&language=fr") == []
        assert (await api.get("/v1/templates?status=good")).status_code == 422

        shown = (await api.get(f"/v1/templates/{hx('rejected')}")).json()
        assert shown == {
            "sid": hx("rejected"),
            "name": "visit",
            "language": "en",
            "status": "rejected",
            "category": "utility",
            "rejection_reason": "INVALID_FORMAT",
            "types": ["twilio/text"],
            "body": "Hi {{1}}, see you at {{2}}.",
            "variables": {"1": None, "2": "14:00"},
            "required": ["1"],
        }
        assert (await api.get(f"/v1/templates/{hx('nobody')}")).status_code == 404
        assert (await api.get("/v1/templates/..%2fServices")).status_code == 404
        reader = bearer(await key_for(store, Scope.MESSAGES_READ))
        assert (await api.get("/v1/templates", headers=reader)).status_code == 403
    async with api_here(store) as (api, _):
        assert (await api.get("/v1/templates")).status_code == 422  # which credential is missing


async def test_the_command(tmp_path: Path) -> None:
    """It needs no Redis; over an API it is tested with all that reads."""
    async with simulated() as simulator:
        desk = Desk(tmp_path, simulator.url, {"TWILIO_PHONE_NUMBER": ""})

        async def told(*arguments: str) -> tuple[int, str, str]:
            return await asyncio.to_thread(desk.call, "templates", *arguments)

        code, out, _ = await told("list", "--status", "approved", "--language", "de")
        assert code == 0
        rows = [line.split("\t") for line in out.splitlines()]
        assert rows[0] == ["sid", "name", "language", "status", "category", "variables"]
        assert sorted(row[0] for row in rows[1:]) == sorted(map(hx, ("german", "swiss", "short")))
        assert rows[1][3:] == ["approved", "utility", "1, 2"]
        code, out, _ = await told("show", hx("rejected"))
        assert code == 0
        assert "rejection reason: INVALID_FORMAT" in out
        assert "variables: 1, 2 (14:00)" in out
        code, _, err = await told("show", "HX12")
        assert code == 2
        assert "there is no template HX12: `broadcaster templates list` shows them" in err


async def test_many_pages_and_what_is_read_is_kept_awhile() -> None:
    many = {f"HX{i:032x}": TEMPLATES["good"] for i in range(1001)}
    now = [0.0]
    async with running_simulator(SimulatorConfig(templates=many)) as simulator, client(simulator) as twilio:
        templates = Templates(twilio, clock=lambda: now[0])
        found = await asyncio.gather(*(templates.every() for _ in range(5)))
        assert [one.sid for one in found[-1]] == list(many)
        assert simulator.world.requests == 2  # pages, for all who asked
        sid = next(iter(many))
        for moment, requests in ((0.0, 4), (9.9, 4), (10.1, 6), (20.0, 6), (20.2, 8)):
            now[0] = moment
            one = await templates.find(sid)
            assert one is not None
            assert simulator.world.requests == requests
        assert await templates.find(hx("nobody")) is None
        await templates.every()
        assert simulator.world.requests == 9
        now[0] = 60.1
        await templates.every()
        assert simulator.world.requests == 11


async def test_that_there_was_no_answer_is_forgotten_soon() -> None:
    now = [0.0]
    async with simulated(denied={"/v1/Content": 20500}) as simulator, client(simulator) as twilio:
        templates = Templates(twilio, clock=lambda: now[0])
        for read in (templates.every, lambda: templates.find(hx("good"))):
            with pytest.raises(TwilioError):
                await read()
        asked = simulator.world.requests
        simulator.world.configure(msgspec.structs.replace(simulator.world.config, denied={}))
        now[0] = 2.9
        with pytest.raises(TwilioError):
            await templates.every()
        assert simulator.world.requests == asked
        now[0] = 3.1
        assert len(await templates.every()) == len(TEMPLATES)
        assert await templates.find(hx("good")) is not None


async def test_what_templates_say_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of thousands that takes long, and every broadcast of free text is compared with all of them."""
    compared: list[str] = []

    def noted(text: str) -> str:
        compared.append(text)
        return likeness(text)

    monkeypatch.setattr(content, "likeness", noted)
    many = {hx(str(i)): template(f"No. {i}: {{{{1}}}}") for i in range(10)}
    async with running_simulator(SimulatorConfig(templates=many)) as simulator, client(simulator) as twilio:
        for i in (3, 7, 3):
            found = await twilio.templates.saying(f"No.  {i}: {{{{ name }}}}")
            assert found is not None
            assert found.sid == hx(str(i))
        assert await twilio.templates.saying("No. 10: Ada") is None
    assert len(compared) == 10 + 4
