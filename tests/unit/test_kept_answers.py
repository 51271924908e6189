"""Answers as they are kept: every one comes back as it was, and what is in a Redis can be read tomorrow."""

from __future__ import annotations

import msgspec
import pytest

from broadcaster.ledger.kept_answers import (
    ASKED_LETTERS,
    Answer,
    Deed,
    memo_of,
    pack_answer,
    turn_of,
    unpack_answer,
)
from broadcaster.store.errors import StoreError

ASKED = "0123456789abcdef" * 4
NONCE = "fedcba9876543210" * 2
TURN = turn_of("w2x8kg78p9", NONCE)
MEMO = memo_of("w2x8kg78p9", NONCE)
STREAM = "1m813bk6p4pt79"
JSON = (b"content-type", b"application/json")


def answer_to(*messages: dict[str, object], place: str = "") -> Answer:
    location = [(b"location", f"/v1/messages/{place}".encode())] if place else []
    return Answer(202, [*location, JSON], msgspec.json.encode({"messages": messages}))


def message(place: str = f"{STREAM}.0.17.0", **more: object) -> dict[str, object]:
    plain = {"id": place, "to": "+14155550101", "state": "queued", "reference": None, "code": None}
    return plain | more


def alone(place: str = f"{STREAM}.0.17.0", **more: object) -> Answer:
    return answer_to(message(place, **more), place=place)


CASES: dict[str, tuple[Answer, Deed | None]] = {
    "one message": (alone(), Deed(MEMO, STREAM, ["0.17"])),
    "a short number": (alone(to="+1"), Deed(MEMO, STREAM, ["0.17"])),
    "a long number": (alone(to="+999999999999999"), Deed(MEMO, STREAM, ["0.17"])),
    "a number that is none": (alone(to="+04155550101"), Deed(MEMO, STREAM, ["0.17"])),
    "over WhatsApp": (alone(to="whatsapp:+14155550101"), Deed(MEMO, STREAM, ["0.17"])),
    "with a reference": (alone(reference='"id":"é"'), Deed(MEMO, STREAM, ["0.17"])),
    "skipped": (alone(state="skipped", code=4), Deed(MEMO, STREAM, ["0.17"])),
    "known by another memo": (alone(), Deed(memo_of("k", "form"), STREAM, ["0.17"])),
    "without a deed": (alone(), None),
    "in a batch with too high a number": (
        alone(f"{STREAM}.0.99999999.0"),
        Deed(MEMO, STREAM, ["0.99999999"]),
    ),
    "in a stream of another kind": (alone("short.0.1.0"), Deed(MEMO, "short", ["0.1"])),
    "another place told": (
        answer_to(message(), place=f"{STREAM}.0.18.0"),
        Deed(MEMO, STREAM, ["0.17"]),
    ),
    "other batches": (alone(), Deed(MEMO, STREAM, ["0.17", "1.3"])),
    "another status": (Answer(201, alone().headers, alone().body), Deed(MEMO, STREAM, ["0.17"])),
    "more of a header": (
        Answer(202, [*alone().headers, (b"x", b"y")], alone().body),
        Deed(MEMO, STREAM, ["0.17"]),
    ),
    "several": (
        answer_to(message(), message(f"{STREAM}.1.3.0", to="+14155550102")),
        Deed(MEMO, STREAM, ["0.17", "1.3"]),
    ),
    "of another kind": (Answer(201, [JSON], bytes(range(256)) * 20), None),
    "empty": (Answer(204, [], b""), None),
}


@pytest.mark.parametrize("case", CASES)
def test_an_answer_comes_back_as_it_was(case: str) -> None:
    answer, deed = CASES[case]
    raw = pack_answer(TURN, ASKED, answer, deed)
    assert unpack_answer(TURN, raw) == (ASKED[:ASKED_LETTERS], answer, deed)


def test_the_answer_to_one_message_is_short() -> None:
    """Up to 44 bytes a string is one piece of memory in Redis."""
    for case in ("one message", "a short number", "a long number"):
        assert len(pack_answer(TURN, ASKED, *CASES[case])) == 40
    for case in ("over WhatsApp", "skipped", "several", "with a reference"):
        answer, deed = CASES[case]
        assert len(pack_answer(TURN, ASKED, answer, deed)) < 110


def test_what_was_kept_before_can_be_read() -> None:
    """As Redis may have it: whoever changes how answers are packed needs a new shape, and reads this one."""
    plain = bytes.fromhex("020123456789abcdef0123456789abcdef0d1011ae66b12da3a40000000088015a0000034bbc8d95")
    any_ = bytes.fromhex(
        "010123456789abcdef0123456789abcdef43779c128ae380b6181a27659b15981494985b822c34d73320ece2"
        "7c1c2ec6340be17a1343532000c62d39fe10503b2c5b5a3035aef4dbff99ab1bf6dc90d88cc53600"
    )
    assert unpack_answer(TURN, plain) == (ASKED[:ASKED_LETTERS], *CASES["one message"])
    assert unpack_answer(TURN, any_) == (ASKED[:ASKED_LETTERS], *CASES["known by another memo"])


@pytest.mark.parametrize("raw", [b"\x03" + bytes(39), b"\x02" + b"\xff" * 39, b"\x01" + bytes(16) + b"\xff"])
def test_what_can_not_be_read_is_no_answer(raw: bytes) -> None:
    with pytest.raises(StoreError):
        unpack_answer(TURN, raw)
