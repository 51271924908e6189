"""`broadcaster verify` where it can't do what it is asked: what it says, and its exit code."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from commanding import Desk
from serving import TESTER
from verifying import SERVICE, TO

from broadcaster.domain.verifications import Start
from broadcaster.operations import audit, verifications
from broadcaster.operations.errors import KeyReused
from broadcaster.operations.verifications import Key, Verifying
from broadcaster.simulator.config import ACCOUNT_SID, SimulatorConfig
from broadcaster.simulator.server import running_simulator
from broadcaster.simulator.verify_settings import VERIFY_SID
from broadcaster.twilio.verify import Verify
from broadcaster.twilio.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.store.connection import Store

NOBODY = "http://127.0.0.1:9"
OVER_API = {"BROADCASTER_API_URL": NOBODY, "BROADCASTER_API_KEY": f"bc_live_{'0' * 10}_{'a' * 43}"}


@pytest.mark.parametrize("key", ["", " ", "ключ", "x" * 256])
def test_a_key_that_can_not_be_one_starts_nothing(tmp_path: Path, key: str) -> None:
    """`--idempotency-key "$ORDER"` with ORDER unset would send a code each time."""
    for settings in ({"REDIS_URL": "redis://127.0.0.1:9"}, OVER_API):
        desk = Desk(tmp_path, NOBODY, settings)
        code, _, err = desk.call("verify", "start", TO, "--service", VERIFY_SID, "--idempotency-key", key)
        assert (code, "--idempotency-key takes 1 to 255" in err) == (2, True), err


def test_a_list_sent_over_the_api_needs_a_key_that_a_header_carries(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "", OVER_API)
    desk.write("l.csv", "to", TO)
    code, _, err = desk.call("send", "l.csv", "--body", "Hi", "--yes", "--idempotency-key", "ключ")
    assert (code, "--idempotency-key takes 1 to 255" in err) == (2, True), err


@pytest.mark.parametrize("act", ["show", "cancel", "approve"])
def test_a_sid_that_is_none_is_called_by_its_name(tmp_path: Path, act: str) -> None:
    said = {Desk(tmp_path, NOBODY, more).call("verify", act, "VE1") for more in ({}, OVER_API)}
    ((code, _, err),) = said
    assert (code, "'VE1' is no verification: VE and 32" in err, "--sid" in err) == (2, True, False)


async def test_a_code_that_could_not_be_checked_is_not_called_wrong(store: Store, tmp_path: Path) -> None:
    prefix = store.keys.prefix.rstrip(":")
    desk = Desk(tmp_path, NOBODY, {"REDIS_URL": store.url, "BROADCASTER_KEY_PREFIX": prefix})
    check = ("verify", "check", TO, "--service", VERIFY_SID, "--code", "123456")
    code, out, err = await asyncio.to_thread(desk.call, *check)
    assert (code, out) == (3, ""), err


async def test_a_start_is_in_the_audit_once_however_often_it_is_asked_for(store: Store) -> None:
    config = SimulatorConfig(verify_services={VERIFY_SID: SERVICE})
    account = (ACCOUNT_SID, (ACCOUNT_SID, "simulator"))
    async with running_simulator(config) as simulator, Wire(*account, simulator.url) as wire:
        work = Verifying(store, Verify(wire), TESTER, VERIFY_SID, None)
        asked = [await verifications.started(work, Start(TO), key=Key.of_shell("k")) for _ in range(2)]
        with pytest.raises(KeyReused):
            await verifications.start(work, Start(TO, locale="de"), key=Key.of_shell("k"))
    assert [one.replayed for one in asked] == [False, True]
    assert asked[0].verification == asked[1].verification
    assert [one.what for one in await audit.page(store)] == ["verification.start"]
