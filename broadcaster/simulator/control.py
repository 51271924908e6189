"""What a test asks and changes, under `/_simulator/`. It needs no credentials: it listens on loopback.

GET  health                      {"ok": true}
GET  accepted?after=N&limit=N&To=…&From=…   NDJSON, one accepted message a line, in order of acceptance
GET  counts                      totals, distinct recipients, copies, by fault, by answer
GET  duplicates?limit=N          {"To": copies, …} of recipients accepted more than once
GET  recipients?To=…&To=…        the truth about each: its tries with fault and answer, and its messages
GET  decisions?after=N           NDJSON, every try that did not simply end in 201
GET  arrivals?sender=…&summary=1 per `From` (or service): milliseconds of arrival, rate, fullest second
GET  concurrency                 tenths of seconds: requests being processed on average, and 429 for too many
GET  senders                     rate and waiting segments of each queue
GET  config                      the config, secrets left out
GET  templates                   Content templates with what WhatsApp thinks of them
GET  windows                     open 24-hour windows: by WhatsApp sender and person, the seconds left
GET  verifications?To=…          what Verify sent, codes and texts included
GET  callbacks?wait=SECONDS      status callbacks: pending, answered, failed, lost, by status; once none is
                                 pending, or that long
GET  finals?after=N              NDJSON, sid, recipient, last status and code of every message
GET  outcomes                    messages by status now, by last status, by code; inbound messages and replies
GET  inbound?after=N             NDJSON, what people wrote, what the webhook answered and what went back
GET  optouts                     who told Twilio to stop, by number or service
POST inbound                     a person writes (a JSON object, or a list of them; see `inbound.Written`);
                                 answered when the webhook was
POST config                      JSON object: these fields replace the config's
POST templates                   {"HX…": {"status": "paused"}, …}: fields of templates; null deletes one
POST reset                       forget messages, tries and counts
POST refuse?seconds=N            close the listener for that long
POST drop                        reset every open connection, idle ones too
"""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import msgspec

from broadcaster.simulator.config import changed, public
from broadcaster.simulator.contents import changed_templates, shown_templates
from broadcaster.simulator.exchange import Answer
from broadcaster.simulator.forms import as_number
from broadcaster.simulator.inbound import write
from broadcaster.simulator.truth import final_rows, outcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from broadcaster.simulator.exchange import Exchange
    from broadcaster.simulator.messages import Message
    from broadcaster.simulator.server import Door
    from broadcaster.simulator.world import World

LOOK_SECONDS: Final = 0.02
LINES_A_PIECE: Final = 500
NDJSON: Final = b"application/x-ndjson"
_encode = msgspec.json.Encoder().encode

Query = dict[str, list[str]]


async def serve(world: World, exchange: Exchange, door: Door | None) -> None:
    """Answer one control request."""
    body = await exchange.read_body() or b""
    query = parse_qs(exchange.query.decode(), keep_blank_values=True)
    name = exchange.path.removeprefix("/_simulator/")
    if exchange.method == "GET" and name in _STREAMS:
        return await exchange.stream(NDJSON, _pieces(_STREAMS[name](world, query)))
    try:
        if "wait" in query:
            await _settled(world, float(_one(query, "wait") or 0))
        found = (
            await write(world, body)
            if (exchange.method, name) == ("POST", "inbound")
            else _change(world, door, name, query, body)
            if exchange.method == "POST"
            else _look(world, name, query)
        )
    except (ValueError, msgspec.MsgspecError) as error:
        return await exchange.answer(Answer(400, _encode({"error": str(error)})))
    if found is None:
        return await exchange.answer(
            Answer(404, _encode({"error": f"no {exchange.method} {name} in the control API"}))
        )
    return await exchange.answer(Answer(200, _encode(found)))


async def _settled(world: World, seconds: float) -> None:
    """Wait until no callback is pending, at most that long."""
    ends = time.monotonic() + seconds
    while world.callbacks.pending and time.monotonic() < ends and not world.stopping:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_SECONDS)


def _look(world: World, name: str, query: Query) -> object:
    if name == "counts":
        return counts(world)
    looks: dict[str, Callable[[], object]] = {
        "health": lambda: {"ok": True},
        "duplicates": lambda: duplicates(world, int(_one(query, "limit") or 100)),
        "recipients": lambda: {to: recipient(world, to) for to in map(as_number, query.get("To", []))},
        "arrivals": lambda: _arrivals(world, query),
        "concurrency": world.crowd.slots,
        "senders": lambda: _senders(world),
        "callbacks": world.callbacks.summary,
        "outcomes": lambda: outcomes(world),
        "optouts": world.optouts.summary,
        "config": lambda: public(world.config),
        "verifications": lambda: world.verifications.rows(_one(query, "To")),
        "windows": lambda: world.chats.windows(world.now()),
        "templates": lambda: shown_templates(world),
    }
    return looks[name]() if name in looks else None


def _change(world: World, door: Door | None, name: str, query: Query, body: bytes) -> object:
    if name == "config":
        world.configure(changed(world.config, body))
        return public(world.config)
    if name == "templates":
        return changed_templates(world, body)
    if name == "reset":
        world.reset()
        return {"ok": True}
    if name == "refuse" and door is not None:
        seconds = float(_one(query, "seconds") or 1)
        door.shut(seconds)
        return {"refusing_seconds": seconds}
    if name == "drop" and door is not None:
        return {"dropped": door.drop_all()}
    return None


