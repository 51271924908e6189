"""Status callbacks: how many one API process on one core takes; that none of a campaign's is miscounted.

    python tests/bench/callbacks.py [--seconds 6] [--repeats 3] [--callbacks 300000] [--json FILE] [--quick]

Needs wrk. (a) Requests a second with signature check and ledger update. The API has core 0 to itself, Redis
and wrk share core 1; in turn with ours a bare ASGI application on the same server (uvicorn, httptools,
uvloop) and its parser alone, which is the floor, get the same requests. (b) Callbacks of a campaign,
shuffled, 20 % of them twice, 5 % of the messages before our own 201 was written, over HTTP with real
signatures: the ledger must
end exactly as the truth. Exit 1 if it does not.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parents[1]))

from http_load import ASGI, PARSER, Load, Target, bare_server, command_of, load, pin_threads, rows_of
from loading import counts, records
from loading import load as load_broadcast
from measured import Report, Row, told, write
from pinning import MEASURED, OTHERS, pin
from serving import Api, serving

from broadcaster.domain.record import Record, State
from broadcaster.domain.reference import Reference, References
from broadcaster.lanes.control import pause_account
from broadcaster.ledger.callbacks import STATES
from broadcaster.ledger.recording import Result, Results, record
from broadcaster.store.connection import open_store
from broadcaster.store.embedded import EmbeddedServer
from broadcaster.twilio.signatures import sign

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.store.connection import Store

LANE: Final = "+15550000001"
PUBLIC: Final = "https://alerts.example.org"
SECRET: Final = "s" * 32
TOKEN: Final = "t" * 32
BATCH: Final = 500
SCRIPT: Final = Path(__file__).with_name("post_callbacks.lua")
#: How messages end, by share, with the statuses on the way.
ENDS: Final = (
    (0.78, ("sent", "delivered"), 0),
    (0.10, ("queued", "sent", "delivered", "read"), 0),
    (0.05, ("sent", "undelivered"), 30003),
    (0.03, ("sent", "undelivered"), 30005),
    (0.02, ("failed",), 30008),
    (0.02, ("sent",), 0),
)


class Message(NamedTuple):
    """One recipient's message and what Twilio tells of it."""

    row: int
    sid: str
    statuses: tuple[str, ...]
    code: int
    early: bool

    @property
    def end(self) -> State:
        """What the ledger must hold in the end."""
        return STATES[self.statuses[-1]]


def messages(count: int, chance: random.Random) -> list[Message]:
    """Draw so many messages."""
    weights = [share for share, *_ in ENDS]
    drawn = chance.choices(ENDS, weights, k=count)
    return [
        Message(row, f"SM{chance.getrandbits(128):032x}", statuses, code, chance.random() < 0.05)
        for row, (_, statuses, code) in enumerate(drawn)
    ]


def wire(message: Message, status: str, references: References, bid: str) -> tuple[str, str, str]:
    """Return target, signature and body of one callback."""
    at = Reference(bid, f"0.{message.row // BATCH}", message.row % BATCH, 1)
    target = f"/webhooks/twilio/status?r={references.make(at)}"
    form = {
        "ApiVersion": "2010-04-01",
        "SmsSid": message.sid,
        "SmsStatus": status,
        "RawDlrDoneDate": "2611211914",
        "MessageSid": message.sid,
        "AccountSid": "AC" + "0" * 32,
        "To": f"+1415{message.row:07d}",
        "From": LANE,
        "MessageStatus": status,
    }
    if STATES[status] in (State.UNDELIVERED, State.FAILED):
        form["ErrorCode"] = str(message.code)
    return target, sign(TOKEN, PUBLIC + target, form.items()), urlencode(form)


async def sent(store: Store, count: int) -> str:
    """Make a campaign whose messages have all left and of none of which an answer is written."""
    bid = await load_broadcast(store, {LANE: count}, batch=BATCH)
    now = int(time.time())
    left = Record(State.SENDING, 1, attempt=1, began=now, changed=now).pack()
    for number, begun in enumerate(range(0, count, BATCH)):
        size = min(BATCH, count - begun)
        await store.redis.set(store.keys.ledger(bid, f"0.{number}"), left * size)
    await store.redis.hset(store.keys.broadcast(bid), mapping={"n0": 0, "n1": count})
    return bid


