"""A campaign on three hosts, one of which is cut off in its middle; it runs in a network of `machines.py`."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
from certificates import authority
from conftest import server_under_test
from deployment import ENDLESS_QUEUES, PREFIX, Deployment, Simulator
from loading import counts, load, records
from machines import NETS, QUEUE, WORLD, Network, child_of
from servers import Server
from tls_servers import program_with_tls, tls_lines
from truth import the_truth

from broadcaster.domain.record import State
from broadcaster.simulator.config import ACCOUNT_SID
from broadcaster.store.connection import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from truth import Truth

    from broadcaster.store.server_binary import ServerBinary

REDIS, TWILIO, DESK = "redis", "twilio", "desk"
WORKERS: Final = ("host1", "host2", "host3")
VICTIM: Final = "host2"
PASSWORD: Final = "a-secret-of-this-run"
#: Shares of the rate; no sender's own rate is special.
SHARES: Final = {"+15550000001": 0.6, "+15550000002": 0.3, "+15550000003": 0.1}
#: The others carry it all once this share of the rate has been accepted over two seconds.
WHOLE: Final = 0.9
#: Two hundred a second leave no such gap by chance.
STALL_SECONDS: Final = 0.06


@dataclass(frozen=True, slots=True)
class Cut:
    """What is done to one host, and when: seconds after the campaign's start."""

    bridges: tuple[str, ...]
    how: str
    rate: float = 200.0
    campaign_seconds: float = 180.0
    after_seconds: float = 40.0
    for_seconds: float = 60.0
    tls: bool = False
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many recipients there are."""
        return int(self.rate * self.campaign_seconds)


@dataclass(slots=True)
class Course:
    """What was seen: (seconds since the cut, accepted so far, in doubt) a few times a second."""

    points: list[tuple[float, int, int]] = field(default_factory=list)
    joined_at: float = 0.0
    ended_at: float = 0.0
    most_in_doubt: int = 0
    left_at_join: int = 0
    settled_after_join: float = 0.0
    evidence: Counter[str] = field(default_factory=Counter)
    #: Of each sender: its rate; how many too many in a second or ten; its fullest second, and when that was.
    pace: dict[str, tuple[float, float, int, float]] = field(default_factory=dict)
    #: How often this machine stood still, and for how long at most.
    stood: tuple[int, float] = (0, 0.0)
    log: Counter[str] = field(default_factory=Counter)
    reported_itself: bool = False
    exits: list[int] = field(default_factory=list)
    truth: Truth | None = None

    def whole_after(self, rate: float) -> float:
        """Return seconds from the cut until two seconds in a row brought `WHOLE` of the rate, for good or so.

        Counted from the cut on, before which it did; 0 where nothing was felt.
        """
        behind = 0.0
        for at, accepted, _ in self.points:
            before = [a for t, a, _ in self.points if t <= at - 2]
            if 0 <= at <= self.joined_at and before and accepted - before[-1] < WHOLE * rate * 2:
                behind = at
        return behind

    def slowest(self, rate: float) -> float:
        """Return the least that ten seconds in a row brought while it was cut off, as a share of the rate."""
        shares = []
        for at, accepted, _ in self.points:
            before = [a for t, a, _ in self.points if t <= at - 10]
            if 10 <= at <= self.joined_at and before:
                shares.append((accepted - before[-1]) / 10 / rate)
        return min(shares, default=1.0)

    def breaches(self, cut: Cut) -> list[str]:
        """Return every promise that was not kept."""
        assert self.truth is not None
        found = [*self.truth.twice, *self.truth.lost, *self.truth.wrong]
        if left := self.truth.states.get(State.IN_DOUBT, 0):
            found.append(f"{left} in doubt at the end")
        if self.truth.states != {State.ACCEPTED: cut.total}:
            found.append(f"states: {self.truth.states}")
        for lane, (rate, over, peak, _) in self.pace.items():
            if over > 1:
                found.append(f"{lane}: {peak} in a second, at {rate:g}/s")
        found += [
            f"{self.log[name]} times {name}" for name in ("duplicate.caused", "Traceback") if self.log[name]
        ]
        found += [f"exit code {code}" for code in self.exits if code]
        return found


def _ask_for_password(server: Server) -> None:
    with server.ask() as redis:
        redis.config_set("requirepass", PASSWORD)


@asynccontextmanager
async def _simulator(network: Network, folder: Path, config: dict[str, Any]) -> AsyncIterator[Simulator]:
    address = network.address(TWILIO, WORLD)
    command = [sys.executable, "-m", "broadcaster.simulator", "--host", address, "--port", "9000"]
    errors = (folder / "simulator.log").open("wb")
    process = subprocess.Popen(  # noqa: ASYNC220 - once, before anything else runs
        network.inside(TWILIO, *command, "--config", json.dumps(ENDLESS_QUEUES | config)),
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )
    assert process.stdout is not None
    try:
        url = json.loads(await asyncio.to_thread(process.stdout.readline))["url"]
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
            yield Simulator(url, process, http)
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()
        errors.close()


@dataclass
class Hosts:
    """The workers, each on a host of its own."""

    network: Network
    run: Deployment
    places: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, host: str) -> None:
        """Start a worker on a host, with its own processes, name and folder."""
        folder = self.run.folder / host
        folder.mkdir()
        command = self.network.apart(host, sys.executable, "-m", "workers")
        with (self.run.folder / f"worker-{host}.log").open("wb") as log:
            self.places[host] = subprocess.Popen(
                command, env=self.run.environment, stdout=log, stderr=log, cwd=folder
            )

    def stop(self) -> list[int]:
        """End them as operators do; return their exit codes."""
        for process in self.places.values():
            os.kill(child_of(process), signal.SIGTERM)
        return [self._ended(host) for host in self.places]

    def _ended(self, host: str) -> int:
        try:
            return self.places[host].wait(90)
        except subprocess.TimeoutExpired:
            pid = child_of(self.places[host])
            tasks = [
                f"{task.name} {(task / 'comm').read_text().strip()} {(task / 'wchan').read_text()}"
                for task in Path(f"/proc/{pid}/task").iterdir()
            ]
            raise AssertionError(f"{host} does not end: {tasks}\n{self.log(host)[-1000:]}") from None

    def log(self, host: str) -> str:
        """Return what a worker has logged."""
        return (self.run.folder / f"worker-{host}.log").read_text()


@asynccontextmanager
async def hosts(network: Network, folder: Path, cut: Cut) -> AsyncIterator[Hosts]:
    """Run Redis, the simulator and a worker on each host; this process sits at the desk."""
    place = network.address(REDIS, QUEUE)
    options: dict[str, Any] = {"bind": place, "protected-mode": "no", "port": "6379"}
    url = f"redis://:{PASSWORD}@{place}:6379/0"
    program: ServerBinary | None = server_under_test()
    if cut.tls:
        program = program_with_tls()
        assert program, "no redis-server or valkey-server with TLS on PATH: the bundled one has none"
        made = authority(folder / "tls", place)
        options |= {"port": "0", "tls-port": "6379", **tls_lines(made)}
        url = f"rediss://:{PASSWORD}@{place}:6379/0?ssl_ca_certs={made.ca}"
    server = Server(folder / "redis", **options)
    server.binary = network.binary(REDIS, folder, program)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("TWILIO_", "BROADCASTER_", "REDIS_"))},
        "REDIS_URL": url,
        "TWILIO_API_BASE_URL": f"http://{network.address(TWILIO, WORLD)}:9000",
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": "simulator",
        "BROADCASTER_KEY_PREFIX": PREFIX,
        "BROADCASTER_METRICS_PORT": "0",
        "BROADCASTER_LOG_FORMAT": "json",
        "BROADCASTER_POLL_AFTER_SECONDS": "86400",
        **cut.settings,
    }
    with ExitStack() as stack:
        stack.enter_context(server)
        _ask_for_password(server)
        async with _simulator(network, folder, {"latency_ms": 100, "latency_jitter_ms": 40}) as simulator:
            store = await open_store(f"unix://{server.socket_path}?db=0&password={PASSWORD}", f"{PREFIX}:")
            made_hosts = Hosts(network, Deployment(server, simulator, store, folder, environment))
            try:
                for host in WORKERS:
                    made_hosts.start(host)
                yield made_hosts
            finally:
                for process in made_hosts.places.values():
                    process.kill()
                    process.wait()
                await store.close()


async def campaign(network: Network, folder: Path, cut: Cut) -> Course:
    """Run it; say what was seen."""
    for number, host in enumerate((REDIS, TWILIO, DESK, *WORKERS), 1):
        assert network.hosts.setdefault(host, number) == number, "made in another order"
    course = Course()
    async with hosts(network, folder, cut) as at:
        run = at.run
        await _all_there(run)
        rates = {lane: share * cut.rate for lane, share in SHARES.items()}
        sizes = {lane: int(share * cut.total) for lane, share in SHARES.items()}
        sizes[next(iter(sizes))] += cut.total - sum(sizes.values())
        bid = await load(run.store, sizes, rates=rates, batch=200)
        began = time.monotonic()
        cut_at = began + cut.after_seconds
        course.joined_at = cut.for_seconds
        joined = False
        await _watch(run, bid, course, cut_at, until=cut_at)
        for bridge in cut.bridges:
            network.cut(VICTIM, bridge, cut.how)
        try:
            await _watch(run, bid, course, cut_at, until=cut_at + cut.for_seconds)
        finally:
            for bridge in cut.bridges:
                network.join(VICTIM, bridge, cut.how)
            joined = True
        course.left_at_join = (await counts(run.store, bid)).get(State.IN_DOUBT, 0)
        await _watch(run, bid, course, cut_at, until=began + cut.campaign_seconds + 600, end=True)
        assert joined
        course.ended_at = time.monotonic() - cut_at
        doubtful = [t for t, _, doubt in course.points if doubt and t > cut.for_seconds]
        course.settled_after_join = max(doubtful, default=cut.for_seconds) - cut.for_seconds
        course.truth = await the_truth(run, bid, cut.total)
        course.evidence = Counter(r.evidence.label for r in (await records(run.store, bid)).values())
        arrivals = (await run.simulator.http.get("/_simulator/arrivals")).json()
        (folder / "arrivals.json").write_text(json.dumps(arrivals), encoding="utf-8")
        stood = stalls({lane: arrivals[lane]["ms"] for lane in rates})
        course.stood = (len(stood), max((gap for _, gap in stood), default=0.0))
        for lane, rate in rates.items():
            over, peak, at_second = fullest(arrivals[lane]["ms"], rate, stood)
            over = max(over, fullest(arrivals[lane]["ms"], rate, stood, 10)[0])
            course.pace[lane] = (rate, over, peak, at_second - cut.after_seconds)
        course.exits = at.stop()
        for host in WORKERS:
            for name in ("duplicate.caused", "circuit.opened", "lease.lost", "owner.gone", "Traceback (most"):
                course.log[name] += at.log(host).count(name)
        course.log["Traceback"] = course.log.pop("Traceback (most")
        course.reported_itself = "owner.done" in at.log(VICTIM)
    return course


def stalls(arrivals: dict[str, list[float]]) -> list[tuple[float, float]]:
    """Return when this machine stood still, (end, seconds): no sender's message came for so long.

    Then those that were due come all at once as the simulator reads again. What is longer was no stall; on a
    machine of one's own there are none, and each second is held to its rate.
    """
    times = sorted(at_ms for ms in arrivals.values() for at_ms in ms)
    gaps = [(now, (now - before) / 1000) for before, now in itertools.pairwise(times)]
    return [(at_ms, gap) for at_ms, gap in gaps if STALL_SECONDS < gap < 2]


def fullest(
    ms: Sequence[float], rate: float, stood: Sequence[tuple[float, float]], seconds: float = 1.0
) -> tuple[float, int, float]:
    """Return the fullest window: how many above what may be in it, how many came, when (second) it began.

    In it may be what its time allows, a permit 50 ms early at its beginning and one 100 ms late at its end,
    and what stalls held up that ended in it or shortly before.
    """
    best, first = (-rate * seconds, 0, 0.0), 0
    for place, at_ms in enumerate(ms):
        while at_ms - ms[first] >= seconds * 1000:
            first += 1
        came = place - first + 1
        held_up = sum(gap for end, gap in stood if ms[first] - 3000 <= end <= at_ms)
        over = came - rate * (seconds + 0.15 + held_up)
        if over > best[0]:
            best = (over, came, (ms[first] - ms[0]) / 1000)
    return best


async def _all_there(run: Deployment) -> None:
    deadline = time.monotonic() + 180
    while await run.store.redis.zcard(run.store.keys.plain("workers")) < len(WORKERS):
        assert time.monotonic() < deadline, run.logs()[-3000:]
        await asyncio.sleep(0.05)


async def _watch(
    run: Deployment, bid: str, course: Course, cut_at: float, *, until: float, end: bool = False
) -> None:
    while time.monotonic() < until:
        found = await counts(run.store, bid)
        taken = int((await run.simulator.counts())["accepted"])
        doubt = found.get(State.IN_DOUBT, 0)
        course.points.append((time.monotonic() - cut_at, taken, doubt))
        course.most_in_doubt = max(course.most_in_doubt, doubt)
        if end and found.get(State.ACCEPTED, 0) + found.get(State.DEAD, 0) == sum(found.values()):
            return
        await asyncio.sleep(0.25)
    assert not end, f"not at its end: {await counts(run.store, bid)}\n{run.logs()[-4000:]}"


def prepare(network: Network) -> None:
    """Put all hosts into a network."""
    for number, host in enumerate((REDIS, TWILIO, DESK, *WORKERS), 1):
        network.add(host, number)
    network.introduce()
    assert set(NETS) == {QUEUE, WORLD}
