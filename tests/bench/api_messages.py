"""How many `POST /v1/messages` one API process on one core takes, beside bare servers; accept to POST.

    python tests/bench/api_messages.py [--seconds 6] [--repeats 3] [--connections 64] [--json FILE] [--quick]

Needs wrk. The API has core 0 to itself, Redis and wrk share core 1; ours, a bare FastAPI route answering 202
and a bare ASGI application on the same server are loaded in turn, so that what else the machine does meets
all of them. Then, on an idle lane, one at a time: from the request's first byte to Twilio's having the POST.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from deployment import deployment
from http_load import ASGI, FASTAPI, Load, Target, bare_server, command_of, load, pin_threads, rows_of
from measured import Report, Row, told, write
from pinning import MEASURED, OTHERS, pin
from serving import key_for, serving

from broadcaster.lanes.control import pause_account, set_rate
from broadcaster.store.connection import open_store
from broadcaster.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

SCRIPT: Final = Path(__file__).with_name("post_messages.lua")
PATH: Final = "/v1/messages"
SENDER: Final = "+15550000001"
#: The first messages warm what they go through.
_WARM: Final = 10


async def requests_a_second(folder: Path, options: argparse.Namespace) -> list[Row]:
    """Load all in turn; nothing is sent meanwhile, and what was accepted is counted in Redis."""
    found: dict[str, list[Load]] = {"api.messages": [], "api.bare.fastapi": [], "api.bare.asgi": []}
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(EmbeddedServer(folder / "redis", port=0))
        store = await open_store(redis.url, "bc:")
        stack.push_async_callback(store.close)
        redis_pid = int((await store.redis.info("server"))["process_id"])
        pin(redis_pid, OTHERS)
        await store.run(pause_account("the benchmark"))
        api = await stack.enter_async_context(serving(store))
        pin_threads(api.process.pid, MEASURED)
        targets = {
            "api.messages": Target(api.process.pid, api.url, redis_pid),
            "api.bare.fastapi": await stack.enter_async_context(bare_server(FASTAPI)),
            "api.bare.asgi": await stack.enter_async_context(bare_server(ASGI)),
        }
        key = {"BROADCASTER_API_KEY": await key_for(store, rate=1e5)}
        how: dict[str, Any] = {"path": PATH, "connections": options.connections, "variables": key}
        for target in targets.values():
            await load(target, SCRIPT, seconds=1, **how)
        before = await queued(store)
        for _ in range(options.repeats):
            for name, target in targets.items():
                found[name].append(await load(target, SCRIPT, seconds=options.seconds, **how))
        in_redis = await queued(store) - before
    ours, command = found["api.messages"], command_of("api_messages.py")
    answered = sum(run.requests for run in ours)
    if in_redis < answered:
        raise SystemExit(f"{answered - in_redis} messages were accepted and are not in Redis")
    return [
        *rows_of("api.messages", "POST /v1/messages", ours, command),
        *rows_of("api.bare.fastapi", "a bare FastAPI route with a model", found["api.bare.fastapi"], command),
        *rows_of("api.bare.asgi", "a bare ASGI application", found["api.bare.asgi"], command),
    ]


async def queued(store: Store) -> int:
    """Count the messages of all streams."""
    keys = store.keys
    names = await store.redis.zrange(keys.plain("streams"), 0, -1)
    totals = [await store.redis.hget(keys.broadcast(name.decode()), "total") for name in names]
    return sum(int(total or 0) for total in totals)


async def accept_to_post(folder: Path, options: argparse.Namespace) -> list[Row]:
    """Measure from a request to Twilio's having the message, one at a time, on an idle lane."""
    took: list[float] = []
    async with deployment(folder, latency_ms=0) as run:
        mine = {n: v for n, v in run.environment.items() if n.startswith(("TWILIO_", "BROADCASTER_"))}
        await run.store.run(set_rate(SENDER, 1_000))
        async with serving(run.store, **mine, TWILIO_PHONE_NUMBER=SENDER) as api:
            for number in range(_WARM + options.messages):
                took.append(time.time())
                body = {"to": f"+1415{number:07d}", "body": "x"}
                (await api.client.post(PATH, json=body)).raise_for_status()
                async with asyncio.timeout(10):
                    while (await run.simulator.counts())["accepted"] <= number:  # noqa: ASYNC110
                        await asyncio.sleep(0.001)
        arrived = {line["to"]: line["received_at"] for line in await run.simulator.lines("accepted")}
    delays = [1000 * (arrived[f"+1415{n:07d}"] - began) for n, began in enumerate(took)][_WARM:]
    cuts, command = quantiles(delays, n=100), command_of("api_messages.py")
    note = f"of {len(delays)} messages, one at a time"
    return [
        Row("api.accept_to_post", "accept to POST, idle lane, p99", "ms", (cuts[98],), command, note),
        Row("api.accept_to_post.p50", "accept to POST, idle lane, median", "ms", (cuts[49],), command, note),
    ]


async def main(options: argparse.Namespace) -> None:
    """Print all of it."""
    rows: list[Row] = []
    for work in (requests_a_second, accept_to_post):
        with tempfile.TemporaryDirectory() as folder:
            found = await work(Path(folder), options)
        rows += found
        print(told(found), flush=True)
    write(Report("api_messages", tuple(rows)), options.json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--connections", type=int, default=128)
    parser.add_argument("--messages", type=int, default=300, help="one at a time, on an idle lane")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="does it work?")
    given = parser.parse_args()
    if given.quick:
        given.seconds, given.repeats, given.messages = 1, 1, 10
    asyncio.run(main(given))
