from __future__ import annotations

import socket
import timeit
import urllib.request
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from broadcaster.telemetry.families import BatchedHistogram
from broadcaster.telemetry.metric import Kind, Metric, Role
from broadcaster.telemetry.metrics import Metrics, shown_by
from broadcaster.telemetry.process_metrics import CHANNELS, OUTCOMES, SEND_SECONDS
from broadcaster.telemetry.senders import AT_MOST, AT_ONCE, Senders

SENDER = "+14155550100"


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_every_outcome_is_there_from_the_start() -> None:
    metrics = Metrics()
    for channel in CHANNELS:
        for outcome in OUTCOMES:
            labels = {"channel": channel, "sender": "other", "outcome": outcome}
            assert value(metrics, "broadcaster_messages_total", **labels) == 0
    assert value(metrics, "broadcaster_duplicates_caused_total") == 0


def test_many_sends_are_counted_at_once() -> None:
    metrics = Metrics()
    durations = [0.004, 0.01, 0.2, 100.0]
    metrics.sent(SENDER, "sms", {"accepted": 3, "throttled": 1}, segments=5, durations=durations)
    metrics.sent(SENDER, "sms", {"accepted": 2}, segments=2)
    of_sender = {"channel": "sms", "sender": SENDER}
    assert value(metrics, "broadcaster_messages_total", **of_sender, outcome="accepted") == 5
    assert value(metrics, "broadcaster_messages_total", **of_sender, outcome="throttled") == 1
    assert value(metrics, "broadcaster_messages_total", **of_sender, outcome="unknown") == 0
    assert value(metrics, "broadcaster_segments_total", **of_sender) == 7
    assert value(metrics, "broadcaster_send_duration_seconds_bucket", channel="sms", le="0.01") == 2
    assert value(metrics, "broadcaster_send_duration_seconds_bucket", channel="sms", le="60") == 3
    assert value(metrics, "broadcaster_send_duration_seconds_count", channel="sms") == 4
    assert value(metrics, "broadcaster_send_duration_seconds_sum", channel="sms") == pytest.approx(100.214)
    assert value(metrics, "broadcaster_send_duration_seconds_count", channel="mms") == 0


def test_the_rest_moves_too() -> None:
    metrics = Metrics()
    metrics.in_flight.set(12)
    metrics.permit_wait.observe(0.002)
    metrics.redis_roundtrip.observe(0.0001)
    metrics.retried("throttled", 2)
    metrics.claimed(7)
    metrics.duplicate_caused()
    metrics.intents_refused("paused", 64)
    metrics.redis_failed("intent")
    metrics.clock_skewed("twilio", -1.5)
    assert value(metrics, "broadcaster_in_flight") == 12
    assert value(metrics, "broadcaster_permit_wait_seconds_bucket", le="0.005") == 1
    assert value(metrics, "broadcaster_redis_roundtrip_seconds_bucket", le="0.0002") == 1
    assert value(metrics, "broadcaster_retries_total", reason="throttled") == 2
    assert value(metrics, "broadcaster_claims_total") == 7
    assert value(metrics, "broadcaster_duplicates_caused_total") == 1
    assert value(metrics, "broadcaster_intents_refused_total", reason="paused") == 64
    assert value(metrics, "broadcaster_redis_errors_total", operation="intent") == 1
    assert value(metrics, "broadcaster_clock_skew_seconds", clock="twilio") == -1.5
    assert value(metrics, "broadcaster_clock_skew_seconds", clock="redis") is None


def test_a_value_that_is_none_is_an_error_or_other() -> None:
    metrics = Metrics()
    with pytest.raises(KeyError):
        metrics.sent(SENDER, "sms", {"delivered": 1})
    metrics.intents_refused("a word of a later version", 2)
    metrics.requested("BREW", "/pot", 418, 0.1)
    assert value(metrics, "broadcaster_intents_refused_total", reason="other") == 2
    asked = {"method": "other", "route": "/pot", "status": "418"}
    assert value(metrics, "broadcaster_api_requests_total", **asked) == 1


def test_what_rules_go_by_is_there_before_the_first_message() -> None:
    metrics = Metrics()
    assert {value(metrics, "broadcaster_outcomes_total", outcome=one) for one in OUTCOMES} == {0}
    metrics.sent(SENDER, "sms", {"accepted": 3, "throttled": 1})
    metrics.sent(SENDER, "mms", {"accepted": 2})
    assert value(metrics, "broadcaster_outcomes_total", outcome="accepted") == 5
    assert value(metrics, "broadcaster_outcomes_total", outcome="throttled") == 1


