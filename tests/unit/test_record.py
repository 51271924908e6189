from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.record import OPEN_STATES, RANK, RECORD_BYTES, SENDABLE_STATES, Reason, Record, State

sids = st.builds(
    lambda kind, raw: kind + raw.hex(),
    st.sampled_from(["SM", "MM"]),
    st.binary(min_size=16, max_size=16).filter(any),
)


@st.composite
def some_records(draw: st.DrawFn) -> Record:
    sid = draw(st.none() | sids)
    return Record(
        state=draw(st.sampled_from(State)),
        segments=draw(st.integers(0, 255)),
        attempt=draw(st.integers(0, 0xFFFF)),
        spent=draw(st.integers(0, 15)),
        flags=draw(st.integers(0, 127)) << 1 | (sid is not None and sid[:2] == "MM"),
        code=draw(st.integers(0, 0xFFFFFF)),
        sid=sid,
        began=draw(st.integers(0, 0xFFFFFFFF)),
        changed=draw(st.integers(0, 0xFFFFFFFF)),
    )


@given(some_records())
def test_a_record_survives_packing(one: Record) -> None:
    raw = one.pack()
    assert len(raw) == RECORD_BYTES
    assert Record.unpack(raw) == one


@given(st.lists(some_records(), min_size=1, max_size=5), st.data())
def test_records_lie_side_by_side(many: list[Record], data: st.DataObject) -> None:
    raw = b"".join(one.pack() for one in many)
    i = data.draw(st.integers(0, len(many) - 1))
    assert Record.unpack(raw, i * RECORD_BYTES) == many[i]


def test_the_layout_is_the_one_that_is_written_down() -> None:
    raw = Record(
        State.RETRY, 3, attempt=0x0405, spent=1, flags=0xF0, code=0x060708,
        sid="MM" + "ab" * 16, began=0x090A0B0C, changed=0x0D0E0F10,
    ).pack()  # fmt: skip
    assert raw.hex() == "12f103" + "0405" + "060708" + "ab" * 16 + "090a0b0c" + "0d0e0f10"


def test_stored_numbers_never_change_meaning() -> None:
    assert [state.label for state in State] == [
        "queued", "sending", "retry", "in_doubt", "accepted", "sent", "delivered", "read",
        "undelivered", "failed", "dead", "skipped",
    ]  # fmt: skip
    assert [int(state) for state in State] == list(range(12))
    assert {reason.name: int(reason) for reason in Reason} == {
        "NONE": 0, "OPTED_OUT": 1, "EXPIRED": 2, "CANCELED": 3, "DUPLICATE": 4, "LEASE_LOST": 5,
        "NO_ANSWER": 6, "NOT_SENT": 7, "BUDGET_SPENT": 8, "UNKNOWN": 9, "RENDERING": 10, "DISCARDED": 11,
        "REWOUND": 12, "FORGOTTEN": 13, "SCHEDULED_CANCELED": 14, "WINDOW_CLOSED": 15,
        "UNVERIFIED": 16,
    }  # fmt: skip


def test_what_is_open_ranks_below_what_twilio_has() -> None:
    assert set(RANK) == set(State)
    assert max(RANK[state] for state in OPEN_STATES) < RANK[State.ACCEPTED]
    assert RANK[State.ACCEPTED] < RANK[State.SENT] < RANK[State.DELIVERED] < RANK[State.READ]
    assert SENDABLE_STATES < OPEN_STATES