def counts(world: World) -> dict[str, Any]:
    """Return the totals. `copies` is how many messages went to somebody who already had one."""
    return {
        "requests": world.requests,
        "accepted": world.accepted,
        "distinct": len(world.by_to),
        "copies": world.copies,
        "faults": dict(world.faults),
        "answers": dict(world.answers),
        "decisions": len(world.decisions),
        "in_flight": world.in_flight,
        "max_in_flight": world.max_in_flight,
        "late": world.late,
    }


def duplicates(world: World, limit: int) -> dict[str, int]:
    """Return the recipients accepted more than once, with how often."""
    more = ((to, len(found)) for to, found in world.by_to.items() if not isinstance(found, int))
    return dict(islice(more, limit))


def recipient(world: World, to: str) -> dict[str, Any]:
    """Return the truth about one recipient: every try that was not simply accepted, and every message."""
    return {
        "tries": world.next_attempt(to) - 1,
        "decisions": [world.decisions[place] for place in world.decisions_by_to.get(to, [])],
        "accepted": [accepted_row(world, world.messages[number]) for number in world.messages_to(to)],
    }


def accepted_row(world: World, message: Message) -> dict[str, Any]:
    """Return one line of `accepted`: times are unix seconds on the true clock, and monotonic milliseconds."""
    return {
        "n": message.number,
        "sid": message.sid,
        "to": message.to,
        "from": message.sender,
        "service": message.service,
        "body": message.body,
        "content_sid": message.content_sid or None,
        "media": [url for url, _ in world.files.get(message.number, ())],
        "actions": list(world.actions.get(message.number, ())),
        "segments": message.segments,
        "attempt": message.attempt,
        "fault": message.fault,
        "received_at": message.created,
        "received_ms": message.received_ms,
        "status": message.status(world.now()),
    }


def _accepted(world: World, query: Query) -> Iterator[dict[str, Any]]:
    start = int(_one(query, "after") or -1) + 1
    limit = int(_one(query, "limit") or len(world.messages))
    to, sender = _one(query, "To"), _one(query, "From")
    numbers: Sequence[int] = range(start, len(world.messages)) if to is None else world.messages_to(to)
    found = (world.messages[number] for number in numbers if number >= start)
    wanted = (message for message in found if sender is None or message.sender == sender)
    return (accepted_row(world, message) for message in islice(wanted, limit))


def _inbound(world: World, query: Query) -> Iterator[object]:
    start = int(_one(query, "after") or -1) + 1
    heard = world.conversation.heard
    return (
        {"n": place} | world.conversation.row(heard[place], world.now()) for place in range(start, len(heard))
    )


def _decisions(world: World, query: Query) -> Iterator[object]:
    start = int(_one(query, "after") or -1) + 1
    places = range(start, len(world.decisions))
    return ({"n": place} | msgspec.structs.asdict(world.decisions[place]) for place in places)


_STREAMS: Final[dict[str, Callable[[World, Query], Iterator[object]]]] = {
    "accepted": _accepted,
    "decisions": _decisions,
    "finals": lambda world, query: final_rows(world, int(_one(query, "after") or -1) + 1),
    "inbound": _inbound,
}


def _pieces(rows: Iterator[object]) -> Iterator[bytes]:
    """Join rows to NDJSON, some hundred lines at a time."""
    while lines := [_encode(row) for row in islice(rows, LINES_A_PIECE)]:
        yield b"\n".join(lines) + b"\n"


def _arrivals(world: World, query: Query) -> dict[str, Any]:
    wanted = [as_number(sender) for sender in query.get("sender", [])] or list(world.arrivals)
    short = bool(_one(query, "summary"))
    return {sender: _pace(world, sender, short=short) for sender in wanted if sender in world.arrivals}


def _pace(world: World, sender: str, *, short: bool) -> dict[str, Any]:
    """Return arrivals: `rate` in segments a second from first to last, `peak` the fullest second."""
    times, segments = world.arrivals[sender], world.arrived_segments[sender]
    total = sum(segments)
    span = (times[-1] - times[0]) / 1000
    found: dict[str, Any] = {
        "requests": len(times),
        "segments": total,
        "seconds": span,
        "rate": (total - segments[0]) / span if span else None,
        "peak": _peak(times, segments),
    }
    return found if short else found | {"ms": list(times)}


def _peak(times: Sequence[float], segments: Sequence[int]) -> int:
    """Return the most segments in any window of one second."""
    most = held = first = 0
    for place, at in enumerate(times):
        held += segments[place]
        while at - times[first] >= 1000:  # noqa: PLR2004  milliseconds
            held -= segments[first]
            first += 1
        most = max(most, held)
    return most


def _senders(world: World) -> dict[str, Any]:
    now = world.now()
    return {name: {"rate": queue.rate, "waiting": queue.waiting(now)} for name, queue in world.queues.items()}


def _one(query: Query, name: str) -> str | None:
    values = query.get(name)
    return None if not values else as_number(values[-1])
