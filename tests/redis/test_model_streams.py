"""The same rules about streams, whose messages come while others are sent, and end one by one."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from test_model import LANES, RATE, Messages, play

from broadcaster.domain.broadcast import OnDoubt, Priority
from broadcaster.domain.content import Content
from broadcaster.domain.record import State
from broadcaster.intake.single_rows import Row, stream_batch
from broadcaster.intake.streams import Item, Stream, StreamKey
from broadcaster.lanes import control


class Streams(Messages):
    """`stream` is told apart from those before it, which were canceled, by its id alone."""

    stream: Stream

    @initialize()
    def begin(self) -> None:
        super().begin()
        named = tuple((lane, RATE) for lane in LANES)
        key = StreamKey("k", "shape", named, None, Priority.URGENT, OnDoubt.RESEND, None, None, 1)
        self.stream = Stream.of(key, Content(body="{{ body }}"))
        self.appended = 0
        self.append(lanes=[0, 1], size=2, twice=False)

    @precondition(lambda self: self.broadcasts)
    @rule(
        lanes=st.sampled_from([[0], [1], [0, 1], [1, 0, 1]]),
        size=st.sampled_from([1, 3]),
        twice=st.booleans(),
    )
    def append(self, lanes: list[int], size: int, twice: bool) -> None:  # noqa: FBT001
        batches = []
        for lane in lanes:
            rows = []
            for _ in range(size):
                self.appended += 1
                rows.append(Row(lane, f"+1555{self.appended:07d}", None, ("x",), 1, 0))
            batches.append(stream_batch(lane, ("body",), rows, [0] * size, 1))
        call = self.stream.append([Item("p:0", self.appended, 600, batches)])
        (answer,) = self.run_call(call)
        if answer.verdict != "ok":
            assert answer.verdict == "canceled"
            self.stream.begin_anew()
            call = self.stream.append([Item("p:0", self.appended, 600, batches)])
            (answer,) = self.run_call(call)
        assert (answer.verdict, answer.known, len(answer.batches)) == ("ok", False, len(lanes))
        if answer.stream not in self.broadcasts:
            self.broadcasts.append(answer.stream)
        if twice:
            (again,) = self.run_call(call, twice=True)
            assert again == answer._replace(known=True)

    @precondition(lambda self: self.broadcasts)
    @rule(data=st.data(), twice=st.booleans())
    def cancel_one(self, data: st.DataObject, twice: bool) -> None:  # noqa: FBT001
        found = self.records()
        key = data.draw(st.sampled_from(sorted(found)), label="message")
        bid, batch, row = key
        call = control.cancel_message(bid, LANES[int(batch[0])], batch, row)
        changed, state = self.run_call(call, twice=twice)
        before = found[key].state
        assert (changed, state) == ((True, State.SKIPPED) if before in UNSENT else (False, before))


UNSENT = (State.QUEUED, State.RETRY)


@pytest.mark.parametrize(
    "examples",
    [
        pytest.param(4, marks=pytest.mark.timeout(120)),
        pytest.param(250, marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
def test_every_single_message_ends_and_none_goes_twice(redis_url: str, examples: int) -> None:
    play(Streams, redis_url, examples)