async def accept(store: Store, bid: str, some: Iterable[Message]) -> None:
    """Write our own 201s, by batch, as a worker would."""
    by_batch: dict[int, list[Result]] = {}
    for one in some:
        outcome = Result(one.row % BATCH, 1, State.ACCEPTED, 0, bytes.fromhex(one.sid[2:]), 0, 0, 0, 0)
        by_batch.setdefault(one.row // BATCH, []).append(outcome)
    for batch, outcomes in by_batch.items():
        await store.run(record("worker", [Results(LANE, bid, f"0.{batch}", outcomes)]))


async def requests_a_second(store: Store, api: Api, folder: Path, options: argparse.Namespace) -> list[Row]:
    """Load all in turn: of ours every request is another callback, most of which change a record."""
    lines = folder / "callbacks.tsv"
    drawn = messages((options.seconds * options.repeats + 1) * 8_000, random.Random(1))
    bid, references = await sent(store, len(drawn)), References([SECRET])
    with lines.open("w") as file:
        for one in drawn:
            for status in one.statuses:
                file.write("\t".join(wire(one, status, references, bid)) + "\n")
    redis_pid = int((await store.redis.info("server"))["process_id"])
    pin(redis_pid, OTHERS)
    pin_threads(api.process.pid, MEASURED)
    found: dict[str, list[Load]] = {"api.callbacks": [], "api.bare.asgi.form": [], "api.bare.parser": []}
    done = dict.fromkeys(found, 0)
    async with AsyncExitStack() as stack:
        targets = {
            "api.callbacks": Target(api.process.pid, api.url, redis_pid),
            "api.bare.asgi.form": await stack.enter_async_context(bare_server(ASGI)),
            "api.bare.parser": await stack.enter_async_context(bare_server(PARSER)),
        }
        for warm in (True, *[False] * options.repeats):
            for name, target in targets.items():
                variables = {"CALLBACKS": str(lines), "START": str(done[name])}
                seconds = 1 if warm else options.seconds
                run = await load(
                    target, SCRIPT, seconds=seconds, connections=options.connections, variables=variables
                )
                done[name] += run.requests
                if not warm:
                    found[name].append(run)
    command, note = command_of("callbacks.py"), "the same requests"
    return [
        *rows_of("api.callbacks", "status callbacks", found["api.callbacks"], command),
        *rows_of(
            "api.bare.asgi.form", "a bare ASGI application, 204", found["api.bare.asgi.form"], command, note
        ),
        *rows_of("api.bare.parser", "the parser alone, 204", found["api.bare.parser"], command, note),
    ]


async def play(port: int, requests: list[bytes], connections: int) -> Counter[bytes]:
    """Send each request once, over so many connections; count the answers by status."""
    answers: Counter[bytes] = Counter()
    left = iter(requests)

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in left:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            answers[head[9:12]] += 1
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return answers


def http(target: str, signature: str, body: str) -> bytes:
    """Return a request as it goes over the wire."""
    return (
        f"POST {target} HTTP/1.1\r\nHost: here\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"X-Twilio-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def campaign(store: Store, api: Api, callbacks: int, connections: int) -> bool:
    """Play a whole campaign's callbacks, and compare the ledger with the truth."""
    chance = random.Random(5)
    per_message = sum(share * len(statuses) for share, statuses, _ in ENDS)
    drawn = messages(int(callbacks / 1.2 / per_message), chance)
    bid, references = await sent(store, len(drawn)), References([SECRET])
    requests = [http(*wire(one, status, references, bid)) for one in drawn for status in one.statuses]
    requests += chance.sample(requests, len(requests) // 5)
    chance.shuffle(requests)
    await accept(store, bid, (one for one in drawn if not one.early))
    early = [one for one in drawn if one.early]
    chance.shuffle(early)
    port = int(api.url.rsplit(":", 1)[1])
    began = time.monotonic()
    half = len(requests) // 2
    answers = await play(port, requests[:half], connections)
    await accept(store, bid, early[: len(early) // 2])
    answers += await play(port, requests[half:], connections)
    await accept(store, bid, early[len(early) // 2 :])
    took = time.monotonic() - began
    ledger = await records(store, bid)
    wrong = [
        one
        for one in drawn
        if (found := ledger[f"0.{one.row // BATCH}", one.row % BATCH]).state is not one.end
        or found.sid != one.sid
        or found.code != (one.code if one.end in (State.UNDELIVERED, State.FAILED) else 0)
    ]
    counted, truth = await counts(store, bid), Counter(one.end for one in drawn)
    print(
        f"{len(requests):,} callbacks of {len(drawn):,} messages, {len(early):,} of them early: "
        f"{len(requests) / took:,.0f}/s, answered {dict(answers)}; {len(wrong)} records wrong, "
        f"counters {'equal' if counted == truth else f'{counted}, not {dict(truth)}'}"
    )
    return not wrong and counted == truth and answers == {b"204": len(requests)}


async def main(options: argparse.Namespace) -> int:
    """Print all of it; 1 if the ledger is not the truth."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder) / "redis", port=0) as redis:
        store = await open_store(redis.url, "bench:")
        await store.run(pause_account("the benchmark"))
        more = {
            "BROADCASTER_PUBLIC_URL": PUBLIC,
            "BROADCASTER_SECRET_KEY": SECRET,
            "TWILIO_AUTH_TOKEN": TOKEN,
        }
        async with serving(store, **more) as api:
            rows = await requests_a_second(store, api, Path(folder), options)
            print(told(rows), flush=True)
            write(Report("callbacks", tuple(rows)), options.json)
            kept = True
            if options.callbacks:
                kept = await campaign(store, api, options.callbacks, options.connections)
        await store.close()
    return 0 if kept else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--callbacks", type=int, default=60_000, help="of the campaign; 0 for none")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="does it work?")
    given = parser.parse_args()
    if given.quick:
        given.seconds, given.repeats, given.callbacks = 1, 1, 2_000
    sys.exit(asyncio.run(main(given)))
