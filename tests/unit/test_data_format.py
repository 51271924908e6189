"""The data format: every field of a spec has a number, and what is not known is never dropped."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from broadcaster.domain.broadcast import BroadcastSpec, OutsideWindow, Scheduler
from broadcaster.domain.content import Content, SmsFallback, Template
from broadcaster.domain.data_format import (
    _WITHIN,
    FORMATS,
    KNOWN,
    SINCE,
    NewerSpecError,
    needed_by,
    read_spec,
)
from broadcaster.domain.purpose import Consent
from broadcaster.domain.send_window import SendWindow

STRUCTS = (BroadcastSpec, Content, Template, SmsFallback, Consent, SendWindow)


def spec(content: Content | None = None, **more: Any) -> BroadcastSpec:
    return BroadcastSpec(
        name="n", senders=("+14155550100",), content=content or Content(body="Hi {{ name }}"), **more
    )


def test_the_numbers_follow_each_other_and_say_what_they_brought() -> None:
    assert [one.number for one in FORMATS] == list(range(1, KNOWN + 1))
    assert all(one.brought and (one.older or one.number == 1) for one in FORMATS)


@pytest.mark.parametrize("struct", STRUCTS)
def test_every_field_of_a_spec_has_its_number(struct: type[msgspec.Struct]) -> None:
    fields = msgspec.structs.fields(struct)
    assert {field.name for field in fields} == set(SINCE[struct.__name__]), "a new field needs a new format"
    within = {f.name for f in fields if any(one.__name__ in str(f.type) for one in STRUCTS)}
    assert within == set(_WITHIN.get(struct.__name__, {}))


@pytest.mark.parametrize(
    ("asked", "needed"),
    [
        (spec(), 1),
        (spec(schedule_at=1.0, consent=Consent("form", 1.0), send_window=SendWindow(1, 2, "UTC")), 1),
        (spec(Content(content_sid="HX1", content_variables={"1": "a"})), 1),
        (spec(Content(body="x", options={"SendAt": "2026-01-01T00:00:00Z"})), 1),
        (spec(Content(body="two\nlines", options={"Tags": "x"})), 1),
        (spec(scheduler=Scheduler.TWILIO), 2),
        (spec(outside_window=OutsideWindow.SEND), 2),
        (spec(instead_of=("whatsapp:+1",)), 2),
        (spec(Content(languages={"de": "HX1"}, language_column="l")), 2),
        (spec(Content(body="x", fallback=Template("HX1"))), 2),
        (spec(Content(body="x", sms=SmsFallback("+1"))), 2),
        (spec(Content(body="x", options={"PersistentAction": "a\nb"})), 2),
    ],
)
def test_what_a_broadcast_needs(asked: BroadcastSpec, needed: int) -> None:
    assert needed_by(asked) == needed
    assert read_spec(msgspec.msgpack.encode(asked)) == asked


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ((), "cap"),
        (("content",), "cap"),
        (("content", "sms"), "cap"),
        (("content", "fallback"), "cap"),
        (("send_window",), "cap"),
        (("consent",), "cap"),
    ],
)
def test_what_is_not_known_is_refused_wherever_it_stands(where: tuple[str, ...], told: str) -> None:
    whole = spec(
        Content(body="x", sms=SmsFallback("+1"), fallback=Template("HX1")),
        consent=Consent("form", 1.0),
        send_window=SendWindow(1, 2, "UTC"),
    )
    fields = at = msgspec.msgpack.decode(msgspec.msgpack.encode(whole))
    for name in where:
        at = at[name]
    at["cap"] = 5
    with pytest.raises(NewerSpecError, match=told):
        read_spec(msgspec.msgpack.encode(fields))


def test_a_value_that_is_not_known_is_refused() -> None:
    raw = msgspec.msgpack.decode(msgspec.msgpack.encode(spec()))
    raw["scheduler"] = "carrier"
    with pytest.raises(NewerSpecError, match="ValidationError"):
        read_spec(msgspec.msgpack.encode(raw))
