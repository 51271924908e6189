"""`broadcaster demo`: a whole campaign on this machine, to be watched; nothing leaves it."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec
from rich.console import Console

from broadcaster.cli import demo_summary
from broadcaster.cli.demo_campaign import MOST_RECIPIENTS, Campaign, List, plan, target_seconds, write_list
from broadcaster.cli.demo_stage import DemoError, Stage, set_stage
from broadcaster.cli.live import Glimpse, look, watch
from broadcaster.domain.content import Content
from broadcaster.domain.senders import parse_sender
from broadcaster.intake.faults import RejectsFile
from broadcaster.intake.reader import ListOptions, open_list
from broadcaster.intake.senders import Lane
from broadcaster.intake.submit import Submission, submit
from broadcaster.lanes.control import start
from broadcaster.ledger.optouts import opt_out
from broadcaster.settings import load_settings
from broadcaster.store.connection import open_store
from broadcaster.store.ending import end

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from broadcaster.store.connection import Store

_T = TypeVar("_T")
_WORKER_SECONDS: Final = 30.0
#: The second list starts when the first is on its way.
_URGENT_AFTER_SECONDS: Final = 4.0
_PREFIX: Final = "broadcaster:"
#: Callbacks still to come when all is sent are waited for so long.
_CALLBACK_SECONDS: Final = 30
#: Lists up to this long are counted by sender while they go: the simulator looks at every arrival for it.
_COUNTED_LIVE: Final = 50_000
_ENDED_BY_CTRL_C: Final = 130
_PLAIN_WIDTH: Final = 120


@click.command()
@click.option(
    "--recipients",
    type=click.IntRange(1, MOST_RECIPIENTS),
    default=5000,
    show_default=True,
    help="Rows in the generated lists.",
)
@click.option("--exit", "leave", is_flag=True, help="End when the lists are done, also on a terminal.")
@click.option("--json", "as_json", is_flag=True, help="End when done; the last line is one JSON object.")
def demo(recipients: int, leave: bool, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Run a campaign against a simulated Twilio and watch it: no account, no Redis, nothing leaves here."""
    _end_in_order()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    stay = console.is_terminal and not leave and not as_json
    try:
        sys.exit(_perform(console, recipients, stay=stay, as_json=as_json))
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)
        sys.exit(_ENDED_BY_CTRL_C)


