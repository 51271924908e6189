"""The stages of sending one message, each beside its floor: the same work written barely (see stages.py)."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgpack
import msgspec

from broadcaster.domain.content import Content, compile_content
from broadcaster.domain.failures import Kind, Outcome
from broadcaster.domain.record import State
from broadcaster.lanes import claims
from broadcaster.ledger.outcomes import RetryPolicy
from broadcaster.ledger.recording import Result, Results, record
from broadcaster.store.batches import Recipients, pack_batch, unpack_batch
from broadcaster.store.connection import open_store
from broadcaster.store.scripts import CONFIRM
from broadcaster.telemetry.metrics import Metrics
from broadcaster.twilio.answers import outcome_of_created
from broadcaster.twilio.forms import FormTemplate
from workers.contents import Batch
from workers.gate import GROUP as ASKED
from workers.gate import Gate
from workers.holding import Holding
from workers.outgoing import Message, Tally
from workers.plan import Held
from workers.posting import Poster
from workers.routes import Route, Routes
from workers.slices import SliceLog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broadcaster.twilio.send import MessageSender

GROUP: Final = 64
BATCH: Final = 500
COMPANY: Final = 90  # messages that share a round trip: seen at 64 in flight with answers at once
LANE: Final = "+15550000000"
TEXT: Final = "Dear {{name}}, your parcel arrives on Monday at 10:30. Reply STOP to end."
TO: Final = [f"+1415{i:07d}" for i in range(BATCH)]
NAMES: Final = [f"Anna {i}" for i in range(BATCH)]
ITEMS: Final = [claims.Item(i, 1, 0, 0) for i in range(BATCH)]
ANSWER: Final = (
    b'{"account_sid":"AC00000000000000000000000000000000","api_version":"2010-04-01","body":"x",'
    b'"date_created":"Sat, 21 Nov 2026 08:00:00 +0000","direction":"outbound-api","error_code":null,'
    b'"from":null,"messaging_service_sid":"MG00000000000000000000000000000000","num_media":"0",'
    b'"num_segments":"0","price":null,"sid":"SM0123456789abcdef0123456789abcdef","status":"accepted",'
    b'"to":"+15550000000"}'
)
SID: Final = "SM0123456789abcdef0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what to run for `messages` messages, and its floor. What it returns is awaited."""

    id: str
    what: str
    messages: int
    ours: Callable[[], Any]
    floor: Callable[[], Any] | None = None


class Accepting:
    """Twilio, which takes everything, a turn of the event loop later."""

    async def post(self, _form: bytes) -> Outcome:
        await asyncio.sleep(0)
        return Outcome(Kind.ACCEPTED, SID, 0, 201)


def slice_of(items: list[claims.Item]) -> claims.Slice:
    """A slice of our one batch, all due now."""
    return claims.Slice("1.aa.1", LANE, "b1", "0.0", 0.0, 0.0, items)


def batch_of(text: str) -> Batch:
    """Our one batch, unpacked."""
    recipients = Recipients(TO, None, ("name",), [NAMES])
    routes = Routes(Route(LANE, "sms"), Route(LANE, "whatsapp"))
    render = compile_content(Content(body=text)).over_rows(("name",))
    return Batch(recipients, render, FormTemplate([("From", LANE)]), routes=routes)


def reading() -> list[Stage]:
    """From Redis' answers to what may go."""
    head = b"".join(i.to_bytes(2, "big") + b"\0\0\1\0\0\0\0\0" for i in range(BATCH))
    reply = [0, [[b"1.aa.1", LANE.encode(), b"b1", b"0.0", 0, b"0.000", head]], b"", 0]
    claim = claims.claim("w", "1.aa", lanes=200, records=BATCH, horizon_seconds=0.04)
    raw = pack_batch(Recipients(TO, None, ("name",), [NAMES]))
    untyped = msgspec.msgpack.Decoder().decode
    yes = msgpack.packb([["", "1" * ASKED, []]], use_bin_type=False)
    batch, metrics = batch_of(TEXT), Metrics()
    holding = Holding(None, metrics, lambda: None)  # type: ignore[arg-type]
    poster = Poster(Accepting(), concurrency=ASKED, policy=RetryPolicy(), ended=lambda _: None)
    gate = Gate(None, holding, poster, metrics)  # type: ignore[arg-type]

    def claimed() -> None:
        for one in claim.decode(reply).slices:
            Held(one, 0.0)

    async def asked() -> None:
        held = Held(slice_of(ITEMS[: 3 * ASKED]), 0.0)
        held.batch = batch
        held.stale_after = float("inf")
        holding.plan.add(held)
        for _ in range(3):
            portions = gate.choose(1.0)
            verdicts = gate.question("w", portions).decode(yes)
            await gate.answered(portions, verdicts, asked_at=0.0, late=False, repeated=False)
            poster.ready.clear()

    def asked_barely() -> None:
        for at in range(0, 3 * ASKED, ASKED):
            some = ITEMS[at : at + ASKED]
            wanted = [value for item in some for value in (item[0], item[2])]
            msgpack.packb([["1.aa.1", LANE, "b1", "0.0", wanted, 0]], use_bin_type=False)
            deque((item for item, may in zip(some, untyped(yes)[0][1], strict=True) if may == "1"))

    return [
        Stage("claim", "claim: read a slice", BATCH, claimed, lambda: list(struct_rows(head))),
        Stage("intent", "intent: choose, ask the gate, take its answer", 3 * ASKED, asked, asked_barely),
        Stage(
            "unpack",
            "unpack a batch",
            BATCH,
            lambda: unpack_batch(raw),
            lambda: untyped(zlib.decompress(raw)),
        ),
    ]


def struct_rows(head: bytes) -> Any:
    """Return the rows of a slice."""
    return claims._HEAD.iter_unpack(head)


