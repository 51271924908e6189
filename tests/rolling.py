"""A rolling upgrade in the middle of a campaign: workers of one version replaced by another's, the API last.

What is old is another revision of this repository, unpacked beside; its commands make the data.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
from deployment import deployment, stop
from loading import counts
from serving import bearer, key_for
from truth import the_truth

from broadcaster.domain.record import State
from broadcaster.reporting.workers import list_workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from deployment import Deployment
    from truth import Truth

ROOT: Final = Path(__file__).parents[1]
SENDERS: Final = ("+16505550001", "+16505550002", "+16505550003")
#: Doubt that a killed worker leaves is settled within the run.
SETTLING: Final = {
    "BROADCASTER_SETTLE_SECONDS": "3",
    "BROADCASTER_SETTLE_ALONE_SECONDS": "6",
    "BROADCASTER_SETTLE_EVERY_SECONDS": "1",
}
SINGLE_EVERY_SECONDS: Final = 0.25


def unpack(revision: str, folder: Path) -> Path:
    """Write a revision's tree into `folder`, and return it. Raises CalledProcessError where there is none."""
    folder.mkdir(parents=True)
    tree = subprocess.run(["git", "-C", str(ROOT), "archive", revision], check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=tree.stdout, check=True)
    return folder


@dataclass
class Step:
    """One replacement: when, what, and what was seen then."""

    at: float
    what: str
    counts: dict[str, int]
    workers: str


@dataclass
class Outcome:
    """What a run came to."""

    truth: Truth
    total: int
    singles_asked: int
    singles_accepted: int
    singles_twice: int
    most_in_doubt: int
    format: int
    exits: list[int] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    refused: str = ""
    raised: str = ""

    @property
    def kept(self) -> bool:
        """Whether nobody was lost, or got it twice, and no doubt is left."""
        singles = self.singles_twice == 0 and self.singles_accepted == self.singles_asked
        return (
            self.truth.kept
            and singles
            and not self.truth.states.get(State.IN_DOUBT)
            and self.truth.accepted == self.total
        )