def test_a_clock_that_nobody_looked_at_for_long_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics, now = Metrics(Role.API), [5000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    metrics.clock_skewed("twilio", 9.0)
    now[0] += 1190
    metrics.clock_skewed("redis", 0.5)
    assert value(metrics, "broadcaster_clock_skew_seconds", clock="twilio") == 9
    now[0] += 20
    assert value(metrics, "broadcaster_clock_skew_seconds", clock="twilio") is None
    assert value(metrics, "broadcaster_clock_skew_seconds", clock="redis") == 0.5


def test_two_processes_worth_of_metrics_do_not_meet() -> None:
    one, two = Metrics(), Metrics()
    one.claimed(1)
    assert value(two, "broadcaster_claims_total") == 0


@pytest.mark.parametrize("role", [Role.WORKER, Role.API, Role.EXPORTER])
def test_a_process_shows_its_roles_families_as_the_catalogue_has_them(role: Role) -> None:
    text = Metrics(role).text().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    ours = {name: family for name, family in families.items() if not name.startswith("process_")}
    # the parser takes what ends in `_info` for a gauge of that name
    names = {f"{one.name}_info" if one.kind is Kind.INFO else one.family for one in shown_by(role)}
    assert set(ours) == names
    for metric in shown_by(role):
        if metric.kind is not Kind.INFO:
            family = ours[metric.family]
            assert (family.type, family.documentation) == (metric.kind, metric.meaning)
            assert {sample.name for sample in family.samples} <= metric.samples
    assert families["process_cpu_seconds"].samples


def test_an_exporter_shows_nothing_that_workers_do() -> None:
    assert [metric.name for metric in shown_by(Role.EXPORTER)] == ["broadcaster_build"]


senders = st.integers(0, 400).map("+1415555{:04}".format)


@settings(max_examples=25)
@given(st.lists(st.tuples(senders, st.integers(1, 300)), max_size=400))
def test_senders_are_few_and_every_message_is_counted_once(groups: list[tuple[str, int]]) -> None:
    metrics = Metrics()
    shown: Counter[str] = Counter()
    total = 0
    for sender, messages in groups:
        metrics.sent(sender, "sms", {"accepted": messages})
        total += messages
    for metric in metrics.registry.collect():
        if metric.name == "broadcaster_messages":
            for sample in metric.samples:
                shown[sample.labels["sender"]] += int(sample.value)
    assert sum(shown.values()) == total
    assert len(shown) <= AT_MOST + 1


@settings(max_examples=25)
@given(st.lists(st.tuples(senders, st.integers(1, 300)), max_size=300))
def test_a_sender_keeps_its_name(groups: list[tuple[str, int]]) -> None:
    places, named = Senders(), set()
    for sender, messages in groups:
        name = places.name(sender, messages)
        assert name == sender or sender not in named
        assert name in (sender, "other")
        if name == sender:
            named.add(sender)


def test_busy_senders_get_a_place_late_and_quiet_ones_none() -> None:
    places = Senders()
    assert all(places.name(f"first {i}", 1) == f"first {i}" for i in range(AT_ONCE))
    assert all(places.name(f"quiet {i}", 1) == "other" for i in range(5000))
    assert places.name("busy", 49) == "other"
    assert places.name("busy", 1) == "busy"
    for i in range(1000):
        places.name(f"campaign {i}", 3000)
    assert places.name("busy", 1) == "busy"
    assert places.name("campaign 999", 1) == "other"
    assert places.name("quiet 1", 100) == "other"


@settings(max_examples=25)
@given(st.lists(st.floats(min_value=0, max_value=100)))
def test_a_batched_histogram_equals_the_librarys(values: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    metric = Metric("h_seconds", Kind.HISTOGRAM, frozenset(), "h", {}, SEND_SECONDS)
    batched = BatchedHistogram(metric)
    ours.register(batched)
    batched.observe_many(values)
    histogram = Histogram("h_seconds", "h", buckets=SEND_SECONDS, registry=theirs)
    for one in values:
        histogram.observe(one)
    for bound in (*(f"{b}" for b in SEND_SECONDS), "+Inf"):
        labels = {"le": f"{float(bound):g}" if bound != "+Inf" else bound}
        assert ours.get_sample_value("h_seconds_bucket", labels) == theirs.get_sample_value(
            "h_seconds_bucket", {"le": bound}
        )
    for name in ("h_seconds_sum", "h_seconds_count"):
        assert ours.get_sample_value(name) == pytest.approx(theirs.get_sample_value(name))


def test_metrics_are_served_on_a_port_of_this_machine() -> None:
    metrics = Metrics()
    metrics.claimed(4)
    server = metrics.serve(0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            text = answer.read().decode()
        with pytest.raises(OSError, match="in use"):
            metrics.serve(server.port)
    finally:
        server.close()
    assert "broadcaster_claims_total 4.0" in text
    assert "broadcaster_build_info{" in text
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0


def test_counting_costs_little_for_each_message() -> None:
    metrics = Metrics()
    outcomes, durations = {"accepted": 50}, [0.1] * 50

    def count() -> None:
        metrics.sent(SENDER, "sms", outcomes, segments=50, durations=durations)

    seconds = min(timeit.repeat(count, number=200, repeat=5))
    assert seconds / 200 / 50 < 5e-6
