"""Single messages on the whole path: a real worker, and the simulator's word for who got what."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deployment import PREFIX, Deployment, deployment
from loading import counts, number, records
from posting import SENDER, no_pool, request, settings

from broadcaster.domain.content import Content
from broadcaster.domain.record import Reason, State
from broadcaster.intake.singles import Accepted, Person, RefusedError, SingleMessages, SingleRequest
from broadcaster.intake.submit import SubmissionError
from broadcaster.lanes import control
from broadcaster.ledger.optouts import opt_out
from broadcaster.reporting.messages import find_number, read_message
from broadcaster.store.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.store.connection import Store

SHORT = {
    "BROADCASTER_SETTLE_SECONDS": "1",
    "BROADCASTER_SETTLE_ALONE_SECONDS": "2",
    "BROADCASTER_SETTLE_EVERY_SECONDS": "1",
}
POSTING = Path(__file__).parents[1] / "posting.py"


@pytest.fixture(autouse=True)
def one_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test come upon the end of an hour, and so upon two streams."""
    monkeypatch.setattr("broadcaster.intake.singles.HOUR_SECONDS", 10**10)


@asynccontextmanager
async def singles_of(store: Store, **changed: Any) -> AsyncIterator[SingleMessages]:
    """Take messages; the sender is fast."""
    await store.run(control.set_rate(SENDER, 5_000))
    singles = SingleMessages(store, settings().model_copy(update=changed), no_pool)
    yield singles
    await singles.close()


def one(i: int, body: str = "hello", *, key: str = "k", **more: Any) -> SingleRequest:
    return SingleRequest(key, Content(body=body), [Person(number(i))], **more)


def streams_of(accepted: list[Accepted]) -> set[str]:
    return {message.id.split(".")[0] for message in accepted}


@pytest.mark.slow
async def test_single_messages_on_the_whole_path(tmp_path: Path) -> None:
    async with deployment(tmp_path, workers=0) as run, singles_of(run.store) as singles:
        run.start_worker(**SHORT)
        for part in (once, paused, expired, canceled, twice_to_one):
            await part(run, singles)


async def once(run: Deployment, singles: SingleMessages) -> None:
    """Two hundred by twenty callers: each once, with its own text, and found again by its number."""
    turns = iter(range(200))

    async def poster() -> list[Accepted]:
        asked = (one(i, f"Your code is {i} {{% of 100 %", literal=True) for i in turns)
        return [a for request in asked for a in await singles.post(request)]

    accepted = [a for some in await asyncio.gather(*(poster() for _ in range(20))) for a in some]
    assert {a.to for a in accepted} == {number(i) for i in range(200)}
    assert len({a.id for a in accepted}) == 200
    (stream,) = streams_of(accepted)
    assert await run.settled(stream, 30) == {State.ACCEPTED: 200}
    listed = await run.simulator.lines("accepted")
    assert sorted((m["to"], m["body"]) for m in listed) == sorted(
        (number(i), f"Your code is {i} {{% of 100 %") for i in range(200)
    )
    told = await read_message(run.store, accepted[0].id)
    assert told is not None
    (attempt,) = told[1]
    assert (attempt.attempt, attempt.state, attempt.evidence) == (1, State.ACCEPTED, "answer")
    assert attempt.sid == told[0].record.sid
    assert [v.id async for v in find_number(run.store, None, accepted[0].to)] == [accepted[0].id]


@pytest.mark.slow
async def test_a_request_of_a_killed_process_is_made_again_and_goes_once(tmp_path: Path) -> None:
    """Killed anywhere: repeated requests lead to the messages that there are, and to one for each."""
    async with deployment(tmp_path) as run, singles_of(run.store) as singles:
        before: dict[int, list[str]] = {}
        chance = random.Random(3)
        for _ in range(2):
            child = subprocess.Popen(  # noqa: ASYNC220 - read in a thread
                [sys.executable, str(POSTING), run.redis.url, f"{PREFIX}:", "60"], stdout=subprocess.PIPE
            )
            assert child.stdout is not None
            for _ in range(chance.randrange(1, 20)):
                line = await asyncio.to_thread(child.stdout.readline)
                i, ids = json.loads(line)
                assert before.setdefault(i, ids) == ids
            child.kill()
            rest, _ = child.communicate()
            for line in rest.splitlines(keepends=True):
                if line.endswith(b"\n"):
                    i, ids = json.loads(line)
                    assert before.setdefault(i, ids) == ids
        answers = await asyncio.gather(*(singles.post(request(i)) for i in range(60)))
        for i, accepted in enumerate(answers):
            assert [a.to for a in accepted] == [number(2 * i), number(2 * i + 1), number(2 * i)]
            assert [a.reference for a in accepted] == [None, f"r{i}", None]
            assert accepted[2][2:] == (State.SKIPPED, None, Reason.DUPLICATE)
            assert before.get(i, [a.id for a in accepted]) == [a.id for a in accepted]
        assert before
        for stream in streams_of([a for some in answers for a in some]):
            told = await run.settled(stream, 30)
            assert set(told) == {State.ACCEPTED, State.SKIPPED}
        assert await run.simulator.accepted() == {number(i): 1 for i in range(120)}