class Rolling:
    """One campaign with workers that are replaced. `old` and `new` are trees of the program."""

    def __init__(self, run: Deployment, old: Path, new: Path, key: str) -> None:
        self.run, self.old, self.new = run, old, new
        self.bid = ""
        self.singles: list[str] = []
        self.steps: list[Step] = []
        self.exits: list[int] = []
        self.most_in_doubt = 0
        self.api_url = ""
        self._key = key
        self._began = time.monotonic()
        self._processes: list[subprocess.Popen[Any]] = []
        self._said: list[asyncio.Future[Any]] = []

    def environment(self, tree: Path) -> dict[str, str]:
        """Return what a process of one tree gets."""
        kept = {"TWILIO_PHONE_NUMBER": SENDERS[0], "BROADCASTER_CHECK_MEDIA": "off", "PYTHONPATH": str(tree)}
        kept |= {"PYTHONFAULTHANDLER": "1"}
        return {**self.run.environment, **SETTLING, **kept}

    def command(self, tree: Path, *arguments: str) -> tuple[int, str]:
        """Run a command of one tree; return its exit code and all that it said."""
        done = subprocess.run(
            [sys.executable, "-m", "broadcaster", *arguments],
            env=self.environment(tree),
            cwd=self.run.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def worker(self, tree: Path) -> subprocess.Popen[bytes]:
        """Start a worker of one tree."""
        return self.run.start_worker(**self.environment(tree))

    async def api(self, tree: Path) -> subprocess.Popen[str]:
        """Start an API of one tree; from then on single messages go there."""
        errors = (self.run.folder / f"api-{len(self._processes)}.log").open("wb")
        process = subprocess.Popen(  # noqa: ASYNC220 - a few in a whole run
            [sys.executable, "-m", "broadcaster.api", "--host", "127.0.0.1", "--port", "0"],
            env=self.environment(tree),
            cwd=self.run.folder,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        errors.close()
        self._processes.append(process)
        assert process.stdout is not None
        while line := await asyncio.to_thread(process.stdout.readline):
            with contextlib.suppress(json.JSONDecodeError, KeyError, TypeError):
                self.api_url = str(json.loads(line)["url"])
                break
        # what it logs from here on is nobody's, and must not fill the pipe
        self._said.append(asyncio.get_running_loop().run_in_executor(None, process.stdout.read))
        return process

    async def replace_api(self) -> None:
        """Start an API of the new tree, then end the one that was there."""
        (before,) = self._processes
        await self.api(self.new)
        await asyncio.to_thread(stop, before)

    async def close(self) -> None:
        """End what was started here."""
        for process in self._processes:
            await asyncio.to_thread(stop, process)
        await asyncio.gather(*self._said)
        for process in self._processes:
            if process.stdout is not None:
                process.stdout.close()

    async def note(self, what: str) -> None:
        """Remember a step with what is seen then."""
        now = {state.label: n for state, n in (await counts(self.run.store, self.bid)).items()}
        views = await list_workers(self.run.store)
        seen = ", ".join(f"{view.pid} {view.version or 'older'} {view.state}" for view in views)
        self.steps.append(Step(time.monotonic() - self._began, what, now, seen))

    async def until_accepted(self, share: float, total: int) -> None:
        """Wait until so much of the list is accepted."""
        await self.run.until(lambda c: c.get(State.ACCEPTED, 0) >= share * total, self.bid, timeout=300)

    async def replace(self, old: subprocess.Popen[bytes], how: str) -> subprocess.Popen[bytes]:
        """End a worker, by `term`, `kill` or `drain`, then start one of the new tree."""
        if how == "drain":
            code, said = await asyncio.to_thread(
                self.command, self.new, "workers", "drain", await self._id_of(old), "--wait"
            )
            assert code == 0, said
        else:
            old.send_signal(signal.SIGKILL if how == "kill" else signal.SIGTERM)
        try:
            self.exits.append(await asyncio.to_thread(old.wait, 60))
        except subprocess.TimeoutExpired:
            old.send_signal(signal.SIGABRT)  # it says where it hangs
            old.wait()
            raise AssertionError(f"a worker did not end:\n{self.run.logs()[-8000:]}") from None
        return self.worker(self.new)

    async def _id_of(self, worker: subprocess.Popen[bytes]) -> str:
        names: list[bytes] = await self.run.store.redis.zrange(self.run.store.keys.plain("workers"), 0, -1)
        return next(name.decode() for name in names if f"-{worker.pid}-" in name.decode())

    async def joined(self, workers: int) -> None:
        """Wait until so many have a lease that is not over."""
        store = self.run.store
        while True:
            seconds, _ = await store.redis.time()
            key = store.keys.plain("workers")
            if await store.redis.zcount(key, seconds * 1_000_000, "+inf") == workers:
                return
            await asyncio.sleep(0.05)

    async def keep_asking(self) -> None:
        """Post single messages to the API of the moment until cancelled; each until it is answered."""
        number = 0
        async with httpx.AsyncClient(headers=bearer(self._key), timeout=10, trust_env=False) as http:
            while True:
                to, number = f"+1646555{number:04d}", number + 1
                asked = asyncio.ensure_future(self._post(http, to))
                try:
                    await asyncio.shield(asked)
                except asyncio.CancelledError:
                    await asked  # who asked once goes on until it is answered
                    raise
                await asyncio.sleep(SINGLE_EVERY_SECONDS)

    async def _post(self, http: httpx.AsyncClient, to: str) -> None:
        self.singles.append(to)
        headers = {"Idempotency-Key": f"single {to}"}
        body = {"to": to, "body": "A single one", "from": SENDERS[0]}
        while True:
            with contextlib.suppress(httpx.HTTPError):
                answer = await http.post(f"{self.api_url}/v1/messages", json=body, headers=headers)
                if answer.is_success:
                    return
                assert answer.status_code in (409, 429, 503), answer.text
            await asyncio.sleep(0.2)

    async def watch_doubt(self) -> None:
        """Remember the most that was in doubt at once, until cancelled."""
        while True:
            found = await counts(self.run.store, self.bid)
            self.most_in_doubt = max(self.most_in_doubt, found.get(State.IN_DOUBT, 0))
            await asyncio.sleep(0.05)


def write_list(path: Path, total: int) -> None:
    """Write a list of so many recipients, at most 30,000."""
    lines = [f"+1{(415, 212, 310)[i // 10_000]}555{i % 10_000:04d},Person {i}" for i in range(total)]
    path.write_text("to,name\n" + "\n".join(lines) + "\n", encoding="utf-8")


@contextlib.asynccontextmanager
async def prepared(folder: Path, old: Path, total: int, rate: float) -> AsyncIterator[Rolling]:
    """Run Redis, the simulator and an API of the old version, with a campaign that waits for workers."""
    config: dict[str, Any] = {"latency_ms": 50}
    async with deployment(folder, workers=0, **config) as run:
        # the installation is one that the old version has begun
        await run.store.redis.set(run.store.keys.plain("format"), 1)
        await run.store.redis.delete(run.store.keys.plain("raised"))
        rolling = Rolling(run, old, ROOT, await key_for(run.store))
        try:
            for sender in SENDERS:
                code, said = rolling.command(old, "senders", "set", sender, "--rate", f"{rate / 3:.2f}")
                assert code == 0, said
            write_list(folder / "people.csv", total)
            await rolling.api(old)
            listed = ("send", "people.csv", "--body", "Hi {{ name }}, the river rises.", "--yes", "--json")
            chosen = [part for sender in SENDERS for part in ("--from", sender)]
            code, said = await asyncio.to_thread(rolling.command, old, *listed, *chosen)
            assert code == 0, said
            line = next(one for one in said.splitlines() if one.startswith("{"))
            rolling.bid = json.loads(line)["id"]
            yield rolling
        finally:
            await rolling.close()


async def roll(
    folder: Path, old: Path, *, total: int, rate: float, how: tuple[str, ...] = ("term", "term", "term")
) -> Outcome:
    """Replace as many workers as `how` names ways, one by one, spread over the campaign; then the API."""
    async with prepared(folder, old, total, rate) as rolling:
        run = rolling.run
        workers = [rolling.worker(old) for _ in how]
        beside = [asyncio.create_task(rolling.watch_doubt()), asyncio.create_task(rolling.keep_asking())]
        try:
            await rolling.until_accepted(0.1, total)
            await rolling.note(f"{len(how)} old workers, old API")
            refused = await _newer_field(rolling) if old != ROOT else ""
            for number, (worker, way) in enumerate(zip(list(workers), how, strict=True)):
                await rolling.until_accepted(0.15 + 0.5 * number / len(how), total)
                await rolling.replace(worker, way)
                await rolling.joined(len(how))
                await rolling.note(f"worker {number + 1} replaced ({way})")
            await rolling.replace_api()
            await rolling.note("API replaced")
            await run.until(
                lambda c: set(c) <= {State.ACCEPTED, State.DEAD, State.SKIPPED}, rolling.bid, timeout=300
            )
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        return await _outcome(rolling, total, refused)


async def _newer_field(rolling: Rolling) -> str:
    """Ask for what only format 2 can hold; return the last line of what was said, '' if it was taken."""
    (rolling.run.folder / "few.csv").write_text("to\n+18085550001\n+18085550002\n", encoding="utf-8")
    code, said = await asyncio.to_thread(
        rolling.command, rolling.new, "send", "few.csv", "--body", "Hi", "--from", SENDERS[1],
        "--outside-window", "send", "--yes",
    )  # fmt: skip
    return "" if code == 0 else said.strip().splitlines()[-1]


async def _outcome(rolling: Rolling, total: int, refused: str) -> Outcome:
    run = rolling.run
    deadline = time.monotonic() + 60
    while True:
        taken = await run.simulator.accepted()
        arrived = [to for to in rolling.singles if taken.get(to)]
        if len(arrived) == len(rolling.singles) or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.2)
    truth = await the_truth(run, rolling.bid, total, others=set(rolling.singles))
    found = int(await run.store.redis.get(run.store.keys.plain("format")))
    raised = ""
    if rolling.old != ROOT:
        again = await _newer_field(rolling)
        after = int(await run.store.redis.get(run.store.keys.plain("format")))
        late = rolling.worker(rolling.old)
        code = await asyncio.to_thread(late.wait, 60)
        said = run.logs().strip().splitlines()[-1]
        raised = again or f"format {found} -> {after}; an old worker started now exits {code}: {said}"
        assert code != 0, raised
    return Outcome(
        truth=truth,
        total=total,
        singles_asked=len(rolling.singles),
        singles_accepted=len(arrived),
        singles_twice=sum(taken.get(to, 0) > 1 for to in rolling.singles),
        most_in_doubt=rolling.most_in_doubt,
        format=found,
        exits=rolling.exits,
        steps=rolling.steps,
        refused=refused,
        raised=raised,
    )
