"""What lanes and flows come to: backlogs, permits, since when somebody could have sent, when it ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from broadcaster.reporting.forecast import FlowLeft, share_out
from broadcaster.reporting.installation.calls import Flow, Lane
from broadcaster.reporting.installation.sharing import shares
from broadcaster.reporting.installation.standing import Standing, Tally, queue_messages, read_standing
from broadcaster.reporting.installation.survey import BURST, Account, LaneBacklog, Survey, Surveyor, opened_at
from broadcaster.reporting.waits import Everything
from broadcaster.store.scripts import read_script

NOW = 2_000_000_000.0 * 1e6
AGO = NOW - 100e6
LANE = Lane("+1", 10.0, 0.0, "", 0.0, "", AGO)
FLOW = Flow(batches=4, head=0, recipients=200, segments=400, retries=0, back=0, retries_due=0, first_retry=0)
GIVEN = replace(FLOW, head=4)
WELL = Account(Everything(workers=1))


def standing(**fields: Any) -> Standing:
    counts = dict(zip(("queued", "sending", "retry", "in_doubt"), (200, 0, 0, 0), strict=True))
    counts |= fields.pop("counts", {})
    given_fields: dict[str, Any] = {
        "id": "b",
        "state": "running",
        "stream": False,
        "priority": "normal",
        "name": "n",
        "total": sum(counts.values()),
        "removed": False,
        "created": 1,
        "started": 1,
        "resumed": 0,
        "windows": "",
        "rate": 0.0,
        "tat": 0.0,
        "parent": "",
        "reason": "",
        "counts": (*counts.values(), *[0] * 8),
    }
    return Standing(**(given_fields | fields))


def survey(
    one: Standing | None = None, lane: Lane = LANE, flow: Flow = FLOW, account: Account = WELL, *more: Lane
) -> Survey:
    surveyor = Surveyor(NOW, account, {each.name: each for each in (lane, *more)})
    surveyor.add(one or standing(), [lane.name], [flow], shown=True)
    surveyor.look_at([lane, *more])
    return surveyor.finish()


SECOND = 1e6
POOL = Lane("MG", 10.0, NOW + 3 * SECOND, "", 0.0, "", 0.0)


@pytest.mark.parametrize(
    ("changes", "since", "claimable"),
    [
        ({}, AGO, 200),
        ({"lane": replace(LANE, paused="x")}, 0, 0),
        ({"lane": replace(LANE, hold=NOW + SECOND)}, 0, 0),
        ({"lane": replace(LANE, hold=NOW - 9 * SECOND)}, NOW - 9 * SECOND, 200),
        ({"lane": replace(LANE, tat=NOW + SECOND)}, 0, 200),  # pace: claimable, but no second too late
        ({"lane": replace(LANE, tat=NOW - 5 * SECOND)}, NOW - 5.05 * SECOND, 200),
        ({"lane": replace(LANE, due=0.0)}, 0, 200),
        ({"lane": replace(LANE, due=NOW + SECOND)}, 0, 200),
        ({"lane": replace(LANE, pool="MG")}, 0, 200),
        ({"one": standing(state="paused")}, 0, 0),
        ({"one": standing(resumed=2_000_000_000 - 7)}, NOW - 7 * SECOND, 200),
        ({"one": standing(windows="2000000100:2000000200")}, 0, 0),
        ({"one": standing(windows="1999999990:2000000200")}, NOW - 10 * SECOND, 200),
        ({"one": standing(windows="1:2")}, 0, 0),
        ({"one": standing(rate=1.0, tat=NOW + 9 * SECOND)}, 0, 200),
        ({"one": standing(rate=1.0, tat=NOW - 9 * SECOND)}, NOW - 9.05 * SECOND, 200),
        ({"account": Account(Everything(workers=1, paused="x"))}, 0, 0),
        ({"account": Account(Everything(workers=1, rewind=5))}, 0, 0),
        ({"account": Account(Everything(workers=1, silent="5"))}, 0, 0),
        ({"account": Account(Everything(workers=1, missing="1 of 2"))}, 0, 0),
        ({"account": Account(Everything(workers=1, rate=5.0), tat=NOW + SECOND)}, 0, 200),
        ({"account": Account(Everything(workers=1), resumed=NOW - 3 * SECOND)}, NOW - 3 * SECOND, 200),
        ({"account": Account(Everything())}, AGO, 200),  # no worker: that is what it is there to show
        ({"flow": GIVEN}, 0, 0),
        ({"one": standing(counts={"queued": 0, "in_doubt": 1})}, 0, 0),  # what is ahead was skipped at intake
        ({"flow": replace(GIVEN, back=1)}, AGO, 200),
        (
            {
                "flow": replace(GIVEN, retries=5, first_retry=NOW + SECOND),
                "one": standing(counts={"queued": 0, "retry": 5}),
            },
            0,
            0,
        ),
        (
            {
                "flow": replace(GIVEN, retries=5, retries_due=2, first_retry=NOW - SECOND),
                "one": standing(counts={"queued": 0, "retry": 5}),
            },
            NOW - SECOND,
            2,
        ),
    ],
)
def test_since_when_somebody_could_have_sent(changes: dict[str, Any], since: float, claimable: int) -> None:
    given_all: dict[str, Any] = {"one": standing(), "lane": LANE, "flow": FLOW, "account": WELL} | changes
    found = survey(given_all["one"], given_all["lane"], given_all["flow"], given_all["account"], POOL)
    assert found.oldest_due == pytest.approx(since / 1e6)
    assert found.claimable == {"b": pytest.approx(claimable)}


def test_the_lane_that_waits_longest_is_told_of() -> None:
    lanes = {name: replace(LANE, name=name, due=NOW - n * SECOND) for n, name in enumerate(("a", "b", "c"))}
    surveyor = Surveyor(NOW, WELL, lanes)
    surveyor.add(standing(), list(lanes), [FLOW] * 3, shown=False)
    assert surveyor.finish().oldest_due == pytest.approx(NOW / 1e6 - 2)


def test_backlogs_are_of_the_busiest_and_the_others_together() -> None:
    names = [f"+{n:03}" for n in range(130)]
    lanes = {name: replace(LANE, name=name, rate=2.0) for name in names}
    lanes[names[0]] = replace(lanes[names[0]], paused="x")
    flows = [replace(FLOW, recipients=4 * (1 + n), segments=8 * (1 + n)) for n in range(130)]
    queued = sum(flow.recipients for flow in flows)
    surveyor = Surveyor(NOW, WELL, lanes)
    surveyor.add(standing(counts={"queued": queued}), names, flows, shown=False)
    for some in shares(list(lanes.values()), 7):
        surveyor.look_at(some)
    found = surveyor.finish()
    *busiest, other = found.backlogs
    assert [one.name for one in busiest] == names[30:]
    assert (other.name, other.rate, other.stopped) == ("other", 60.0, 1)
    assert other.queued == pytest.approx(sum(4 * (1 + n) for n in range(30)))
    assert sum(one.queued for one in found.backlogs) == pytest.approx(queued)
    assert found.drain_seconds == pytest.approx(8 * 130 / 2.0)
    assert found.lanes == {"sending": 129, "idle": 0, "paused": 1, "refused": 0, "held": 0}


@pytest.mark.parametrize(
    ("rate", "tat", "permits"),
    [
        (100.0, 0.0, 4.0),
        (100.0, NOW - SECOND, 4.0),
        (100.0, NOW + 0.02 * SECOND, 2.0),
        (100.0, NOW + 0.04 * SECOND, 1.0),  # one message may always go when its time has come
        (100.0, NOW + 1.04 * SECOND, -100.0),
        (1.0, 0.0, 1.0),
        (1.0, NOW + 7.04 * SECOND, -7.0),
        (1.0, NOW + 900 * SECOND, -59.96),  # claim.lua believes no clock that is further ahead
        (0.0, 0.0, None),
    ],
)
def test_permits_are_what_the_pace_leaves(rate: float, tat: float, permits: float | None) -> None:
    found = LaneBacklog("+1", 0, rate, 0, tat).permits(NOW)
    assert found == (None if permits is None else pytest.approx(permits))


def test_a_lane_borrows_what_the_script_lets_it() -> None:
    assert f"SLICE, BURST, DEBT = 500000, {BURST}, " in read_script("claim")


def test_when_it_ends_counts_segments_and_closed_hours() -> None:
    assert survey().ends_at == {"b": pytest.approx(NOW / 1e6 + 40)}
    bounded = Account(Everything(workers=1, rate=4.0))
    assert survey(account=bounded).ends_at == {"b": pytest.approx(NOW / 1e6 + 100)}
    later = standing(windows="2000000100:2000000200")
    assert survey(later).ends_at == {"b": pytest.approx(NOW / 1e6 + 140)}
    assert survey(standing(state="paused")).ends_at == {}
    assert survey(lane=replace(LANE, paused="x")).ends_at == {}
    assert survey(account=Account(Everything())).ends_at == {}


def test_openings_say_since_when_too() -> None:
    assert opened_at("", NOW) == 0
    assert opened_at("1:2,2000000000:2000000009", NOW) == NOW
    assert opened_at("1:2", NOW) > NOW


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50), st.integers(0, 9)), min_size=1, max_size=8),
    st.integers(0, 10_000),
)
def test_shares_of_lanes_add_up_to_what_is_left(flows: list[tuple[int, int, int]], unsent: int) -> None:
    told = [
        FlowLeft(str(n), batches, min(head, batches), 10 * batches, 20 * batches, retries)
        for n, (batches, head, retries) in enumerate(flows)
    ]
    left = share_out(told, unsent)
    assert sum(one.recipients for one in left) == pytest.approx(unsent)
    assert sum(one.segments for one in left) == pytest.approx(2 * unsent)


def test_a_streams_flow_is_shared_by_its_batches() -> None:
    told = [FlowLeft("a", 5, 2, 0, 0, 0), FlowLeft("b", 1, 0, 0, 0, 0), FlowLeft("c", 9, 9, 0, 0, 0)]
    assert [one.recipients for one in share_out(told, 8)] == [6, 2, 0]
    assert share_out([], 3) == []


def test_what_waits_is_of_the_open_and_of_ended_ones_what_is_on_its_way() -> None:
    counts = {"queued": 5, "sending": 4, "retry": 3, "in_doubt": 2}
    found = queue_messages([standing(counts=counts), standing(counts=counts, state="canceled")])
    assert found == {"queued": 5, "sending": 8, "retry": 3, "in_doubt": 4}


class TestTally:
    def test_it_follows_each_from_state_to_state(self) -> None:
        tally = Tally()
        tally.put("a", standing(state="running"))
        tally.put("s", standing(stream=True))
        tally.put("a", standing(state="completed", total=7))
        tally.put("d", standing(state="deleting"))
        assert (tally.states["completed"], tally.states["running"], len(tally)) == (1, 0, 3)
        assert tally.recipients == 207
        assert [tally.has_ended(one) for one in "asdx"] == [True, False, False, False]

    def test_it_holds_no_recipients_of_what_was_removed_or_failed(self) -> None:
        tally = Tally()
        dead = (0,) * 10 + (3, 0)
        tally.put("a", standing(state="completed", counts={}, total=10))
        tally.put("b", replace(standing(state="completed"), removed=True, counts=dead))
        tally.put("c", replace(standing(state="failed"), counts=dead))
        assert (tally.recipients, tally.dead) == (10, 3)

    def test_what_is_gone_counts_no_more(self) -> None:
        tally = Tally()
        for name in "abc":
            tally.put(name, standing())
        tally.put("a", None)
        tally.put("z", None)
        tally.keep_only({"b"})
        assert (tally.states["running"], tally.recipients) == (1, 200)


def test_a_standing_is_read_from_its_fields() -> None:
    fields = ["running", "stream", "u", "", "9", *[""] * 9, "4", "", "5", *[""] * 9]
    found = read_standing("b", fields)
    assert found is not None
    assert (found.stream, found.priority, found.total, found.unsent) == (True, "urgent", 9, 9)
    assert read_standing("b", []) is None