def _end_in_order() -> None:
    """Take SIGTERM for Ctrl-C, so that what we started is stopped; a loop that closes takes this back."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _perform(console: Console, recipients: int, *, stay: bool, as_json: bool) -> int:
    settings = load_settings()
    if settings.api_url:
        click.echo("The demo runs on this machine alone; BROADCASTER_API_URL is not used.", err=True)
    console.print(f"Making up {recipients:,} recipients, starting a Redis, a simulated Twilio and a worker …")
    campaign = plan(recipients)
    with set_stage(settings.data_dir, campaign) as stage:
        run = _Run(campaign, stage, console)
        verdict = asyncio.run(_until_interrupted(run.perform()))
        _end_in_order()
        if verdict is None:
            raise KeyboardInterrupt
        demo_summary.show(verdict, console, rejects=[str(path) for path in run.rejects])
        if stay:
            _stay(stage, run, console)
        if as_json:
            click.echo(msgspec.json.encode(verdict.as_json()))
        return 1 if verdict.faults() else 0


async def _until_interrupted(work: Coroutine[Any, Any, _T]) -> _T | None:
    """Return what `work` returns; None after Ctrl-C or SIGTERM, with `work` canceled."""
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
    task = asyncio.create_task(work)
    waiting = asyncio.create_task(interrupted.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if interrupted.is_set():
        await end([task])
        return None
    return task.result()


@dataclass(slots=True)
class _Run:
    """One performance: load, start, watch, count."""

    campaign: Campaign
    stage: Stage
    console: Console
    broadcasts: list[str] = field(default_factory=list)
    rejects: list[Path] = field(default_factory=list)
    rejected: int = 0
    _began: float = 0.0
    _sent: dict[str, int] = field(default_factory=dict)

    async def perform(self) -> demo_summary.Verdict:
        """Send both lists; return what came of them. Raises `DemoError`, `StoreError` and redis' errors."""
        store = await open_store(self.stage.redis_url, _PREFIX)
        try:
            if self.campaign.opted_out:
                await store.run(opt_out(self.campaign.opted_out, "demo"))
            await asyncio.to_thread(self.stage.let_write, self.campaign.wrote)
            loaded = [await self._load(store, one) for one in self.campaign.lists if one.rows]
            await self._await_worker(store)
            self._began = time.monotonic()
            pending = list(loaded)
            after = min(_URGENT_AFTER_SECONDS, target_seconds(self.campaign.rows) / 4)

            async def each() -> None:
                self.stage.check()
                elapsed = time.monotonic() - self._began
                if pending and (not self.broadcasts or elapsed >= after):
                    await store.run(start(pending[0]))
                    self.broadcasts.append(pending.pop(0))
                if self.console.is_terminal and self.campaign.rows <= _COUNTED_LIVE:
                    self._sent = {sender.name: sender.requests for sender in await self._senders()}

            def ended(glimpse: Glimpse) -> bool:
                return not pending and glimpse.settled

            glimpse = await watch(
                store, lambda: self.broadcasts, self.console, ended=ended, each=each, sent=lambda: self._sent
            )
            seconds = time.monotonic() - self._began
            await self._told()
            glimpse = await look(store, self.broadcasts)
            truth = await asyncio.to_thread(self.stage.ask_simulator, "counts")
            ends = await asyncio.to_thread(self.stage.ask_simulator, "outcomes")
            return demo_summary.Verdict(
                rows=self.campaign.rows,
                rejected=self.rejected,
                views=glimpse.views,
                twilio=truth,
                ends=ends["final"],
                senders=await self._senders(),
                seconds=seconds,
            )
        finally:
            await store.close()

    async def _told(self) -> None:
        """Wait until Twilio has told what became of the last messages."""
        self.console.print("All sent. What became of the last messages is told by Twilio's callbacks …")
        await asyncio.to_thread(self.stage.ask_simulator, f"callbacks?wait={_CALLBACK_SECONDS}")

    async def _load(self, store: Store, one: List) -> str:
        """Write a list as CSV, then take it in as `broadcaster send` does; return the broadcast's id."""
        path = self.stage.folder / (one.name.lower().replace(" ", "-") + ".csv")
        write_list(one, path)
        submission = Submission(
            name=one.name,
            content=Content(body=one.body, fallback=one.fallback),
            lanes=tuple(
                Lane(name, parse_sender(name).kind, rate, "demo") for name, rate in one.senders.items()
            ),
            region="US",
            priority=one.priority,
        )
        rejects_path = path.with_suffix(".rejects.csv")
        reader = open_list(str(path), ListOptions())
        try:
            with RejectsFile(rejects_path, list_path=str(path)) as rejects:
                submitted = await submit(store, reader, submission, rejects=rejects)
        finally:
            reader.release()
        if rejects.count:
            self.rejected += rejects.count
            self.rejects.append(rejects_path)
        return submitted.broadcast

    async def _senders(self) -> tuple[demo_summary.SenderTruth, ...]:
        """Ask the simulator what came from each sender."""
        seen = await asyncio.to_thread(self.stage.ask_simulator, "arrivals?summary=1")
        return tuple(
            demo_summary.SenderTruth(name, pace, seen[name]["requests"], seen[name]["peak"])
            for name, pace in self.campaign.rates.items()
            if name in seen
        )

    async def _await_worker(self, store: Store) -> None:
        until = time.monotonic() + _WORKER_SECONDS
        while not await store.redis.zcard(store.keys.plain("workers")):
            self.stage.check()
            if time.monotonic() > until:
                raise DemoError(f"The worker did not begin within {_WORKER_SECONDS:.0f} s.")
            await asyncio.sleep(0.05)


def _stay(stage: Stage, run: _Run, console: Console) -> None:
    """Keep everything up until Ctrl-C, and say how to look around."""
    console.print("\nEverything stays up until you press Ctrl-C. In another terminal:\n")
    lines = (
        f". {stage.env_file}",
        "broadcaster broadcasts list",
        f"broadcaster broadcasts show {run.broadcasts[0]}",
        "broadcaster dead-letters list",
        "broadcaster senders list",
        f"curl {stage.simulator_url}/_simulator/counts",
    )
    for line in lines:
        console.print(f"  {line}", style="cyan")
    try:
        while True:
            stage.check()
            time.sleep(1.0)
    except KeyboardInterrupt:
        console.print("\nStopping …")


if __name__ == "__main__":
    demo()
