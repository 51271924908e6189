"""`broadcaster verify` and `links`: the same beside Redis and over the API, in words and exit codes."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from commanding import Desk
from hosting import hosting
from serving import key_for
from structlog.testing import capture_logs
from verifying import SERVICE, TO

from broadcaster.client import ApiError, Client
from broadcaster.domain.verifications import masked
from broadcaster.operations import audit
from broadcaster.simulator.config import SimulatorConfig
from broadcaster.simulator.server import running_simulator
from broadcaster.simulator.verify_settings import VERIFY_SID

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.simulator.server import Simulator
    from broadcaster.store.connection import Store

OTHER = "+14155550101"
BLOCKED = "+14155550109"
WHATSAPP = "whatsapp:+14155550199"
CHANGING = re.compile(r"V[EAL][0-9a-f]{32}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|(?<=_at\":)\d+|(?<=\"at\":)\d+")


def code_of(simulator: Simulator, to: str) -> str:
    return str(simulator.world.verifications.rows(to)[-1]["code"])


async def test_the_command_is_the_same_everywhere(store: Store, tmp_path: Path) -> None:
    config = SimulatorConfig(verify_services={VERIFY_SID: SERVICE}, verify_recipients={BLOCKED: 60605})
    prefix = store.keys.prefix.rstrip(":")
    with capture_logs():  # which another test may have sent to standard output
        await compare(store, tmp_path, config, prefix)


async def compare(store: Store, tmp_path: Path, config: SimulatorConfig, prefix: str) -> None:
    async with running_simulator(config) as simulator:
        settings = {"TWILIO_VERIFY_SERVICE_SID": VERIFY_SID, "TWILIO_WHATSAPP_FROM": WHATSAPP}
        beside = {"REDIS_URL": store.url, "BROADCASTER_KEY_PREFIX": prefix, **settings}
        here = Desk(tmp_path, simulator.url, beside)
        account = here.settings
        async with hosting(
            store,
            twilio_account_sid=account["TWILIO_ACCOUNT_SID"],
            twilio_auth_token=account["TWILIO_AUTH_TOKEN"],
            twilio_api_base_url=simulator.url,
            twilio_verify_service_sid=VERIFY_SID,
            twilio_whatsapp_from=WHATSAPP,
        ) as api:
            key, url = await key_for(store), f"http://127.0.0.1:{api.port}"
            there = Desk(tmp_path, "", {"BROADCASTER_API_URL": url, "BROADCASTER_API_KEY": key})

            async def call(desk: Desk, *command: str, typed: str = "") -> tuple[int, str, str]:
                with mock.patch.object(sys, "stdin", io.StringIO(typed)):
                    return await asyncio.to_thread(desk.call, *command)

            shown: list[list[str]] = []
            for desk, to in ((here, TO), (there, OTHER)):
                start = ["verify", "start", to, "--idempotency-key", "k", "--tags", '{"shop": "7"}']
                acts = [
                    await call(desk, *start),
                    await call(desk, *start, "--json"),
                ]
                sid = json.loads(acts[-1][1])["sid"]
                assert len(simulator.world.verifications.rows(to)[-1]["sent"]) == 1
                code = code_of(simulator, to)
                acts += [
                    await call(desk, "verify", "show", sid),
                    await call(desk, "verify", "check", to, "--code", "00" + code),
                    await call(desk, "verify", "check", "--sid", sid, typed=f"{code}\n"),
                    await call(desk, "verify", "check", to, "--code", code),
                    await call(desk, *start[:-1], "{}"),
                    await call(desk, "verify", "start", to, "--custom-code", "-", typed="Abcd12\n"),
                ]
                assert code_of(simulator, to) == "Abcd12"
                sid = str(simulator.world.verifications.rows(to)[-1]["sid"])
                acts += [
                    await call(desk, "verify", "approve", sid),
                    await call(desk, "verify", "start", BLOCKED),
                    await call(desk, "verify", "start", to, "--locale", "?", "--custom-code", "12"),
                    await call(desk, "verify", "start", to, "--tags", "7"),
                    await call(desk, "verify", "service", "create", "--friendly-name", "Owl"),
                    await call(desk, "verify", "service", "update", "--code-length", "8", "--psd2-enabled"),
                    await call(desk, "verify", "service", "show", "--json"),
                    await call(desk, "verify", "service", "update"),
                    await call(desk, "links", "--text", "Grüße & more"),
                    await call(desk, "links", "--qr", "code.svg"),
                ]
                told = [str(one).replace(to, "TO").replace(masked(to), "TO") for one in acts]
                shown.append([CHANGING.sub("", one) for one in told])
            with Client(url, key) as client:
                drawn = await asyncio.to_thread(client.opt_in_qr, WHATSAPP)
                found = await asyncio.to_thread(client.opt_in_links, "12345", "Hi")
                started = await asyncio.to_thread(client.start_verification, TO, channel="call")
                assert (started.channel, TO in repr(started)) == ("call", False)
                checked = await asyncio.to_thread(client.check_verification, "0000", to=TO)
                assert not checked.valid
                assert (await asyncio.to_thread(client.cancel_verification, started.sid)).status == "canceled"
                with pytest.raises(ApiError, match="was approved or canceled"):
                    await asyncio.to_thread(client.check_verification, "0000", to=TO)
    for one, other in zip(*shown, strict=True):
        assert one == other
    codes = [eval(one)[0] for one in shown[0]]  # noqa: S307 - the tuples that were made above
    assert codes == [0, 0, 0, 1, 0, 2, 2, 0, 0, 2, 2, 2, 0, 0, 0, 2, 0, 0]
    every = "\n".join(shown[0])
    for words in (
        *("pending: TO by sms", "wrong:  is pending", "right:  is approved", "Twilio's support has set"),
        *("was approved or canceled", "not enabled (Verify geographic permissions)", "2 faults:"),
        *("--custom-code: must have 4 to 10", "--locale: must be a language"),
        *("--tags takes a JSON object", "idempotency key belongs to another"),
        *(
            '"only_by_support":{"code_valid_seconds":600',
            f"{WHATSAPP}\\thttps://wa.me/14155550199?text=Gr%C3%BC",
        ),
    ):
        assert words in every, words
    assert (tmp_path / "code.svg").read_bytes() == drawn
    assert found == [{"sender": "12345", "link": "sms:12345?body=Hi", "app_link": None}]
    entries = await audit.page(store, limit=200)
    assert {one.what for one in entries} >= {"verification.start", "verify_service.update"}
    assert not any(secret in str(one) for one in entries for secret in (TO, OTHER, "Abcd12"))


@pytest.mark.slow
async def test_a_code_is_asked_for_without_showing_it(store: Store, tmp_path: Path) -> None:
    async with running_simulator(SimulatorConfig(verify_services={VERIFY_SID: SERVICE})) as simulator:
        more = {"REDIS_URL": store.url, "TWILIO_VERIFY_SERVICE_SID": VERIFY_SID}
        desk = Desk(tmp_path, simulator.url, more)
        start = ("verify", "start", TO, "--custom-code", "-")
        asking = {"expect": "Custom code: ", "answer": "Abcd12\n"}
        screen, code = await asyncio.to_thread(lambda: desk.on_a_terminal(*start, **asking))
        assert (code, "Abcd12" in screen) == (0, False), screen
        asking = {"expect": "Code: ", "answer": "Abcd13\n"}
        screen, code = await asyncio.to_thread(lambda: desk.on_a_terminal("verify", "check", TO, **asking))
        assert (code, "Abcd13" in screen, "wrong: VE" in screen) == (1, False, True), screen
