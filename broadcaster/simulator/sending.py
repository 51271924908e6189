"""POST Messages.json: decide, accept or refuse, and end the exchange as decided."""

from __future__ import annotations

import asyncio
import random
from typing import Final, NamedTuple

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


class _Try(NamedTuple):
    """One request that could be read: who sends what, and which try it is."""

    exchange: Exchange
    form: Form
    account: str
    to: str
    lane: str
    attempt: int


async def create_message(world: World, exchange: Exchange, account: str, *, testing: bool) -> None:
    """Serve one Create Message request."""
    raw = await exchange.read_body()
    if raw is None:
        world.answers["client gone"] += 1
        return
    encoded = exchange.header(b"content-type").startswith(b"application/x-www-form-urlencoded")
    form = parse_form(raw) if encoded else Form({}, [])
    if testing:
        await _answer(world, exchange, _try_out(world, form, account))
        return
    fields = form.fields
    to = fields.get("To", "")
    lane = fields.get("From") or fields.get("MessagingServiceSid") or ""
    if to:
        world.arrived(lane, exchange.arrived_ms, count_segments(fields.get("Body", "")))
    await _serve(world, _Try(exchange, form, account, to, lane, world.next_attempt(to)))


async def _serve(world: World, this: _Try) -> None:
    """Turn a try away at the door, or process it."""
    config = world.config
    if config.concurrency_limit and world.in_flight > config.concurrency_limit:
        world.crowd.refuse()
        await _refuse(world, this, THROTTLED, "concurrency")
        return
    crowd = world.crowd
    crowd.enter()
    try:
        await _process(world, this)
    finally:
        crowd.leave()


async def _process(world: World, this: _Try) -> None:
    """Refuse, fail or accept one try, in the order in which Twilio's parts would."""
    config = world.config
    if config.account_status != "active":
        await _refuse(world, this, SUSPENDED, "account")
    else:
        fault = None if world.plan.empty else world.plan.decide(this.to, this.attempt, this.lane)
        if fault is not None and not fault.accepts:
            world.record(_decision(this, fault.name, fault.code, fault.status))
            await _end(world, this, fault, Answer(fault.status, error_body(fault.code, fault.status)))
            return
        code = refusal(this.form, config, world.now() + config.clock_skew_seconds, testing=False)
        code = code or world.optouts.refuse(this.form.fields, config)
        if code:
            await _refuse(world, this, code)
        elif fault is not None and fault.way is Way.LATE:
            await _accept_late(world, this)
        else:
            await _accept_now(world, this, fault)


async def _accept_now(world: World, this: _Try, fault: Fault | None) -> None:
    message = _keep(world, this, fault.name if fault else "")
    if isinstance(message, int):
        await _refuse(world, this, message)
        return
    if message.early:
        await world.callbacks.told_early(message)
    elif message.callback:
        world.callbacks.follow(message)
    if world.config.reply_share or world.config.stop_share:
        world.audience.gets(message)
    if fault is None:
        await _answer(world, this.exchange, _created(world, message))
    else:
        decision = _decision(this, fault.name, fault.code, fault.status)
        decision.sid = message.sid
        world.record(decision)
        await _end(world, this, fault, _created(world, message))


def _keep(world: World, this: _Try, fault: str) -> Message | int:
    """Accept now; returns a code where the queue is full."""
    return accept(
        world,
        this.form,
        account=this.account,
        now=world.now(),
        received_ms=this.exchange.arrived_ms,
        attempt=this.attempt,
        fault=fault,
    )


def _created(world: World, message: Message) -> Answer:
    """Return the 201 for a message."""
    shown_at = message.created - JUST_BEFORE
    return Answer(201, _encoder.encode(resource(message, shown_at, world.config.clock_skew_seconds)))


def _decision(this: _Try, fault: str, code: int, status: int = 0) -> Decision:
    return Decision(
        to=this.to,
        attempt=this.attempt,
        fault=fault,
        status=status or (status_of(code) if code else 0),
        code=code,
        arrived_ms=this.exchange.arrived_ms,
    )


def _try_out(world: World, form: Form, account: str) -> Answer:
    """Answer test credentials: all checks, nothing kept."""
    code = refusal(form, world.config, world.now(), testing=True)
    if code:
        return Answer(status_of(code), error_body(code, status_of(code)))
    scratch = World(world.config)
    made = accept(scratch, form, account=account, now=world.now(), received_ms=0, attempt=1, fault="")
    if isinstance(made, int):
        return Answer(status_of(made), error_body(made, status_of(made)))
    return _created(world, made)


async def _refuse(world: World, this: _Try, code: int, fault: str = "") -> None:
    status = status_of(code)
    world.record(_decision(this, fault, code, status))
    # Turned away at the door: it takes no time, and so none of the account's concurrency.
    at_once = code == THROTTLED
    await _answer(world, this.exchange, Answer(status, error_body(code, status)), code, at_once=at_once)


async def _accept_late(world: World, this: _Try) -> None:
    """Accept after the configured delay, whether or not the client still listens; then answer 201."""
    decision = world.record(_decision(this, "late_accept", 0, 201))
    generation = world.generation
    world.late += 1
    await world.pause(world.config.accept_delay_seconds)
    if world.stopping or world.generation != generation:  # that request belongs to a forgotten world
        await this.exchange.drop()
        return
    world.late -= 1
    message = _keep(world, this, "late_accept")
    if isinstance(message, int):
        decision.code, decision.status = message, status_of(message)
        answer = Answer(decision.status, error_body(message, decision.status))
        await _answer(world, this.exchange, answer, message)
        return
    world.accepted_late(decision, message.sid)
    if message.callback:
        world.callbacks.follow(message)
    await _answer(world, this.exchange, _created(world, message))


async def _end(world: World, this: _Try, fault: Fault, answer: Answer) -> None:
    """End a faulty exchange. `answer` is what a healthy one would get, or the refusal."""
    exchange = this.exchange
    match fault.way:
        case Way.DROP:
            world.answers["dropped"] += 1
            await exchange.drop()
        case Way.CLOSE:
            world.answers["closed"] += 1
            await exchange.close()
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


async def _answer(
    world: World, exchange: Exchange, answer: Answer, code: int = 0, *, at_once: bool = False
) -> None:
    """Wait out the configured latency, answer and count."""
    config = world.config
    if (config.latency_ms or config.latency_jitter_ms) and not at_once:
        late = config.latency_ms + _jitter.random() * config.latency_jitter_ms
        await asyncio.sleep(late / 1000)
    if answer.status == 429 and config.retry_after_seconds is not None:  # noqa: PLR2004
        extra = (*answer.extra, (b"retry-after", b"%d" % config.retry_after_seconds))
        answer = Answer(answer.status, answer.body, answer.content_type, extra)
    world.answers[f"{answer.status}/{code}" if code else str(answer.status)] += 1
    await exchange.answer(answer)
