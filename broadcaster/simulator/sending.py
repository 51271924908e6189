"""POST Messages.json: decide, accept or refuse, and end the exchange as decided."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final

import msgspec

from broadcaster.simulator.create import accept
from broadcaster.simulator.encoding import count_segments
from broadcaster.simulator.errors import error_body, status_of
from broadcaster.simulator.exchange import Answer, Exchange
from broadcaster.simulator.faults import Fault, Way
from broadcaster.simulator.forms import Form, parse_form
from broadcaster.simulator.messages import Message, resource
from broadcaster.simulator.rules import refusal
from broadcaster.simulator.world import Decision, World

THROTTLED: Final = 20429
SUSPENDED: Final = 20005
#: The answer shows the message as it was before its queue moved: `queued`, `accepted` or `scheduled`.
JUST_BEFORE: Final = 1e-3
_PAGE: Final = b"<html><head><title>Blocked</title></head><body><h1>This is not Twilio</h1></body></html>"
_GARBAGE: Final = b'{"sid": "SM\x00\xff\xfe, this is not JSON'
_jitter = random.Random(0)  # noqa: S311  spreads latency, guards nothing
_encoder = msgspec.json.Encoder()


async def create_message(world: World, exchange: Exchange, account: str, *, testing: bool) -> None:
    """Serve one Create Message request."""
    raw = await exchange.read_body()
    if raw is None:
        world.answers["client gone"] += 1
        return
    encoded = exchange.header(b"content-type").startswith(b"application/x-www-form-urlencoded")
    form = parse_form(raw) if encoded else Form({}, [])
    if testing:
        return await _answer(world, exchange, _try_out(world, form, account))
    fields = form.fields
    to = fields.get("To", "")
    attempt = world.next_attempt(to)
    if to:
        lane = fields.get("From") or fields.get("MessagingServiceSid") or ""
        world.arrived(lane, exchange.arrived_ms, count_segments(fields.get("Body", "")))
    config = world.config
    if config.concurrency_limit and world.in_flight > config.concurrency_limit:
        return await _refuse(world, exchange, _decision(exchange, to, attempt, "concurrency", THROTTLED))
    if config.account_status != "active":
        return await _refuse(world, exchange, _decision(exchange, to, attempt, "account", SUSPENDED))
    fault = None if world.plan.empty else world.plan.decide(to, attempt)
    if fault is not None and not fault.accepts:
        world.record(_decision(exchange, to, attempt, fault.name, fault.code, fault.status))
        return await _end(world, exchange, fault, Answer(fault.status, error_body(fault.code, fault.status)))
    code = refusal(form, config, time.time() + config.clock_skew_seconds, testing=False)
    if code:
        return await _refuse(world, exchange, _decision(exchange, to, attempt, "", code))
    if fault is not None and fault.way is Way.LATE:
        return await _accept_late(world, exchange, form, account, attempt)
    message = _keep(world, exchange, form, account, attempt, fault.name if fault else "")
    if isinstance(message, int):
        return await _refuse(world, exchange, _decision(exchange, to, attempt, "", message))
    answer = Answer(201, _encoder.encode(resource(message, message.created - JUST_BEFORE, config.clock_skew_seconds)))
    if fault is None:
        return await _answer(world, exchange, answer)
    decision = _decision(exchange, to, attempt, fault.name, fault.code, fault.status)
    decision.sid = message.sid
    world.record(decision)
    return await _end(world, exchange, fault, answer)


def _keep(
    world: World, exchange: Exchange, form: Form, account: str, attempt: int, fault: str
) -> Message | int:
    """Accept now; returns a code where the queue is full."""
    now, received = time.time(), exchange.arrived_ms
    return accept(world, form, account=account, now=now, received_ms=received, attempt=attempt, fault=fault)


def _decision(exchange: Exchange, to: str, attempt: int, fault: str, code: int, status: int = 0) -> Decision:
    return Decision(
        to=to,
        attempt=attempt,
        fault=fault,
        status=status or (status_of(code) if code else 0),
        code=code,
        arrived_ms=exchange.arrived_ms,
    )


def _try_out(world: World, form: Form, account: str) -> Answer:
    """Answer test credentials: all checks, nothing kept."""
    code = refusal(form, world.config, time.time(), testing=True)
    if code:
        return Answer(status_of(code), error_body(code, status_of(code)))
    scratch = World(world.config)
    made = accept(scratch, form, account=account, now=time.time(), received_ms=0, attempt=1, fault="")
    assert isinstance(made, Message)  # noqa: S101  a fresh queue is never full
    return Answer(201, _encoder.encode(resource(made, made.created - JUST_BEFORE, world.config.clock_skew_seconds)))


async def _refuse(world: World, exchange: Exchange, decision: Decision) -> None:
    world.record(decision)
    await _answer(
        world, exchange, Answer(decision.status, error_body(decision.code, decision.status)), decision.code
    )


async def _accept_late(world: World, exchange: Exchange, form: Form, account: str, attempt: int) -> None:
    """Accept after the configured delay, whether or not the client still listens; then answer 201."""
    decision = world.record(_decision(exchange, form.fields["To"], attempt, "late_accept", 0, 201))
    generation = world.generation
    world.late += 1
    await world.pause(world.config.accept_delay_seconds)
    if (
        world.stopping or world.generation != generation
    ):  # reset meanwhile: that request belongs to a forgotten world
        return await exchange.drop()
    world.late -= 1
    message = _keep(world, exchange, form, account, attempt, "late_accept")
    if isinstance(message, int):
        return await _answer(
            world, exchange, Answer(status_of(message), error_body(message, status_of(message)))
        )
    world.accepted_late(decision, message.sid)
    body = _encoder.encode(resource(message, message.created - JUST_BEFORE, world.config.clock_skew_seconds))
    return await _answer(world, exchange, Answer(201, body))


async def _end(world: World, exchange: Exchange, fault: Fault, answer: Answer) -> None:
    """End a faulty exchange. `answer` is what a healthy one would get, or the refusal."""
    match fault.way:
        case Way.DROP:
            world.answers["dropped"] += 1
            await exchange.drop()
        case Way.HANG:
            world.answers["hung"] += 1
            await exchange.gone()
        case Way.CUT:
            world.answers["cut"] += 1
            await exchange.answer_half(answer)
        case Way.SLOW:
            world.answers["201"] += 1
            await exchange.answer_slowly(answer, world.config.slow_body_seconds)
        case Way.GARBAGE:
            await _answer(world, exchange, Answer(fault.status, _GARBAGE))
        case Way.HTML:
            await _answer(world, exchange, Answer(fault.status, _PAGE, b"text/html; charset=utf-8"))
        case Way.REDIRECT:
            there = ((b"location", exchange.path.encode()),)
            await _answer(world, exchange, Answer(fault.status, b"", extra=there))
        case _:
            failed = Answer(fault.status, error_body(fault.code, fault.status))
            await _answer(world, exchange, failed, fault.code)


async def _answer(world: World, exchange: Exchange, answer: Answer, code: int = 0) -> None:
    """Wait out the configured latency, answer and count."""
    config = world.config
    if config.latency_ms or config.latency_jitter_ms:
        late = config.latency_ms + _jitter.random() * config.latency_jitter_ms
        await asyncio.sleep(late / 1000)
    if answer.status == 429 and config.retry_after_seconds is not None:  # noqa: PLR2004
        extra = (*answer.extra, (b"retry-after", b"%d" % config.retry_after_seconds))
        answer = Answer(answer.status, answer.body, answer.content_type, extra)
    world.answers[f"{answer.status}/{code}" if code else str(answer.status)] += 1
    await exchange.answer(answer)
