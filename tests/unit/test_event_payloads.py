"""What a customer's endpoint gets, how it is signed, and when what failed goes again."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from broadcaster.domain.record import Evidence, State
from broadcaster.events.endpoints import new_endpoint, rotated
from broadcaster.events.payloads import Known, events_of, ping
from broadcaster.events.queue import Delivery, How
from broadcaster.events.retrying import HOLD_SECONDS, SCHEDULE, STREAK, end_of, hold_after
from broadcaster.events.sending import Answer, signed_headers
from broadcaster.events.stream import BroadcastChange, Change, Entry, MessageChange, OptOutChange
from broadcaster.store.batches import Recipients

AT_MS = 1_763_700_000_123
SID = bytes(range(16))
KNOWN = Known(
    {
        ("b1", "1.0"): Recipients(
            ["+14155550100", "whatsapp:+14155550101"], ["r-0", None], ("n",), [["A", "B"]]
        )
    },
    {"b1": ("12345", "whatsapp:+14155550199")},
    {"b1": "alert"},
)
KINDS = ("message.failed", "message.accepted", "broadcast.paused", "opt_out.changed")


def failed(row: int = 0, **more: object) -> MessageChange:
    fields = {"attempt": 2, "state": int(State.DEAD), "code": 30003, "sid": b"", "flags": 0} | more
    return MessageChange("message.failed", "b1", "1.0", row, **fields)  # type: ignore[arg-type]


def one(change: Change, known: Known = KNOWN) -> dict[str, object]:
    (event,) = events_of([Entry("1763700000123-0", AT_MS, (change,))], known, KINDS)
    body: dict[str, object] = json.loads(event.body)
    assert body["type"] == event.kind == change.kind
    assert body["timestamp"] == "2025-11-21T04:40:00.123Z"
    data = body["data"]
    assert isinstance(data, dict)
    return data


def test_a_message_is_told_without_its_text_or_variables() -> None:
    assert one(failed()) == {
        "id": "b1.1.0.0", "broadcast": "b1", "to": "+14155550100", "reference": "r-0",
        "sender": "whatsapp:+14155550199", "state": "dead", "code": 30003,
        "meaning": one(failed())["meaning"], "class": "retry",
        "sid": None, "attempts": 2,
    }  # fmt: skip
    assert "handset" in str(one(failed())["meaning"]).lower()
    accepted = failed(1, state=int(State.ACCEPTED), code=0, sid=SID, flags=Evidence.LIST.flag | 1)
    data = one(accepted)
    assert (data["to"], data["reference"], data["sid"]) == ("whatsapp:+14155550101", None, "MM" + SID.hex())
    assert (data["code"], data["meaning"]) == (None, None)


def test_a_message_whose_list_is_gone_is_told_all_the_same() -> None:
    data = one(failed(), Known({}, {}, {}))
    assert (data["id"], data["to"], data["sender"]) == ("b1.1.0.0", None, None)


def test_a_broadcast_is_told_with_its_counts_and_a_reason_in_words() -> None:
    counts = (3, 0, 0, 0, 5, 0, 0, 0, 0, 0, 2, 0)
    change = BroadcastChange("broadcast.paused", "b1", "running", "paused", "content:21617", 10, counts)
    data = one(change)
    assert str(data.pop("state_reason")).startswith("its content is refused, 21617: ")
    assert data == {
        "id": "b1", "name": "alert", "state": "paused", "state_before": "running", "total": 10,
        "counts": {"queued": 3, "accepted": 5, "dead": 2},
    }  # fmt: skip


def test_an_opt_out_is_told() -> None:
    change = OptOutChange("opt_out.changed", "remove", "*", "+14155550100", "")
    assert one(change) == {"address": "+14155550100", "scope": "*", "change": "removed", "source": None}


def test_no_payload_reaches_twenty_thousand_bytes() -> None:
    long = "\u20ac" * 100_000
    known = Known({("b1", "1.0"): Recipients(["+14155550100"], [long], (), [])}, {}, {"b1": long})
    paused = BroadcastChange("broadcast.paused", "b1", "running", "paused", long, 1, (2**40,) * 12)
    opted = OptOutChange("opt_out.changed", "add", "*", "+14155550100", long)
    events = events_of([Entry("1-0", AT_MS, (failed(), paused, opted))], known, KINDS)
    assert len(events) == 3
    assert all(len(event.body) < 20_000 for event in events)


def test_an_id_says_what_happened_and_not_when_somebody_looked() -> None:
    twice = [Entry("5-0", AT_MS, (failed(),)), Entry("9-3", AT_MS + 7, (failed(),))]
    again = [Entry("9-4", AT_MS, (failed(attempt=3), failed(row=1), failed(code=0)))]
    ids = [event.id for event in events_of([*twice, *again], KNOWN, KINDS)]
    assert len(ids) == 5
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4
    assert not any("." in name for name in ids), "the signed text has full stops between its parts"
    paused = BroadcastChange("broadcast.paused", "b1", "running", "paused", "", 1, ())
    pauses = [Entry("5-0", AT_MS, (paused,)), Entry("6-0", AT_MS, (paused, paused))]
    assert len({event.id for event in events_of(pauses, KNOWN, KINDS)}) == 3


def test_kinds_that_an_endpoint_does_not_ask_for_are_left_out() -> None:
    entry = Entry("5-0", AT_MS, (failed(), OptOutChange("opt_out.changed", "add", "*", "+1", "")))
    assert [e.kind for e in events_of([entry], KNOWN, ("opt_out.changed",))] == ["opt_out.changed"]


# -- signatures


def test_every_secret_in_use_signs() -> None:
    now = datetime.now(UTC).timestamp()
    old = new_endpoint("https://a.example/x", ["message.failed"], now)
    new = rotated(old, now)
    event = ping("ep_1", AT_MS)
    later = replace(new, previous_until=int(now))
    for endpoint, accepted in ((old, (old,)), (new, (old, new)), (later, (new,))):
        headers = signed_headers(endpoint, event.id, event.body, now)
        assert headers["webhook-id"] == event.id
        for known in (old, new):
            hook = Webhook(known.secret)
            if known in accepted:
                assert hook.verify(event.body, headers)["type"] == "endpoint.test"
            else:
                with pytest.raises(WebhookVerificationError):
                    hook.verify(event.body, headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(accepted[0].secret).verify(event.body + b" ", headers)


def test_secrets_are_new_long_and_not_shown() -> None:
    endpoints = [new_endpoint("https://a.example/x?key=k1", ["message.failed"], 0) for _ in range(2)]
    assert endpoints[0].secret != endpoints[1].secret
    assert all(len(e.secret) == len("whsec_") + 44 for e in endpoints)
    assert all(e.secret not in repr(e) and "k1" not in repr(e) for e in endpoints)


# -- when what failed goes again

DELIVERY = Delivery("evt_1", "message.failed", AT_MS, 0, "", b"{}")


def test_a_delivery_goes_again_later_and_later_and_is_then_parked() -> None:
    waits, delivery = [], DELIVERY
    for _ in SCHEDULE:
        end = end_of(delivery, Answer(500, "HTTP 500"), 0.5)
        assert end.how is How.AGAIN
        waits.append(end.delay_seconds)
        delivery = end.delivery
    assert waits == [pytest.approx(1.1 * seconds) for seconds in SCHEDULE]
    end = end_of(delivery, Answer(0, "no answer within 15 s"), 0.5)
    assert (end.how, end.delivery.tries) == (How.PARKED, len(SCHEDULE) + 1)


@pytest.mark.parametrize(
    ("status", "how"),
    [
        *((status, How.DELIVERED) for status in (200, 202, 204, 299)),
        *((status, How.AGAIN) for status in (0, 301, 307, 400, 401, 404, 429, 500, 503)),
        (410, How.PARKED),
    ],
)
def test_only_a_2xx_is_a_delivery_and_only_a_410_is_for_good(status: int, how: How) -> None:
    assert end_of(DELIVERY, Answer(status, ""), 0.0).how is how


def test_an_endpoint_is_waited_for_as_it_asks() -> None:
    asked = Answer(429, "HTTP 429", 90.0)
    assert end_of(DELIVERY, asked, 0.0).delay_seconds == 90.0
    assert hold_after(asked, 1) == 90.0
    assert hold_after(Answer(503, "HTTP 503", 10.0**9), 1) == 3600.0
    assert end_of(DELIVERY, Answer(400, "HTTP 400", 1.0), 0.0, 10.0).delay_seconds == 50.0


def test_an_endpoint_that_only_fails_is_left_in_peace_longer_and_longer() -> None:
    down = Answer(0, "no connection")
    holds = [hold_after(down, streak) for streak in range(1, 100)]
    assert holds[: STREAK - 1] == [0.0] * (STREAK - 1)
    assert holds == sorted(holds)
    assert (holds[STREAK - 1], holds[-1]) == (2 * HOLD_SECONDS, 300.0)
    assert [hold_after(Answer(status, ""), 1) > 0 for status in (200, 500, 429, 502, 503, 504)] == [
        False, False, True, True, True, True,
    ]  # fmt: skip