def making() -> list[Stage]:
    """From a record to its form."""
    rows = [[name] for name in NAMES]
    render = compile_content(Content(body=TEXT)).over_rows(("name",))
    own, same = batch_of(TEXT), batch_of("Your parcel arrives on Monday at 10:30. Reply STOP to end.")
    text = TEXT.replace("{{name}}", "%s")
    before, rest = b"From=%2B15550000000&To=", same.form(0, 1).partition(b"&Body=")[2]

    def forms(batch: Batch) -> None:
        for i in range(BATCH):
            batch.form(i, 1)

    return [
        Stage("render", "render a text with a name", BATCH, lambda: [render(row) for row in rows],
              lambda: [text % row[0] for row in rows]),
        Stage("form", "encode a form, the same text for all (rendering included)", BATCH, lambda: forms(same),
              lambda: [before + to.encode() + rest for to in TO]),
        Stage("form.own", "encode a form, a text for each (rendering included)", BATCH, lambda: forms(own)),
    ]  # fmt: skip


def ending() -> list[Stage]:
    """From Twilio's answer to what Redis is told."""
    sid_of = msgspec.json.Decoder(msgspec.defstruct("Sid", [("sid", str)])).decode
    raw = bytes.fromhex(SID[2:])
    ends = [Result(i, 1, State.ACCEPTED, 0, raw, 0, 0, 0, 0) for i in range(GROUP)]
    plain = [[LANE, "b1", "0.0", [[i, 1, 4, 0, raw, 0, 0, 0, 0, 0] for i in range(GROUP)]]]
    reply = msgpack.packb([GROUP, [], [], [], 0, [], []])
    metrics, bounds = Metrics(), [0.01 * i for i in range(12)]
    message = Message(Held(slice_of(ITEMS), 0.0), ITEMS[0], batch_of(TEXT))

    def counted() -> None:
        tally = Tally()
        for _ in range(GROUP):
            sent = tally.of(message)
            sent.accepted += 1
            sent.segments += 1
            sent.latencies.append(0.0123)
        tally.report(metrics)

    def counted_barely() -> None:
        counts = [0] * 13
        for _ in range(GROUP):
            counts[bisect_left(bounds, 0.0123)] += 1

    told = SliceLog()
    one, many = Held(slice_of(ITEMS[:1]), 0.0), Held(slice_of(ITEMS), 0.0)
    return [
        Stage("decode", "decode Twilio's answer", 1,
              lambda: outcome_of_created(201, ANSWER), lambda: sid_of(ANSWER)),
        Stage("record", "record: pack outcomes, read the answer", GROUP,
              lambda: record("w", [Results(LANE, "b1", "0.0", ends)]).decode(reply),
              lambda: msgpack.packb(plain, use_bin_type=False)),
        Stage("metrics", "count it in the metrics", GROUP, counted, counted_barely),
        Stage("log", "log a slice of 500", BATCH, lambda: told.ended(many, time.monotonic())),
        Stage("log.alone", "log a slice of one message (a lane of 1/s)", 1,
              lambda: told.ended(one, time.monotonic())),
    ]  # fmt: skip


def running() -> list[Stage]:
    """What a runner does around a POST: its form, clocks, limits, tally and outcome."""
    batch = batch_of("hello")
    held = Held(slice_of(ITEMS), 0.0)
    form = batch.form(0, 1)

    async def through_the_poster() -> None:
        ended = asyncio.Event()
        left = 20 * BATCH

        def count(_: Held) -> None:
            nonlocal left
            left -= 1
            if not left:
                ended.set()

        poster = Poster(Accepting(), concurrency=GROUP, policy=RetryPolicy(), ended=count)
        poster.lease_until = float("inf")
        poster.start()
        for _ in range(20):
            poster.approve([Message(held, item, batch) for item in ITEMS])
        await ended.wait()
        poster.take_results()
        await poster.stop()

    async def barely() -> None:
        waiting, post = deque(ITEMS * 20), Accepting().post

        async def run() -> None:
            while waiting:
                waiting.popleft()
                await post(form)

        await asyncio.gather(*(run() for _ in range(GROUP)))

    return [Stage("runner", "a runner: everything around the POST", 20 * BATCH, through_the_poster, barely)]


def posting(url: str, sender: MessageSender, client: Any) -> list[Stage]:
    """The POST itself."""
    form, count = batch_of("hello there, this is an alert").form(0, 1), 3_000

    async def each(post: Callable[[], Awaitable[Any]]) -> None:
        numbers = iter(range(count))

        async def run() -> None:
            for _ in numbers:
                await post()

        await asyncio.gather(*(run() for _ in range(GROUP)))

    async def barely() -> None:
        response = await client.post(url).body_bytes(form).build().send()
        json.loads(bytes(await response.bytes()))

    return [
        Stage(
            "post",
            "POST and its outcome",
            count,
            lambda: each(lambda: sender.post(form)),
            lambda: each(barely),
        )
    ]


async def talking(url: str) -> tuple[Stage, Callable[[], Awaitable[None]]]:
    """A round trip to Redis with three scripts in it, as the worker's exchanges have."""
    store = await open_store(url, "bench:")
    await store.run(CONFIRM)
    where = urlsplit(url)
    if where.scheme == "unix":
        reader, writer = await asyncio.open_unix_connection(where.path)
    else:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)

    async def raw() -> None:
        writer.write(b"*1\r\n$4\r\nPING\r\n" * 3)
        await reader.readexactly(21)

    async def close() -> None:
        writer.close()
        await store.close()

    ours = Stage(
        "redis",
        f"a round trip to Redis, shared by {COMPANY}",
        COMPANY,
        lambda: store.run_each([CONFIRM] * 3),
        raw,
    )
    return ours, close
