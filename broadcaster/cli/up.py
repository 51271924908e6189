"""`broadcaster up`: everything in one command, Redis, a worker, the API and the exporter, kept alive."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from broadcaster.cli import running
from broadcaster.cli.exits import CommandFailedError
from broadcaster.cli.home import live_workers
from broadcaster.cli.options import env_file_option, json_option
from broadcaster.cli.output import print_json, say
from broadcaster.cli.up_lock import only_one
from broadcaster.cli.up_parts import Part
from broadcaster.cli.up_plan import UpPlan, real, simulated
from broadcaster.cli.up_ports import LOOK_SECONDS, answers, await_port, simulator_port
from broadcaster.domain.api_keys import Scope
from broadcaster.operations import keys
from broadcaster.operations.actor import at_the_shell
from broadcaster.runtime import check_owner, opened_store
from broadcaster.store.embedded import EmbeddedServer, GivenUpError
from broadcaster.store.ending import end
from broadcaster.store.server_binary import EmbeddedServerError
from broadcaster.telemetry.logs import masked_beside_output

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

T = TypeVar("T")

#: How long all may take until they serve.
START_SECONDS: Final = 60.0
#: What a process may take beyond its own time for what is in flight.
GRACE_SECONDS: Final = 5.0


@click.command()
@click.option("--simulate", is_flag=True, help="With a simulated Twilio; needs no account, reaches nobody.")
@json_option
@env_file_option
def up(*, simulate: bool, as_json: bool, env_file: Path | None) -> None:
    """Run everything here: Redis (without REDIS_URL), a worker, the API and the exporter.

    On a terminal, or with --json, the first start makes a key for the API and shows it, once.
    Goes on with whatever `send` left unfinished, and lists of `send` in this folder go to it. Ctrl-C or
    SIGTERM ends all of it in order; asked a second time, at once. What ends by itself is started again.
    """
    plan = simulated(env_file, simulator_port()) if simulate else real(env_file)
    masked_beside_output()
    facts = {"api": plan.api_url}
    with _told_to_stop() as told, only_one(plan.settings.data_dir, facts):
        Up(plan, told).run(as_json=as_json)


class Up:
    """All processes of one plan, from their start to their end. `told` holds the signals that came."""

    def __init__(self, plan: UpPlan, told: list[int]) -> None:
        self._plan = plan
        self._told = told
        address = plan.settings.redis_address
        self._server = None if address else EmbeddedServer(plan.settings.data_dir, given_up=lambda: told)
        self._url = address or (self._server.url if self._server else "")
        variables = {**plan.variables, "REDIS_URL": self._url}
        self._parts = [Part(name, what, variables, plan.folder) for name, what in plan.roles().items()]

    def run(self, *, as_json: bool) -> None:
        """Start everything, say where it is, and keep it until somebody ends it."""
        try:
            await_port(self._plan.settings, self._told)
            if self._server is not None:
                self._server.start()
            self._unless_told(self._check_owner())
            # a journal is no place for it: a service's keys are made by `broadcaster keys create`
            key = self._unless_told(self._first_key()) if as_json or sys.stdout.isatty() else ""
            for part in self._parts:
                part.start()
            self._until_it_serves()
            self._say(key, as_json=as_json)
            while not self._told:
                self._look_after()
                time.sleep(LOOK_SECONDS)
        except GivenUpError:  # told to end before all of it was there
            return
        finally:
            self._end()

    async def _check_owner(self) -> None:
        """Say it at once where what is here is another account's: no part would start."""
        async with opened_store(self._plan.settings, self._url) as store:
            await check_owner(self._plan.settings, store)

    def _unless_told(self, work: Coroutine[object, object, T]) -> T:
        """Do it, but raise `GivenUpError` once somebody asks for the end: Redis may be long to answer."""

        async def watched() -> T:
            task = asyncio.ensure_future(work)
            while not task.done():
                if self._told:
                    await end([task])
                    raise GivenUpError("Redis was not waited for.")
                await asyncio.wait([task], timeout=LOOK_SECONDS)
            return task.result()

        return running.run(watched())

    async def _first_key(self) -> str:
        """Make a key if there is none that opens anything. Returns its text, "" where there is one."""
        async with opened_store(self._plan.settings, self._url) as store:
            now = time.time()
            if any(not view.key.dead_since(now) for view in await keys.list_keys(store)):
                return ""
            _, text = await keys.create(store, at_the_shell(), name="first", scopes=(Scope.ADMIN,))
            return text

    def _until_it_serves(self) -> None:
        """Wait until a worker lives and the API answers. Raises CommandFailedError if that takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while not self._told:
            for part in self._parts:
                if part.ended is not None and part.name != "exporter":  # which nothing else needs
                    raise CommandFailedError(f"the {part.name} did not start: its log above says why")
            if answers(self._plan.api_url) and self._unless_told(self._workers()):
                return
            if time.monotonic() > deadline:
                raise CommandFailedError(f"it does not serve after {START_SECONDS:g} s: see the log above")
            time.sleep(LOOK_SECONDS / 2)
        raise GivenUpError("It was not waited for.")

    async def _workers(self) -> int:
        async with opened_store(self._plan.settings, self._url) as store:
            return await live_workers(store)

    async def _unfinished(self) -> int:
        async with opened_store(self._plan.settings, self._url) as store:
            plain = store.keys.plain
            return int(await store.redis.scard(plain("active")) + await store.redis.zcard(plain("scheduled")))

    def _say(self, key: str, *, as_json: bool) -> None:
        unfinished = self._unless_told(self._unfinished())
        plan = self._plan
        facts: dict[str, Any] = {
            "api": plan.api_url,
            "docs": f"{plan.api_url}/docs",
            "key": key or None,
            "data": str(plan.settings.data_dir.absolute()),
            "redis": None if plan.settings.redis_address else self._url,
            "twilio": plan.settings.twilio_api_base_url or plan.settings.twilio_account_sid,
            "simulated": plan.simulator is not None,
            "env_file": str(plan.env_file) if plan.simulator is not None else None,
            "unfinished": unfinished,
        }
        if as_json:
            print_json(facts)
            return
        click.echo("Broadcaster is up. Ctrl-C ends it in order.")
        for name in ("api", "docs", "data", "twilio"):
            click.echo(f"  {name:8}{facts[name]}")
        if key:
            click.echo(f"  {'key':8}{key}\n          may do everything; keep it now, it can't be shown again")
        if unfinished:
            click.echo(f"Broadcasts that it goes on with: {unfinished} (`broadcaster broadcasts list`).")
        if plan.simulator is not None:
            click.echo(f"Nobody is reached. In another terminal: . {facts['env_file']}")

    def _look_after(self) -> None:
        if self._server is not None:
            had = self._server.process
            if had is not None and had.poll() is not None:
                say(f"Redis ended (exit code {had.returncode}); it is started again.")
            try:
                self._server.start()  # ours, or one that `send` had started and took along
            except GivenUpError:
                return
            except EmbeddedServerError as error:
                say(f"Redis can't be started: {error}")
                time.sleep(GRACE_SECONDS if not self._told else 0)
        for part in self._parts:
            part.keep()

    def _end(self) -> None:
        """End what takes requests and sends, then what they need; killed if its time is up, or told twice."""
        before = len(self._told)
        if self._told:
            say("Ending: what is in flight is finished first.")
        simulators = [part for part in self._parts if part.name == "simulator"]
        budget = self._plan.settings.shutdown_seconds + GRACE_SECONDS
        for some in ([part for part in self._parts if part not in simulators], simulators):
            for part in some:
                part.tell_to_stop()
            deadline = time.monotonic() + budget
            while any(part.alive for part in some):
                if time.monotonic() > deadline or len(self._told) > before:
                    for part in some:
                        part.kill()
                time.sleep(LOOK_SECONDS / 4)
        if self._server is not None:
            self._server.stop()


@contextlib.contextmanager
def _told_to_stop() -> Iterator[list[int]]:
    """Give a list to which each signal that asks for the end is added."""
    told: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, lambda got, _: told.append(got)) for number in numbers}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
