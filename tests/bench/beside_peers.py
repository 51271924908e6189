"""Ours beside what a team would otherwise put together to send through Twilio, in turn and in one run.

    python tests/bench/beside_peers.py                                       # all, three rounds, 7 minutes
    python tests/bench/beside_peers.py --only peer.bullmq,peer.loop.aiohttp  # ours is always with them
    python tests/bench/beside_peers.py --quick

Each peer has the usual form: a job per recipient on a Redis queue, a worker that POSTs to Messages; none
keeps a ledger, paces a sender or settles doubt. The bare loops are HTTP clients with no queue at all. All
post to the same sink, the sender on core 0, the rest on core 1; the first tenth of the messages is warm-up,
but where a row is counted from the first message on.
The peers' packages are installed into `--cache` (name==version in tests/bench/peers/*.txt); the peers' Redis
keeps nothing on disk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.send_path import CPU, RATE, ours, ours_from_the_first_on
from benching.peers import FIRST_MESSAGES, PEERS, NotRunError, Peer, command_in, default_cache, run
from benching.table import FIRST, OURS, TLS
from measured import Report, Row, told, write
from one_worker import Bed, bed
from pinning import OTHERS, pin

from broadcaster.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator


class Seen:
    """Rates and CPU time of every sender, a sample a round, and why a peer has none."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.samples: dict[str, list[tuple[float, float]]] = {}
        self.not_run: dict[str, str] = {}
        self.words: dict[str, tuple[str, str]] = {
            OURS: ("ours, the whole send path", ""),
            OURS + TLS: ("ours, the whole send path, over TLS", ""),
            OURS + FIRST: ("ours, counted from the first message on", ""),
        }

    def add(self, name: str, rate: float, cpu_us: float) -> None:
        """Note what one round showed."""
        self.samples.setdefault(name, []).append((rate, cpu_us))
        print(f"{self.words[name][0]}: {rate:,.0f} {RATE}, {cpu_us:,.1f} {CPU}", flush=True)

    def give_up(self, peer: Peer, why: str) -> None:
        """Note that a peer is not measured any more; what it showed before doesn't count."""
        self.not_run[peer.id] = why
        self.samples.pop(peer.id, None)
        print(f"{peer.what}: not run: {why}", flush=True)

    def report(self) -> Report:
        """Return a row for each sender, and one for its CPU time."""
        rows: list[Row] = []
        for name, samples in self.samples.items():
            what, note = self.words[name]
            rates, cpu = zip(*samples, strict=True)
            rows.append(Row(name, what, RATE, rates, self.command, note))
            rows.append(Row(f"{name}.cpu", what, CPU, cpu, self.command, note))
        return Report("peers", tuple(rows), not_run=self.not_run)


@contextlib.contextmanager
def peers_redis() -> Iterator[str]:
    """Run the Redis of the peers: as it comes in tutorials, with nothing on disk."""
    options = {"appendonly": "no"}
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedServer(Path(folder), port=0, options=options) as server,
    ):
        if server.process is not None:
            pin(server.process.pid, OTHERS)
        yield server.tcp_url


def ready(peers: list[Peer], cache: Path, seen: Seen) -> dict[str, list[str]]:
    """Return the commands of the peers that can be run here."""
    commands = {}
    for peer in peers:
        seen.words[peer.id] = (peer.what, peer.note)
        try:
            commands[peer.id] = command_in(cache, peer)
        except NotRunError as error:
            seen.give_up(peer, str(error))
    return commands


async def a_round(options: argparse.Namespace, seen: Seen, at: Bed, redis_url: str) -> None:
    """Let ours and every peer send once; those over TLS after those without."""
    for tls in (False, True):
        group = [peer for peer in options.peers if peer.tls == tls and peer.id not in seen.not_run]
        if not group:
            continue
        mine = await ours(at, max(int(options.recipients * options.scale), 2_000), tls=tls)
        seen.add(OURS + TLS if tls else OURS, mine.rate, mine.worker_us)
        if any(peer.id.endswith(FIRST) for peer in group):
            mine = await ours_from_the_first_on(at, max(int(FIRST_MESSAGES * options.scale), 500))
            seen.add(OURS + FIRST, mine.rate, mine.worker_us)
        where = at.sink_with_tls if tls else at.sink
        for peer in group:
            messages = max(int(peer.messages * options.scale), 500)
            try:
                told = await asyncio.to_thread(run, options.commands[peer.id], messages, where, redis_url)
            except NotRunError as error:
                seen.give_up(peer, str(error))
            else:
                seen.add(peer.id, told.rate, told.cpu_us)


async def measure(options: argparse.Namespace) -> Report:
    """Run all rounds."""
    seen = Seen(options.command)
    options.commands = ready(options.peers, options.cache, seen)
    with peers_redis() as redis_url:
        async with bed() as at:
            for _ in range(options.repeats):
                await a_round(options, seen, at, redis_url)
    return seen.report()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="one round of a fiftieth, three peers")
    parser.add_argument("--only", default="", help="ids of peers, with commas")
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("--recipients", type=int, default=60_000, help="of ours in a round")
    parser.add_argument("--scale", type=float, default=1.0, help="share of each one's messages in a round")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where the peers are installed")
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.scale = 1, 0.02
        options.only = options.only or "peer.bullmq,peer.asynq,peer.loop.pyreqwest"
    wanted = set(filter(None, options.only.split(","))) or {peer.id for peer in PEERS}
    if unknown := wanted - {peer.id for peer in PEERS}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    options.peers = [peer for peer in PEERS if peer.id in wanted]
    shown = ["--repeats", str(options.repeats), *(["--only", options.only] if options.only else [])]
    options.command = f"python tests/bench/beside_peers.py {shlex.join(shown)}"
    report = asyncio.run(measure(options))
    print(told(report.rows))
    write(report, options.json)


if __name__ == "__main__":
    main()