async def paused(run: Deployment, singles: SingleMessages) -> None:
    """A paused stream takes messages, which wait; who has opted out is skipped."""
    (first,) = await singles.post(one(300, key="paused"))
    (stream,) = streams_of([first])
    await run.settled(stream, 30)
    assert await run.store.run(control.pause(stream, "by hand")) == "completed"
    await run.store.run(control.pause_lane(SENDER, "a test"))
    await singles.post(one(301, key="paused"))
    assert await run.store.run(control.pause(stream, "by hand")) == "ok"
    await run.store.run(control.resume_lane(SENDER))
    await run.store.run(opt_out([number(302)], "a test"))
    (waiting,) = await singles.post(one(303, key="paused"))
    (skipped,) = await singles.post(one(302, key="paused"))
    assert (waiting.state, waiting.code) == (State.QUEUED, 0)
    assert (skipped.state, skipped.code) == (State.SKIPPED, Reason.OPTED_OUT)
    assert streams_of([waiting, skipped]) == {stream}
    assert await counts(run.store, stream) == {State.ACCEPTED: 1, State.QUEUED: 2, State.SKIPPED: 1}
    await run.store.run(control.resume(stream))
    assert await run.settled(stream, 30) == {State.ACCEPTED: 3, State.SKIPPED: 1}
    taken = await run.simulator.accepted()
    assert {i: taken.get(number(i), 0) for i in range(300, 304)} == {300: 1, 301: 1, 302: 0, 303: 1}


async def expired(run: Deployment, singles: SingleMessages) -> None:
    """What expires before its turn is skipped; what was posted beside it goes."""
    await run.store.run(control.pause_lane(SENDER, "a test"))
    (short,) = await singles.post(one(310, expires_in_seconds=1, key="expired"))
    (long,) = await singles.post(one(311, expires_in_seconds=600, key="expired"))
    assert streams_of([short]) != streams_of([long])
    assert await run.settled(short.id.split(".")[0], 30) == {State.SKIPPED: 1}
    told = await read_message(run.store, short.id)
    assert told is not None
    assert told[0].record.code == Reason.EXPIRED
    await run.store.run(control.resume_lane(SENDER))
    assert await run.settled(long.id.split(".")[0], 30) == {State.ACCEPTED: 1}
    taken = await run.simulator.accepted()
    assert (taken.get(number(310)), taken[number(311)]) == (None, 1)


async def canceled(run: Deployment, singles: SingleMessages) -> None:
    """A stream that is canceled is followed by another."""
    await run.store.run(control.pause_lane(SENDER, "a test"))
    (first,) = await singles.post(one(320, key="canceled"))
    (stream,) = streams_of([first])
    assert await run.store.run(control.cancel(stream, "by hand")) == "ok"
    (second,) = await singles.post(one(321, key="canceled"))
    assert streams_of([second]) != {stream}
    await run.store.run(control.resume_lane(SENDER))
    assert await run.settled(second.id.split(".")[0], 30) == {State.ACCEPTED: 1}
    await run.settled(stream, 30)
    told = await read_message(run.store, first.id)
    assert told is not None
    assert (told[0].record.state, told[0].record.code) == (State.SKIPPED, Reason.CANCELED)
    taken = await run.simulator.accepted()
    assert (taken.get(number(320)), taken[number(321)]) == (None, 1)


async def twice_to_one(run: Deployment, singles: SingleMessages) -> None:
    """The same text twice in one stream: the second, in doubt, must not take the first's SID for its own."""
    (first,) = await singles.post(one(330, key="twice"))
    (stream,) = streams_of([first])
    assert await run.settled(stream, 30) == {State.ACCEPTED: 1}
    await run.simulator.configure(recipients={number(330): ["", "drop_before"]})
    (second,) = await singles.post(one(330, key="twice"))
    assert streams_of([second]) == {stream}
    await run.until(lambda c: c == {State.ACCEPTED: 2}, stream)
    listed = [m for m in await run.simulator.lines("accepted") if m["to"] == number(330)]
    told = [await read_message(run.store, message.id) for message in (first, second)]
    assert [m["sid"] for m in listed] == [view.record.sid for view, _ in filter(None, told)]
    assert [view.record.attempt for view, _ in filter(None, told)] == [1, 2]


# -- what is refused: nothing of it is written


async def refused(singles: SingleMessages, asked: SingleRequest) -> list[tuple[str, int]]:
    with pytest.raises(RefusedError) as told:
        await singles.post(asked)
    return [(fault.pointer, fault.twilio_code) for fault in told.value.faults]


