"""Keys and tokens changed in the middle of a campaign by rolling restarts: nobody lost, nobody twice."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from deployment import Deployment, deployment, stop
from loading import counts, load
from serving import TESTER, Api, bearer, free_port, key_for, serving

from broadcaster.domain.record import State
from broadcaster.lanes import control
from broadcaster.operations import keys
from broadcaster.runtime import signing_keys
from broadcaster.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from broadcaster.store.connection import Store

OLD_TOKEN, NEW_TOKEN = "old-token-of-the-account", "new-token-of-the-account"
OLD_KEY, NEW_KEY = "o" * 24, "n" * 24
OLD_PASSWORD, NEW_PASSWORD = "old-password", "new-password"
SENDER = "+15550000001"
#: How many are on their way whenever something is changed, and their pace.
EACH, RATE = 400, 25.0


class Fleet:
    """An API for webhooks and two workers, replaced one by one with other settings."""

    def __init__(self, run: Deployment, stack: AsyncExitStack, log: IO[bytes]) -> None:
        self._run = run
        self._outer = stack
        self._log = log
        self._port = free_port()
        self._api: AsyncExitStack | None = None
        self.api: Api | None = None
        self._workers: list[Any] = []

    async def with_settings(self, redis_password: str, **changed: str) -> None:
        """Replace the API, then one worker after the other; each is there before the next ends."""
        given = {
            "REDIS_URL": f"redis://app:{redis_password}@127.0.0.1:{self._run.redis.port}/0",
            "BROADCASTER_PUBLIC_URL": f"http://127.0.0.1:{self._port}",
            "BROADCASTER_SETTLE_SECONDS": "3",
            "BROADCASTER_SETTLE_ALONE_SECONDS": "4",
            "BROADCASTER_SETTLE_EVERY_SECONDS": "1",
            "BROADCASTER_POLL_AFTER_SECONDS": "5",
            **changed,
        }
        if self._api is not None:
            await self._api.aclose()
        self._api = AsyncExitStack()
        self._outer.push_async_callback(self._api.aclose)
        ours = {n: v for n, v in self._run.environment.items() if n.startswith(("TWILIO_", "BROADCASTER_"))}
        self.api = await self._api.enter_async_context(
            serving(self._run.store, port=self._port, log=self._log, **{**ours, **given})
        )
        old, self._workers = self._workers, []
        for place in range(2):
            started = len(self._run.workers)
            self._workers.append(self._run.start_worker(**given))
            path = self._run.folder / f"worker-{started}.log"
            await until(lambda path=path: "worker.started" in path.read_text(), "another worker")
            if old:
                assert await asyncio.to_thread(stop, old[place], signal.SIGTERM, 150) == 0


async def acl(store: Store, *rules: str) -> None:
    await store.redis.execute_command("ACL", "SETUSER", "app", *rules)


async def under_way(run: Deployment, first: int) -> str:
    """Begin to send to so many people, and come back in the middle of it."""
    bid = await load(run.store, {SENDER: EACH}, rates={SENDER: RATE}, batch=50, first=first)
    await run.until(lambda found: EACH - found.get(State.QUEUED, 0) > EACH // 10, bid, 60)
    return bid


async def until(condition: Any, what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_every_secret_is_changed_in_the_middle_of_a_campaign(tmp_path: Path) -> None:
    with (tmp_path / "api.log").open("wb") as log:
        async with (
            deployment(tmp_path, workers=0, token=OLD_TOKEN, senders={SENDER: RATE}) as run,
            AsyncExitStack() as stack,
        ):
            await acl(run.store, "reset", "on", f">{OLD_PASSWORD}", "~*", "&*", "+@all")
            fleet = Fleet(run, stack, log)
            await fleet.with_settings(
                OLD_PASSWORD, TWILIO_AUTH_TOKEN=OLD_TOKEN, BROADCASTER_SECRET_KEY=OLD_KEY
            )
            first = await key_for(run.store)
            assert await opens(fleet, first)
            sent = [await under_way(run, 0)]

            # Twilio has a secondary token, Redis a second password, all know both signing keys
            await run.simulator.configure(secondary_token=NEW_TOKEN)
            await acl(run.store, f">{NEW_PASSWORD}")
            await fleet.with_settings(
                NEW_PASSWORD,
                TWILIO_AUTH_TOKEN=NEW_TOKEN,
                TWILIO_AUTH_TOKEN_SECONDARY=OLD_TOKEN,
                BROADCASTER_SECRET_KEY=f"{OLD_KEY},{NEW_KEY}",
            )
            sent.append(await under_way(run, EACH))
            # the secondary token is promoted, the first password is gone, the new key signs
            await run.simulator.configure(token=NEW_TOKEN, secondary_token="")
            await acl(run.store, f"<{OLD_PASSWORD}")
            second = await key_for(run.store)
            assert await opens(fleet, first)
            assert await opens(fleet, second)
            await fleet.with_settings(
                NEW_PASSWORD,
                TWILIO_AUTH_TOKEN=NEW_TOKEN,
                TWILIO_AUTH_TOKEN_SECONDARY=OLD_TOKEN,
                BROADCASTER_SECRET_KEY=f"{NEW_KEY},{OLD_KEY}",
            )
            sent.append(await under_way(run, 2 * EACH))
            revoked = first.split("_")[2]
            assert fleet.api is not None
            assert (await revoke(run.store, revoked)) == "revoked"
            assert not await opens(fleet, first)
            assert await opens(fleet, second)
            # the old ones are named no more
            await fleet.with_settings(
                NEW_PASSWORD, TWILIO_AUTH_TOKEN=NEW_TOKEN, BROADCASTER_SECRET_KEY=NEW_KEY
            )
            final = {State.DELIVERED}

            async def ended() -> bool:
                found = [await counts(run.store, bid) for bid in sent]
                return all({state for state, n in one.items() if n} == final for one in found)

            await until(ended, "all are delivered", 150)
            accepted = await run.simulator.accepted()
            assert len(accepted) == 3 * EACH
            assert set(accepted.values()) == {1}
            assert "account.stop" not in run.logs()
    lines = [json.loads(line) for line in (tmp_path / "api.log").read_text().splitlines() if line[:1] == "{"]
    assert sum(line["recorded"] for line in lines if line["event"] == "callbacks.done") > 0
    assert not [line for line in lines if line["event"] == "webhook.refused"]


@pytest.mark.slow
async def test_a_token_changed_without_us_stops_the_account_and_loses_nothing(tmp_path: Path) -> None:
    async with deployment(tmp_path, workers=0, token=OLD_TOKEN) as run:
        bid = await load(run.store, {SENDER: 100}, rates={SENDER: 50.0})
        worker = run.start_worker(TWILIO_AUTH_TOKEN=OLD_TOKEN)
        await run.until(lambda found: found.get(State.ACCEPTED, 0) >= 10, bid)
        await run.simulator.configure(token=NEW_TOKEN)

        async def stopped() -> bool:
            return "account.stop" in run.logs()

        await until(stopped, "it stops")
        assert "20003" in run.logs()
        assert "broadcaster resume" in run.logs()
        stop(worker)
        run.start_worker(TWILIO_AUTH_TOKEN=NEW_TOKEN)
        await run.store.run(control.resume_account())
        found = await run.settled(bid, 60)
        assert found == {State.ACCEPTED: 100}
        assert set((await run.simulator.accepted()).values()) == {1}


async def test_what_the_installations_own_key_signed_is_known_once_another_is_set(store: Store) -> None:
    (own,) = await signing_keys(load_settings(None), store)
    assert await signing_keys(load_settings(None, secret_key=NEW_KEY), store) == (NEW_KEY, own)
    both = load_settings(None, secret_key=f"{NEW_KEY},{OLD_KEY}")
    assert await signing_keys(both, store) == (NEW_KEY, OLD_KEY, own)


async def opens(fleet: Fleet, key: str) -> bool:
    assert fleet.api is not None
    return (await fleet.api.client.get("/v1/broadcasts", headers=bearer(key))).is_success


async def revoke(store: Store, key: str) -> str:

    return str((await keys.revoke(store, TESTER, key)).summary()["state"])