async def test_everything_that_is_wrong_is_said_at_once(store: Store) -> None:
    async with singles_of(store) as singles:
        people = [Person("12"), Person(number(0), {"name": "Ann"}), Person("x"), Person("", {"name": "B"})]
        asked = SingleRequest("k", Content(body="Hi {{ name }}"), people)
        assert await refused(singles, asked) == [("/to/0", 21211), ("/to/2", 21211), ("/to/3", 21604)]
        asked = asked._replace(to=[Person(number(0)), Person(SENDER, {"name": "a"}), Person(number(1))])
        assert await refused(singles, asked) == [
            ("/to/0/variables/name", 0), ("/to/1", 21266), ("/to/2/variables/name", 0),
        ]  # fmt: skip
        assert await refused(singles, one(0, " ")) == [("/body", 21619)]
        assert await refused(singles, one(0, "x" * 1601)) == [("/body", 21617)]
        assert await refused(singles, one(0, "{{ x")) == [("/body", 0)]
        assert await refused(singles, one(0, "\ud800")) == [("/body", 0)]
        for wrong in (0.0, -1.0, float("nan"), float("inf")):
            asked = one(0, expires_in_seconds=wrong, rate=wrong)
            assert await refused(singles, asked) == [("/expires_in", 0), ("/rate", 0)]
        assert await refused(singles, one(0)._replace(to=[])) == [("/to", 0)]
        assert await refused(singles, one(0)._replace(to=[Person(number(i)) for i in range(101)])) == [
            ("/to", 0)
        ]
        assert await refused(singles, one(0)._replace(content=Content())) == [("/body", 21619)]
        assert await refused(singles, one(0, senders=["not a sender at all"])) == [("/from", 21212)]
        both = Content(body="x", content_sid="HX12", media_urls=("ftp://x",), options={"Attempt": "0"})
        found = await refused(singles, one(0)._replace(content=both))
        assert {pointer for pointer, _ in found} == {
            "/body",
            "/media_urls",
            "/content_sid",
            "/options/Attempt",
        }
        assert not await store.redis.exists(store.keys.plain("streams"))


async def test_no_sender_for_a_channel_says_so(store: Store) -> None:
    async with singles_of(store, twilio_phone_number=None) as singles:
        assert await refused(singles, one(0)) == [("/from", 21603)]
    async with singles_of(store) as singles:
        asked = one(0)._replace(to=[Person(number(0)), Person(f"whatsapp:{number(1)}")])
        assert await refused(singles, asked) == [("/from", 21603)]


async def test_a_template_is_taken_literally_where_the_caller_says_so(store: Store) -> None:
    async with singles_of(store) as singles:
        await singles.post(one(0, "{{ 7 * 7 }}", literal=True))
        (view,) = [v async for v in find_number(store, None, number(0))]
        assert view.variables == {"body": "{{ 7 * 7 }}"}
        people = [Person(number(i), {"name": name}) for i, name in enumerate(("{{ no }}", "Bob"), 1)]
        await singles.post(SingleRequest("k", Content(body="Hi {{ name }}"), people))
        (view,) = [v async for v in find_number(store, None, number(1))]
        assert view.variables == {"body": "Hi {{ no }}"}


async def test_a_full_redis_takes_nothing_and_says_so(store: Store) -> None:
    async with singles_of(store) as singles:
        used = (await store.redis.info("memory"))["used_memory"]
        await store.redis.config_set("maxmemory", int(used * 1.1))
        with pytest.raises(SubmissionError, match="Redis is full"):
            await singles.post(one(0))
        await store.redis.config_set("maxmemory", 0)
        assert (await singles.post(one(0)))[0].state is State.QUEUED


async def test_more_than_a_batch_at_once_is_several_batches(store: Store) -> None:
    async with singles_of(store) as singles:
        asked = [
            SingleRequest("k", Content(body="x"), [Person(number(100 * k + i)) for i in range(100)])
            for k in range(7)
        ]
        accepted = [a for some in await asyncio.gather(*map(singles.post, asked)) for a in some]
        assert [a.to for a in accepted] == [number(i) for i in range(700)]
        (stream,) = streams_of(accepted)
        assert len(await records(store, stream)) == 700
        assert len({a.id for a in accepted}) == 700
        for message in (accepted[0], accepted[499], accepted[699]):
            told = await read_message(store, message.id)
            assert told is not None
            assert told[0].to == message.to


async def test_a_process_that_ends_tells_who_waits(store: Store) -> None:
    async with singles_of(store) as singles:
        await singles.post(one(0))
        posts = [asyncio.create_task(singles.post(one(i))) for i in range(3)]
        await asyncio.sleep(0)
        assert singles._commit._writing is not None
        await asyncio.sleep(0)
        singles._commit._writing.cancel()
        answers = await asyncio.gather(*posts, return_exceptions=True)
        assert {type(answer) for answer in answers} == {Unreachable}


async def test_a_caller_who_goes_leaves_the_others_alone(store: Store) -> None:
    async with singles_of(store) as singles:
        posts = [asyncio.create_task(singles.post(one(i))) for i in range(5)]
        await asyncio.sleep(0)
        posts[1].cancel()
        done = await asyncio.gather(*posts, return_exceptions=True)
        assert [isinstance(answer, list) for answer in done] == [True, False, True, True, True]
